"""`make preview` for a stack of a user's own backend: what it promises is what the following `up` does, and no more."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from scripts.workstation import plan, restarts
from scripts.workstation.parts import SERVICES
from tests.engine.platform import CHECKOUT, CONTAINERS, Platform

# A platform of its own, since `make preview` without a name that is the user's own means the checkout's stack.
pytestmark = pytest.mark.fresh


class UsersPlatform(Platform):
    """A stack in the user's own backend, with the commands of scripts/workstation."""

    stack_name = "mine"

    def make_preview(self, *words: str, code: int = 0) -> str:
        """What `make preview STACK=mine ARGS=…` prints, on both outputs; as make's recipe calls it."""
        ran = subprocess.run(
            [".venv/bin/python", "-m", "scripts.workstation.preview", *words],
            cwd=self.project,
            env=self.environment | {"STACK": self.stack_name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (ran.returncode == 0) == (code == 0), ran.stdout
        for secret in self.canaries():
            assert secret not in ran.stdout
        return ran.stdout

    def canaries(self) -> list[str]:
        """All that nobody may see."""
        of_applications = [value for stores in self.application_secrets.values() for value in stores.values()]
        return [value for value in (*self.secrets.values(), *of_applications) if value.startswith("CANARY")]


@pytest.fixture(scope="module")
def users(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, catalogue: Path
) -> Iterator[UsersPlatform]:
    platform = UsersPlatform(tmp_path_factory.mktemp("users"), docker_host, catalogue)
    # The rules that every preview is held to.
    if not (platform.project / "policy").exists():
        shutil.copytree(CHECKOUT / "policy", platform.project / "policy")
    try:
        platform.up()
        yield platform
    finally:
        platform.remove()


def restarting(said: str) -> set[str]:
    """The containers that a summary says will restart."""
    return set(re.findall(r"^    - (\S+) restarts", said, re.MULTILINE))


def change(users: UsersPlatform, **config: Any) -> None:
    users.config = {**users.config, **config}
    users.write_config()


def kept_its_promise(users: UsersPlatform, said: str) -> None:
    """The containers that were named, and no others, are other ones after the `up`, and were away no longer than was said."""
    before = users.ids()
    log = users.folder / "events.jsonl"
    words = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", users.stack_name]
    users.run(["env", "PULUMI_DEBUG_COMMANDS=true", *words, "--event-log", str(log)])
    after = users.ids()
    assert {name for name in CONTAINERS if before[name] != after[name]} == restarting(said)
    away = restarts.of_log(plan.events_of(log.read_text()))
    assert away.keys() == restarting(said)
    for container, seconds in away.items():
        if promised := re.search(rf"- {SERVICES[container]}: about (\d+) s", said):
            # Twice as long for a machine that does many things at once.
            assert seconds <= 2 * int(promised[1]), f"{container} was away for {seconds} s"


def test_nothing_to_do_is_one_line(users: UsersPlatform) -> None:
    said = users.make_preview("--suppress-progress").strip().splitlines()
    assert said[-1].startswith("Nothing changes. Waivers in force: trading-app, until 20")
    assert not restarting("\n".join(said))


def test_a_setting_that_is_reloaded(users: UsersPlatform) -> None:
    change(
        users, postgres={"memory": 512, "port": 5432, "slowQueryMilliseconds": 321}, pgbouncer={"poolSize": 7}
    )
    said = users.make_preview()
    assert f"    - {users.srv}/config/postgres/postgresql.conf\n" in said
    assert (
        "Reloaded, without a restart\n    - PostgreSQL: its configuration\n    - PgBouncer: its configuration\n"
        in said
    )
    assert "Without service" not in said
    kept_its_promise(users, said)


def test_a_newer_image_in_a_comment_for_a_pull_request(
    users: UsersPlatform, catalogue: Path, tmp_path: Path
) -> None:
    newer = catalogue.with_suffix(".next.json")
    if not newer.exists():
        pytest.fail(f"{newer} is missing: sandbox/images/provide.sh writes it beside {catalogue.name}")
    change(users, imageCatalogue=str(newer))
    file = tmp_path / "preview.md"
    said = users.make_preview("--summary", str(file))
    assert restarting(said) == {"postgres-db", "postgres-wal"}
    assert re.search(r"postgres-db restarts: \w+ image 17\.\d+\S* -> 17\.\d+\S*", said)
    assert re.search(r"    - PostgreSQL: about \d+ s \(", said)
    assert re.search(r"    - PgBouncer: stays up", said)
    assert "    - Redis: 0 s\n" in said
    assert "    - Nothing that holds data is deleted or replaced.\n" in said
    comment = file.read_text()
    assert "## Preview of stack mine" in comment
    assert "- postgres-db restarts: " in comment
    assert "platform-postgres-container" in comment
    assert not [secret for secret in users.canaries() if secret in comment]
    kept_its_promise(users, said)


def test_an_application_that_is_taken_out_of_the_settings(users: UsersPlatform) -> None:
    applications = deepcopy(users.config["applications"])
    del applications["reporting"]
    kept = users.application_secrets.pop("reporting")
    assert kept["database"] in "".join(kept.values())
    change(users, applications=applications)
    said = users.make_preview("--diff")
    assert "reporting is closed: no access any more" in said
    assert (
        "database reporting and its keys are kept (delete for good: make drop-application NAME=reporting STACK=mine)"
        in said
    )
    assert not [secret for secret in kept.values() if secret in said]
    kept_its_promise(users, said)
    assert users.psql("SELECT count(*) FROM pg_database WHERE datname = 'reporting'") == "1"


def test_what_was_changed_by_hand_is_found_with_refresh(users: UsersPlatform) -> None:
    limit = users.psql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'librarian_user'")
    users.psql("ALTER ROLE librarian_user CONNECTION LIMIT 99")
    said = users.make_preview("--refresh")
    users.psql(f"ALTER ROLE librarian_user CONNECTION LIMIT {limit}")
    assert (
        "Found to be other than it was left, and put right\n    - account of librarian: role librarian_user"
        in said
    )


def test_what_is_protected_is_refused_in_plain_words(users: UsersPlatform) -> None:
    before = users.config
    applications = deepcopy(before["applications"])
    applications["trading-app"]["address"] = "172.29.7.200"
    change(users, network={"subnet": "172.29.7.0/24"}, applications=applications)
    said = users.make_preview(code=1)
    users.config = before
    users.write_config()
    assert "The preview of stack mine failed: up would stop there.\n  REFUSED!\n" in said
    assert "    ! the Docker network would have to be deleted or replaced, and is protected\n" in said
