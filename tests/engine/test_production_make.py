"""What an operator of production does, by make, on the simulated OCI: up, look, lose the machine, go away and come back."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox.machine.names import LABEL
from tests.engine.clone import Clone, clean_clone
from tests.waiting import until

pytestmark = pytest.mark.fresh

STACK = "STACK=prod-sim"
CONFIRM = "CONFIRM=prod-sim"
NEW_HOST_KEY = """
rm /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
systemctl restart sshd
{
  echo '-----BEGIN SSH HOST KEY KEYS-----'
  cat /etc/ssh/ssh_host_ed25519_key.pub
  echo '-----END SSH HOST KEY KEYS-----'
} >/dev/console
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, docker_host: str) -> Iterator[Clone]:
    clone = clean_clone(tmp_path_factory.mktemp("operators") / "a clean clone", docker_host)
    try:
        yield clone
    finally:
        clone.sh(f"make destroy {STACK} {CONFIRM}", check=False)


def machines(clone: Clone) -> list[str]:
    """The containers that are machines of the clone's cloud."""
    listed = clone.sh(
        f"docker ps --all --filter label={LABEL} --format '{{{{.Names}}}} {{{{.Label \"{LABEL}\"}}}}'"
    )
    return [line.split()[0] for line in listed.stdout.splitlines() if str(clone.folder) in line]


def psql(clone: Clone, sql: str) -> str:
    """SQL as the operator types it."""
    return clone.sh(f"make psql {STACK} ARGS=-qtA", stdin=sql).stdout.strip()


def volumes(clone: Clone) -> list[Path]:
    """The disks of the clone's cloud."""
    return sorted(clone.folder.glob(".state/prod-sim/oci/volumes/*.img"))


def test_make_up(clone: Clone) -> None:
    said = clone.sh(f"make up {STACK}").stdout
    # Nothing is simulated in silence.
    assert re.search(r"oci.*simulat", said)
    assert len(machines(clone)) == 1
    assert clone.sh("git status --porcelain --untracked-files=all | grep -v '^[AM] ' || true").stdout == ""


def test_a_second_make_up_changes_nothing(clone: Clone) -> None:
    assert "nothing to change" in clone.sh(f"make up {STACK}").stdout


def test_the_commands_reach_the_machine(clone: Clone) -> None:
    assert "platform_admin" in psql(clone, "SELECT current_user;")
    psql(clone, "CREATE TABLE kept AS SELECT 42 AS answer;")
    assert "PONG" in clone.sh(f"make redis-cli {STACK}", stdin="PING\n").stdout
    report = clone.sh(f"make status {STACK} ARGS=--json").stdout
    checks = json.loads(report[report.index("{") :])["checks"]
    assert {c["name"]: c["state"] for c in checks if c["name"] == "postgres-db"} == {"postgres-db": "ok"}
    refused = clone.sh(f"make psql {STACK}", stdin="SELECT nonsense;\n", check=False)
    assert refused.returncode != 0


def test_make_tunnel(clone: Clone) -> None:
    tunnel = subprocess.Popen(
        ["make", "tunnel", STACK],
        cwd=clone.folder,
        env=clone.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    try:
        assert tunnel.stdout
        while "verify-full" not in "".join(said):
            line = tunnel.stdout.readline()
            assert line, "".join(said)
            said.append(line)
        authority = clone.folder / ".state/prod-sim/ca.crt"
        port = int(re.search(r"port[= ](\d*6432\b|\d+)", "".join(said)).group(1))  # type: ignore[union-attr]

        # No password: the handshake, which verifies name and certificate, comes first.
        def handshake() -> bool:
            try:
                psycopg.connect(
                    host="localhost",
                    port=port,
                    user="nobody",
                    password="x",
                    dbname="postgres",
                    sslmode="verify-full",
                    sslrootcert=str(authority),
                    connect_timeout=10,
                )
            except psycopg.OperationalError as error:
                return "authentication" in str(error) or "no such user" in str(error) or "SASL" in str(error)
            return False

        until(handshake, seconds=20, what="a verified connection through the tunnel")
    finally:
        # As Ctrl-C: to all of the terminal's foreground processes.
        os.killpg(tunnel.pid, signal.SIGINT)
        rest, _ = tunnel.communicate(timeout=30)
    assert "Traceback" not in "".join(said) + rest


def test_a_lost_machine_is_made_again_with_its_data(clone: Clone) -> None:
    (lost,) = machines(clone)
    clone.sh(f"docker rm --force {lost}")
    asked = clone.sh(f"make recover-host {STACK}", check=False)
    assert asked.returncode != 0
    assert CONFIRM in asked.stdout + asked.stderr
    clone.sh(f"make recover-host {STACK} {CONFIRM}")
    assert machines(clone) != [lost]
    assert psql(clone, "SELECT answer FROM kept;") == "42"
    assert "nothing to change" in clone.sh(f"make up {STACK}").stdout


def test_a_destroy_keeps_the_volume_and_an_up_takes_it_again(clone: Clone) -> None:
    before = volumes(clone)
    clone.sh(f"make down {STACK}")
    assert machines(clone) == []
    assert volumes(clone) == before
    clone.sh(f"make up {STACK}")
    assert psql(clone, "SELECT answer FROM kept;") == "42"
    assert volumes(clone) == before


def test_the_host_key_is_read_again_after_asking(clone: Clone) -> None:
    (machine,) = machines(clone)
    # A new key, which the machine prints on its console as cloud-init does.
    clone.sh(f"docker exec -i {machine} sh -eu", stdin=NEW_HOST_KEY)
    unknown = clone.sh(f"make psql {STACK}", stdin="SELECT 1;\n", check=False)
    assert unknown.returncode != 0
    assert f"make trust-host {STACK}" in unknown.stdout + unknown.stderr
    refused = clone.sh(f"make trust-host {STACK}", check=False)
    assert refused.returncode != 0
    assert "ssh-ed25519" in refused.stdout + refused.stderr
    clone.sh(f"make trust-host {STACK} {CONFIRM}")
    assert psql(clone, "SELECT answer FROM kept;") == "42"


def test_make_destroy_leaves_nothing(clone: Clone) -> None:
    refused = clone.sh(f"make destroy {STACK}", check=False)
    assert refused.returncode != 0
    assert machines(clone)
    clone.sh(f"make destroy {STACK} {CONFIRM}")
    assert machines(clone) == []
    assert not (clone.folder / ".state/prod-sim").exists()
