"""Whatever somebody changes by hand on the host is found by `make drift`, and repaired by the `up` that it names."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.platform import Platform, canary, works

pytestmark = pytest.mark.fresh


class Drifting(Platform):
    """A stack of a user's own backend, whose host is this machine."""

    stack_name = "drifting"
    # What `up` does about a difference, by its sentence.
    remedies: dict[str, str]

    def further_environment(self) -> dict[str, str]:
        return {"STACK": self.stack_name}

    def drift(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """What `make drift` does."""
        return self.run([sys.executable, "-m", "scripts.workstation.drift", *words], check=False)

    def found(self, secret: str) -> dict[str, set[str]]:
        """What differs, by what is looked at, without the secret; a path's beginning is left out."""
        said = self.drift("--json")
        assert said.returncode == 1, said.stdout + said.stderr
        assert secret not in said.stdout + said.stderr
        document = json.loads(said.stdout.replace(f"{self.srv}/", ""))
        assert document["schema"] == 1
        found: dict[str, set[str]] = {}
        for finding in document["drift"]:
            found.setdefault(finding["what"], set()).add(finding["differs"])
        self.remedies = {finding["differs"]: finding["remedy"] for finding in document["drift"]}
        return found

    def console(self, command: str) -> None:
        """A command on PgBouncer's console, whoever may write there."""
        image = self.docker("container", "inspect", "--format", "{{.Image}}", "postgres-db")
        socket = f"{self.srv}/run/pgbouncer:/var/run/pgbouncer"
        words = ["--host=/var/run/pgbouncer", "--port=6432", "--username=pgbouncer", f"--command={command}"]
        self.docker(
            "run", "--rm", "--user=1001:1001", f"--volume={socket}", "--entrypoint=psql", image, *words
        )


@pytest.fixture(scope="module")
def drifting(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, catalogue: Path
) -> Iterator[Drifting]:
    platform = Drifting(tmp_path_factory.mktemp("drifting"), docker_host, catalogue)
    try:
        platform.up()
        yield platform
    finally:
        for words in (("rm", "--force", "postgres-db"), ("network", "rm", "by-hand")):
            platform.run(["docker", *words], check=False)
        platform.remove()


def _change_files(platform: Drifting) -> dict[str, set[str]]:
    hba = platform.srv / "config/postgres/pg_hba.conf"
    hba.write_text(f"{hba.read_text()}host all all all trust\n")
    (platform.srv / "config/platform.env").chmod(0o644)
    (platform.srv / "apps/restore.sh").unlink()
    (platform.srv / "config/redis/redis.conf").write_text("# by hand\n")
    return {
        "configuration of PostgreSQL": {"config/postgres/pg_hba.conf has another text"},
        "configuration of Redis": {"config/redis/redis.conf has another text"},
        "config/platform.env": {"config/platform.env has mode and owner 0644 0:0, not 0600 0:0"},
        "backup scripts": {"apps/restore.sh is missing"},
    }


def _change_what_runs(platform: Drifting) -> dict[str, set[str]]:
    platform.psql("ALTER SYSTEM SET log_min_duration_statement = '77s'")
    platform.psql("ALTER ROLE ALL SET statement_timeout = '7s'")
    platform.psql("SELECT pg_reload_conf()")
    platform.console("SET default_pool_size = 3")
    platform.redis().config_set("maxmemory-policy", "allkeys-random")
    return {
        "running PostgreSQL": {
            "config/postgres/pg_hba.conf has another text, and PostgreSQL may have read it",
            "PostgreSQL has log_min_duration_statement = 77s by ALTER SYSTEM",
            "every role has statement_timeout=7s by ALTER ROLE ALL",
        },
        "running PgBouncer": {
            "PgBouncer has default_pool_size = 3, not 20",
        },
        "Redis' list of users": {
            "Redis has maxmemory-policy = allkeys-random, not noeviction",
            "Redis user intruder is not of the platform",
        },
    }


def _change_accounts(platform: Drifting) -> dict[str, set[str]]:
    platform.psql("ALTER ROLE librarian_user CREATEDB")
    platform.psql("CREATE ROLE boss SUPERUSER")
    platform.redis().execute_command("ACL SETUSER intruder on nopass ~* +@all")
    return {
        "account of librarian": {"role librarian_user has CREATEDB"},
        "roles of PostgreSQL": {"boss is a superuser, and is none of the platform's"},
    }


def _change_containers(platform: Drifting, secret: str) -> dict[str, set[str]]:
    platform.docker("network", "create", "by-hand")
    platform.docker("network", "connect", "by-hand", "postgres-db")
    platform.docker("update", "--restart=no", "postgres-db")
    # As somebody would who needs "only one more variable": with compose's labels, and in the place of ours.
    labels = json.loads(platform.docker("inspect", "--format", "{{json .Config.Labels}}", "postgres-wal"))
    # And of an image that was at hand.
    image = platform.docker("inspect", "--format", "{{.Config.Image}}", "redis-cache")
    identity = platform.docker("inspect", "--format", "{{.Image}}", "redis-cache")
    platform.docker("rm", "--force", "postgres-wal")
    kept = [f"--label={name}={value}" for name, value in labels.items() if "config-hash" not in name]
    platform.docker(
        *("create", "--name=postgres-wal", "--network=central-data-platform", "--restart=unless-stopped"),
        *(f"--env=TOKEN={secret}", "--volume=/etc:/host", *kept, image),
    )
    return {
        "container postgres-db": {"is restarted no, not unless-stopped", "is on the network by-hand too"},
        "container postgres-wal": {
            "is another container than the one that pulumi has made",
            "does not run",
            f"runs another image ({identity[:19]})",
            f"has not the label com.docker.compose.config-hash={labels['com.docker.compose.config-hash']}",
            "has TOKEN in its environment",
            "has /etc mounted on /host too",
            "has nothing mounted on /var/run/postgresql",
        },
    }


def test_every_kind_of_drift_is_found_and_repaired(drifting: Drifting) -> None:
    secret = canary()
    expected = [
        _change_accounts(drifting),
        _change_what_runs(drifting),
        _change_files(drifting),
        _change_containers(drifting, secret),
    ]
    before = drifting.state()

    found = drifting.found(secret)

    for what, sentences in (item for group in expected for item in group.items()):
        assert sentences <= found.get(what, set()), (what, found)
    assert found.keys() == {what for group in expected for what in group}
    assert drifting.state() == before
    assert drifting.remedies["does not run"] == "makes it again"
    assert drifting.remedies["is restarted no, not unless-stopped"] == "puts it in order"

    drifting.up(refresh=True)

    left = drifting.drift()
    assert left.returncode == 1
    heading, network, boss, _, ending = left.stdout.splitlines()
    assert heading.split() == ["WHAT", "DIFFERS", "UP"]
    assert re.fullmatch(
        r"container postgres-db +is on the network by-hand too +leaves it: undo it with docker", network
    )
    assert re.match(
        r"roles of PostgreSQL +boss is a superuser, and is none of the platform's +leaves it: ", boss
    )
    assert ending == "2 differences, which no up repairs."
    drifting.psql("DROP ROLE boss")
    drifting.docker("network", "disconnect", "by-hand", "postgres-db")
    well = drifting.drift()
    assert (well.returncode, well.stdout) == (0, "No drift: the host is as the last up left it.\n")
    assert drifting.psql("SHOW log_min_duration_statement") == "1s"
    assert drifting.redis().config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    works(drifting)


def test_a_host_that_cannot_be_looked_at_is_no_host_without_drift(drifting: Drifting) -> None:
    path = drifting.project / f"Pulumi.{drifting.stack_name}.yaml"
    text = path.read_text()
    try:
        path.write_text(text.replace(drifting.docker_host, "unix:///nowhere.sock"))
        said = drifting.drift()
    finally:
        path.write_text(text)
    assert (said.returncode, said.stdout) == (2, "")
    (sentence,) = said.stderr.strip().splitlines()[-1:]
    assert sentence.startswith("error: ")
