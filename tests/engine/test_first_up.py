"""The first `up` of a platform, disturbed: each ends in a clear error, and the next `up` finishes the job."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pulumi import automation

from tests.engine.platform import Platform, works
from tests.waiting import until

pytestmark = pytest.mark.fresh

OUR_NETWORK_LABELS = [
    "--label=com.docker.compose.project=postgres-stack",
    "--label=com.docker.compose.network=central-data-platform",
]


@pytest.fixture
def fresh(tmp_path: Path, docker_host: str, catalogue: Path) -> Iterator[Platform]:
    """A platform that was never up."""
    platform = Platform(tmp_path / "fresh", docker_host, catalogue)
    try:
        yield platform
    finally:
        platform.remove()


def test_a_full_disk_is_named_and_the_next_up_is_clean(fresh: Platform) -> None:
    fresh.srv.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", fresh.srv], check=True)
    try:
        with pytest.raises(automation.CommandError, match="No space left on device"):
            fresh.up()
        assert not (fresh.srv / "data/postgres/PG_VERSION").exists()
        assert not (fresh.srv / "data/.postgres.new").exists()
        subprocess.run(["mount", "-o", "remount,size=1g", fresh.srv], check=True)
        fresh.up()
        works(fresh)
        fresh.down()
    finally:
        subprocess.run(["umount", "--lazy", fresh.srv], check=True)


def test_a_foreign_srv_is_named_and_left_alone(fresh: Platform) -> None:
    fresh.srv.mkdir()
    (fresh.srv / "somebody.txt").write_text("mine")
    with pytest.raises(automation.CommandError, match="holds files that are not the platform's"):
        fresh.up()
    assert [p.name for p in fresh.srv.iterdir()] == ["somebody.txt"]


@pytest.mark.parametrize("labels", [[], OUR_NETWORK_LABELS], ids=["foreign", "ours with a foreign container"])
def test_a_network_that_is_in_use_is_named_and_left_alone(fresh: Platform, labels: list[str]) -> None:
    network = fresh.docker("network", "create", *labels, "central-data-platform")
    image = json.loads(Path(fresh.config["imageCatalogue"]).read_text())["redis"]
    reference = f"{image['repository']}@{next(iter(image['manifests'].values()))}"
    fresh.docker(
        "run", "-d", "--name", "somebody", "--network", "central-data-platform", reference, "sleep", "600"
    )
    try:
        with pytest.raises(automation.CommandError) as failed:
            fresh.up()
        said = str(failed.value)
        assert ("other containers are on it: somebody" if labels else "not this platform's") in said
        assert fresh.docker("network", "inspect", "--format", "{{.Id}}", "central-data-platform") == network
        assert fresh.docker("inspect", "--format", "{{.State.Running}}", "somebody") == "true"
    finally:
        fresh.docker("rm", "-f", "somebody")


@pytest.mark.parametrize("during", ["platform-postgres-cluster", "platform-postgres-container"])
def test_ctrl_c_in_the_middle_of_up(fresh: Platform, during: str) -> None:
    """Interrupted while the named resource is being made."""
    log = fresh.folder / "up.log"
    with log.open("w") as out:
        up = subprocess.Popen(
            ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "local"],
            cwd=fresh.project,
            env=fresh.environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        until(lambda: f"{during} creating" in log.read_text(), seconds=120, what=f"{during} begins")
        os.killpg(up.pid, signal.SIGINT)
        up.wait(timeout=400)
    assert up.returncode != 0, log.read_text()
    fresh.up()
    works(fresh)
