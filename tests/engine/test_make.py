"""What a user does: a clean clone, `make up`, the README's and the manual's commands, `make destroy`."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.platform import CHECKOUT, CONTAINERS, PATIENCE_SECONDS

pytestmark = pytest.mark.fresh

# The README's commands that are this test itself.
TESTED_AROUND = {"make up", "make test"}


@dataclass
class Clone:
    """A clean clone, with a space in its path, that runs make."""

    folder: Path
    environment: dict[str, str]

    def sh(self, text: str, *, stdin: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        """A line as a user types it."""
        ran = subprocess.run(
            ["sh", "-euc", text],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert not check or ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        return ran

    def srv(self) -> Path:
        """The folder that `make up` chose."""
        return Path(re.search(r"secrets\s.*?(/\S.*?)/config/platform\.env", self.said).group(1))  # type: ignore[union-attr]

    said: str = ""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, docker_host: str) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("users") / "a clean clone"
    subprocess.run(["git", "clone", "--quiet", CHECKOUT, folder], check=True)
    # What is not committed yet is what we want to know about.
    listed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    # A folder of the tests' own: the default for root is /srv, where a platform may live that `make destroy` would delete.
    settings = folder / "Pulumi.local.yaml"
    own = f"srvRoot: {folder.parent / 'srv'}"
    settings.write_text(settings.read_text().replace("srvRoot: /srv", own))
    assert own in settings.read_text()
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "add", "--all"], cwd=folder, check=True
    )
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PULUMI_", "CDP_STATE", "VIRTUAL_ENV", "MAKE", "MFLAGS"))
    }
    clone = Clone(folder, {**environment, "DOCKER_HOST": docker_host})
    # The one step that needs a package registry, which the tests' network namespace does not reach.
    outside = os.environ.get("CDP_TEST_OUTSIDE", "/proc/self/ns/net")
    clone.sh(f"nsenter --net={outside} make venv")
    try:
        yield clone
    finally:
        clone.sh("make destroy CONFIRM=local", check=False)


def _blocks(path: Path) -> list[str]:
    """The text of each block marked sh."""
    return re.findall(r"^```sh\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def test_make_up_from_a_clean_clone(clone: Clone) -> None:
    ran = clone.sh("make up")
    clone.said = ran.stdout
    assert "127.0.0.1:6432" in ran.stdout
    assert "make psql" in ran.stdout
    assert clone.sh("git status --porcelain --untracked-files=all | grep -v '^[AM] ' || true").stdout == ""
    secrets = (clone.srv() / "config/platform.env").read_text()
    for value in re.findall(r"='(.*)'", secrets):
        assert value not in ran.stdout + ran.stderr
    # Tracked content names no secret in the clear, and the configuration is encrypted.
    assert not [
        v
        for v in re.findall(r"='(.*)'", secrets)
        for p in clone.folder.rglob(".state/**/*")
        if p.is_file() and v.encode() in p.read_bytes()
    ]


def test_a_second_make_up_changes_nothing(clone: Clone) -> None:
    ids = clone.sh(f"docker inspect --format '{{{{.Id}}}}' {' '.join(CONTAINERS)}").stdout
    begin = time.monotonic()
    said = clone.sh("make up").stdout
    assert time.monotonic() - begin < 60
    assert "nothing to change" in said
    assert not re.search(r"\b(created|updated|replaced|deleted)\b", said)
    assert clone.sh(f"docker inspect --format '{{{{.Id}}}}' {' '.join(CONTAINERS)}").stdout == ids


def test_the_readme_s_commands(clone: Clone) -> None:
    for block in _blocks(CHECKOUT / "README.md"):
        for line in block.splitlines():
            if line not in TESTED_AROUND:
                clone.sh(line)


def test_the_manual_s_commands(clone: Clone) -> None:
    for block in _blocks(CHECKOUT / "docs/manual.md"):
        for line in block.splitlines():
            text = re.sub(r"\bsudo ", "", line)
            # Quoted, since this checkout's folder has a space in its name.
            clone.sh(re.sub(r"(?<!\w)/srv(?=/)", f"'{clone.srv()}'", text))


def test_make_psql_and_redis_cli(clone: Clone) -> None:
    assert "platform_admin" in clone.sh("make psql", stdin="SELECT current_user;\n").stdout
    assert "PONG" in clone.sh("make redis-cli", stdin="PING\n").stdout
    assert "admin" in clone.sh("make redis-cli", stdin="ACL WHOAMI\n").stdout


def test_make_up_brings_a_removed_container_back(clone: Clone) -> None:
    clone.sh("docker rm -f redis-cache")
    assert clone.sh("make status", check=False).returncode != 0
    clone.sh("make up")
    clone.sh("make status")


def test_lost_state_is_found_again_by_import_secrets(clone: Clone) -> None:
    before = (clone.srv() / "config/platform.env").read_text()
    clone.sh("make psql", stdin="CREATE TABLE survivor AS SELECT 42 AS answer;\n")
    clone.sh("mv .state .state.lost && mkdir .state")
    if clone.folder in clone.srv().parents and not clone.srv().exists():
        clone.sh("mkdir -p .state && mv .state.lost/srv .state/srv")
    refused = clone.sh("make up", check=False)
    assert refused.returncode != 0
    assert "make import-secrets" in refused.stdout + refused.stderr
    clone.sh("make import-secrets")
    clone.sh("make up")
    assert (clone.srv() / "config/platform.env").read_text() == before
    assert "42" in clone.sh("make psql", stdin="SELECT answer FROM survivor;\n").stdout


def test_make_down_keeps_data_and_make_destroy_asks(clone: Clone) -> None:
    clone.sh("make psql", stdin="CREATE TABLE IF NOT EXISTS kept AS SELECT 'kept' AS what;\n")
    clone.sh("make down")
    assert (
        clone.sh("docker ps --all --quiet --filter label=com.docker.compose.project=postgres-stack").stdout
        == ""
    )
    clone.sh("make up")
    assert "kept" in clone.sh("make psql", stdin="SELECT what FROM kept;\n").stdout

    srv = clone.srv()
    refused = clone.sh("make destroy", check=False)
    assert refused.returncode != 0
    for named in (*CONTAINERS, "central-data-platform", str(srv)):
        assert named in refused.stdout + refused.stderr
    assert (srv / "data/postgres/PG_VERSION").exists()

    clone.sh("make destroy CONFIRM=local")
    assert not (srv / "data").exists()
    assert not (srv / "config").exists()
    assert (
        clone.sh("docker ps --all --quiet --filter label=com.docker.compose.project=postgres-stack").stdout
        == ""
    )
    assert "central-data-platform" not in clone.sh("docker network ls").stdout
