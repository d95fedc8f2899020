"""What a user does: a clean clone, `make up`, the README's and the manual's commands, `make destroy`."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.clone import Clone, clean_clone
from tests.engine.platform import CHECKOUT, CONTAINERS

pytestmark = pytest.mark.fresh

# The README's commands that are this test itself.
TESTED_AROUND = {"make up", "make test"}


class LocalClone(Clone):
    """A clone that brings up the local stack."""

    said: str = ""

    def srv(self) -> Path:
        """The folder that `make up` chose."""
        return Path(re.search(r"secrets\s.*?(/\S.*?)/config/platform\.env", self.said).group(1))  # type: ignore[union-attr]

    def as_here(self, line: str) -> str:
        """A documented command, for root and with this clone's folder in place of /srv."""
        return re.sub(r"(?<!\w)/srv(?=/)", str(self.srv()), re.sub(r"\bsudo ", "", line))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, docker_host: str) -> Iterator[LocalClone]:
    made = clean_clone(tmp_path_factory.mktemp("users") / "a clean clone", docker_host)
    clone = LocalClone(made.folder, made.environment)
    # The application that README and manual speak of.
    with (clone.folder / "Pulumi.local.yaml").open("a") as settings:
        settings.write("  central-data-platform:applications:\n    librarian: {redis: true, pool: 5}\n")
    clone.sh("git add --all")
    try:
        yield clone
    finally:
        clone.sh("make destroy CONFIRM=local", check=False)


def _blocks(path: Path) -> list[str]:
    """The text of each block marked sh."""
    return re.findall(r"^```sh\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def test_make_up_from_a_clean_clone(clone: LocalClone) -> None:
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


def test_a_second_make_up_changes_nothing(clone: LocalClone) -> None:
    ids = clone.sh(f"docker inspect --format '{{{{.Id}}}}' {' '.join(CONTAINERS)}").stdout
    begin = time.monotonic()
    said = clone.sh("make up").stdout
    assert time.monotonic() - begin < 60
    assert "nothing to change" in said
    assert not re.search(r"\b(created|updated|replaced|deleted)\b", said)
    assert clone.sh(f"docker inspect --format '{{{{.Id}}}}' {' '.join(CONTAINERS)}").stdout == ids


def test_the_readme_s_commands(clone: LocalClone) -> None:
    for block in _blocks(CHECKOUT / "README.md"):
        for line in block.splitlines():
            if line not in TESTED_AROUND:
                clone.sh(clone.as_here(line))


def test_the_manual_s_commands(clone: LocalClone) -> None:
    for block in _blocks(CHECKOUT / "docs/manual.md"):
        for line in block.splitlines():
            clone.sh(clone.as_here(line))


def test_make_psql_and_redis_cli(clone: LocalClone) -> None:
    assert "platform_admin" in clone.sh("make psql", stdin="SELECT current_user;\n").stdout
    assert "PONG" in clone.sh("make redis-cli", stdin="PING\n").stdout
    assert "admin" in clone.sh("make redis-cli", stdin="ACL WHOAMI\n").stdout


def test_make_up_brings_a_removed_container_back(clone: LocalClone) -> None:
    clone.sh("docker rm -f redis-cache")
    assert clone.sh("make status", check=False).returncode != 0
    clone.sh("make up")
    clone.sh("make status")


def test_lost_state_is_found_again_by_import_secrets(clone: LocalClone) -> None:
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


def test_make_down_keeps_data_and_make_destroy_asks(clone: LocalClone) -> None:
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
