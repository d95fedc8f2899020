"""The first `up` of a platform, disturbed: each ends in a clear error, and the next `up` finishes the job."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pulumi import automation

from tests.engine.platform import Platform, until, works

pytestmark = pytest.mark.fresh


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
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", fresh.srv], check=True)
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
