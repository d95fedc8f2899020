"""Clients outside the bridge network: over TLS with the platform's own authority, or not at all."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.render.redis import reload_commands, users
from tests.engine import outside_client
from tests.engine.platform import CHECKOUT, SERVERS, Platform

ADDRESS, NAME = "10.77.0.1", "db.example"
# Both reach the published address; only the first is in clientCidrs.
CLIENT, STRANGER = "10.77.0.2", "10.78.0.2"
NETWORK = {"publishAddress": ADDRESS, "clientCidrs": ["10.77.0.0/24"]}
PORTS = {"postgres-db": 5432, "pgbouncer": 6432, "redis-cache": 6379}
FOLDERS = {"postgres-db": "postgres", "pgbouncer": "pgbouncer", "redis-cache": "redis"}
SQL = ("postgres-db", "pgbouncer")
PROCEDURE = (CHECKOUT / "docs/decisions/0010-own-authority.md").read_text().split("```sh")[1].split("```")[0]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Outside:
    """A machine beside the platform's, in a network namespace of its own."""

    platform: Platform
    namespace: str
    authority: Path

    def use(self, address: str) -> None:
        """From now on it comes from this one of its addresses."""
        _ip("-n", self.namespace, "route", "replace", f"{ADDRESS}/32", "dev", "eth0", "src", address)

    def connection(self, server: str, *, tls: bool = True, name: str = NAME) -> dict[str, Any]:
        """How a careful client connects: it knows the authority and checks the name."""
        password = self.platform.secrets[
            "redisAdminPassword" if server == "redis-cache" else "postgresPassword"
        ]
        if server != "redis-cache":
            how = (
                {"sslmode": "verify-full", "sslrootcert": str(self.authority)}
                if tls
                else {"sslmode": "disable"}
            )
            user = {"user": "platform_admin", "password": password, "dbname": "postgres"}
            return {
                "kind": "postgres",
                "arguments": {"host": name, "hostaddr": ADDRESS, "port": PORTS[server], **user, **how},
            }
        # It has no way to check another name than the one that it connects to.
        how = {"ssl": tls, **({"ssl_ca_certs": str(self.authority)} if tls else {})}
        return {
            "kind": "redis",
            "arguments": {"host": ADDRESS, "port": 6379, "username": "admin", "password": password, **how},
        }

    def start(
        self, *connections: dict[str, Any], until: Path | None = None, here: bool = False
    ) -> "subprocess.Popen[str]":
        """The client; `here` is on the platform's own machine."""
        client = subprocess.Popen(
            [*([] if here else self.inside()), sys.executable, "-m", outside_client.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        assert client.stdin
        client.stdin.write(json.dumps({"connections": connections, "until": str(until) if until else None}))
        client.stdin.close()
        client.stdin = None
        return client

    def encrypted(self, *connections: dict[str, Any], here: bool = False) -> list[bool]:
        """That all are served, and how."""
        client = self.start(*connections, here=here)
        out, err = client.communicate(timeout=60)
        assert client.returncode == 0, err
        return json.loads(out)

    def refused(self, connection: dict[str, Any], *, here: bool = False) -> str:
        """The words with which the one connection is refused."""
        client = self.start(connection, here=here)
        out, err = client.communicate(timeout=60)
        assert client.returncode == 1, out + err
        return err

    def inside(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def served(self, server: str) -> str:
        """The fingerprint of the certificate that a client is shown."""
        starttls = ["-starttls", "postgres"] if server in SQL else []
        shown = subprocess.run(
            [*self.inside(), "openssl", "s_client", *starttls, "-connect", f"{ADDRESS}:{PORTS[server]}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=30,
        )
        return _fingerprint(shown.stdout)


def _fingerprint(pem: bytes) -> str:
    ran = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=pem, capture_output=True, check=True
    )
    return ran.stdout.decode()


def _in_folder(platform: Platform, server: str) -> str:
    return _fingerprint((platform.srv / f"config/{FOLDERS[server]}/tls/server.crt").read_bytes())


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """Another machine, on two networks with this one."""
    mine = os.environ.get("CDP_TEST_NETNS")
    if not mine:
        pytest.skip(
            "needs the network namespace that engine-tests.sh makes, to add addresses and a neighbour to it"
        )
    other = f"{mine}-client"
    _ip("netns", "add", other)
    try:
        _ip("link", "add", "cdp-outside", "type", "veth", "peer", "name", "eth0", "netns", other)
        for network in ("10.77.0", "10.78.0"):
            _ip("address", "add", f"{network}.1/24", "dev", "cdp-outside")
            _ip("-n", other, "address", "add", f"{network}.2/24", "dev", "eth0")
        _ip("link", "set", "cdp-outside", "up")
        _ip("-n", other, "link", "set", "eth0", "up")
        yield other
    finally:
        # With it goes its end of the cable, and so the other end.
        _ip("netns", "delete", other)


@pytest.fixture(scope="module")
def outside(running: Platform, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """The session's platform on a private address, and a client of it."""
    with running.changed(network=NETWORK, tls={"names": [NAME]}):
        running.up()
        authority = tmp_path_factory.mktemp("client") / "ca.crt"
        authority.write_text(running.stack.outputs()["caCertificate"].value)
        made = Outside(running, namespace, authority)
        made.use(CLIENT)
        yield made
    running.up()


@pytest.mark.parametrize("name", [NAME, ADDRESS])
def test_a_client_that_checks_authority_and_name_is_served(outside: Outside, name: str) -> None:
    connections = [outside.connection(server, name=name) for server in SERVERS]
    assert outside.encrypted(*connections) == [True, True, True]


@pytest.mark.parametrize("server", SQL)
def test_a_certificate_for_another_name_is_noticed(outside: Outside, server: str) -> None:
    assert "does not match host name" in outside.refused(outside.connection(server, name="other.example"))


def test_every_server_has_a_certificate_of_its_own(outside: Outside) -> None:
    assert len({outside.served(server) for server in SERVERS}) == 3
    for server in SERVERS:
        assert outside.served(server) == _in_folder(outside.platform, server)


@pytest.mark.parametrize("server", SERVERS)
def test_nobody_outside_gets_in_without_tls(outside: Outside, server: str) -> None:
    said = outside.refused(outside.connection(server, tls=False))
    expected = {
        "postgres-db": "pg_hba.conf rejects connection",
        "pgbouncer": "login rejected",
        "redis-cache": "Connection",
    }
    assert expected[server] in said
    assert outside.platform.secrets["redisAdminPassword"] not in said


@pytest.mark.parametrize("server", SQL)
def test_a_stranger_is_refused_even_over_tls(outside: Outside, server: str) -> None:
    outside.use(STRANGER)
    try:
        said = outside.refused(outside.connection(server))
        assert ("pg_hba.conf rejects connection" if server == "postgres-db" else "login rejected") in said
    finally:
        outside.use(CLIENT)


def test_an_operator_on_the_machine_itself_needs_tls_too(outside: Outside) -> None:
    """Which is where an SSH tunnel ends."""
    connections = [outside.connection(server) for server in SERVERS]
    assert outside.encrypted(*connections, here=True) == [True, True, True]
    for server in SERVERS:
        outside.refused(outside.connection(server, tls=False), here=True)


def _on_the_bridge(platform: Platform, words: list[str], stdin: str) -> "subprocess.CompletedProcess[str]":
    image = platform.docker("inspect", "--format", "{{.Image}}", "postgres-db")
    return platform.run(
        ["docker", "run", "--rm", "-i", "--network", "central-data-platform", "--entrypoint", "sh", image, "-c",
         'read -r PGPASSWORD; export PGPASSWORD; exec psql -XqtA "$@" -U platform_admin -d postgres -c "SELECT 1"', "sh", *words],
        stdin=stdin,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("server", SQL)
def test_applications_on_the_bridge_need_no_tls(outside: Outside, server: str) -> None:
    platform, password = outside.platform, outside.platform.secrets["postgresPassword"] + "\n"
    served = _on_the_bridge(platform, ["-h", server, "-p", str(PORTS[server])], password)
    assert served.stdout == "1\n", served.stderr


@pytest.mark.parametrize("server", SQL)
def test_who_comes_through_dockers_proxy_is_refused(outside: Outside, server: str) -> None:
    """From the bridge to the published address: the proxy hands it on, and nobody can see where it came from."""
    platform, password = outside.platform, outside.platform.secrets["postgresPassword"] + "\n"
    refused = _on_the_bridge(platform, ["-h", ADDRESS, "-p", str(PORTS[server])], password)
    assert refused.returncode == 2
    assert "reject" in refused.stderr


def test_a_second_up_changes_nothing(outside: Outside) -> None:
    ids, served = outside.platform.ids(), {server: outside.served(server) for server in SERVERS}
    assert outside.platform.up().operations() == {}
    assert outside.platform.ids() == ids
    assert {server: outside.served(server) for server in SERVERS} == served


def test_a_renewal_disturbs_nobody(outside: Outside, tmp_path: Path) -> None:
    platform, end = outside.platform, tmp_path / "end"
    ids, old = platform.ids(), {server: outside.served(server) for server in SERVERS}
    # Certificates that have only two days left, as after a long time without an `up`.
    platform.run(["sh", "scripts/host/tls.sh", str(platform.srv), "2", "1", ADDRESS, NAME])
    client = outside.start(*(outside.connection(server) for server in SERVERS), until=end)
    try:
        assert client.stdout
        assert json.loads(client.stdout.readline()) == [True, True, True]
        with platform.changed(network=NETWORK, tls={"names": [NAME], "renewBeforeDays": 119}):
            seen = platform.up()
            assert set(seen.operations()) >= {"platform-tls-certificates", "platform-redis-reload"}
            assert not [name for name in seen.operations() if "container" in name]
        assert platform.ids() == ids
        for server in SERVERS:
            assert outside.served(server) == _in_folder(platform, server) != old[server]
        assert outside.encrypted(*(outside.connection(server) for server in SERVERS)) == [True, True, True]
    finally:
        end.touch()
        _, err = client.communicate(timeout=60)
    # What was open all the time is still the connection of the beginning.
    assert client.returncode == 0, err


def _take(platform: Platform, server: str) -> "subprocess.CompletedProcess[str]":
    """What `up` runs after a change of certificates."""
    if server == "redis-cache":
        secrets = {"salt_key": platform.secrets["saltKey"]}
        rules = users(admin_password=platform.secrets["redisAdminPassword"], **secrets)
        return platform.run(
            ["sh", "scripts/host/reload-redis.sh"], stdin=reload_commands(rules, **secrets), check=False
        )
    uid = "999" if server == "postgres-db" else "1001"
    certificate = platform.srv / f"config/{FOLDERS[server]}/tls/server.crt"
    return platform.run(
        [
            "sh",
            "scripts/host/take-certificate.sh",
            server,
            uid,
            str(certificate),
            f"{ADDRESS}:{PORTS[server]}",
        ],
        check=False,
    )


@pytest.mark.parametrize("server", SERVERS)
def test_a_certificate_that_does_not_fit_is_an_error_and_the_old_one_is_served_on(
    outside: Outside, server: str
) -> None:
    platform, good = outside.platform, outside.served(server)
    folder = platform.srv / f"config/{FOLDERS[server]}/tls"
    certificate = (folder / "server.crt").read_bytes()
    other = next(name for name in SERVERS if name != server)
    (folder / "server.crt").write_bytes(
        (platform.srv / f"config/{FOLDERS[other]}/tls/server.crt").read_bytes()
    )
    try:
        ran = _take(platform, server)
        assert ran.returncode == 1
        (sentence,) = ran.stderr.splitlines()
        assert "goes on with the old one" in sentence or "does not serve the certificate" in sentence
        assert outside.served(server) == good
    finally:
        (folder / "server.crt").write_bytes(certificate)
    assert _take(platform, server).returncode == 0
    assert outside.served(server) == good


def test_a_new_authority_while_clients_go_on(outside: Outside, tmp_path: Path) -> None:
    """The procedure of docs/decisions/0010, with its own commands."""
    platform, config, end = outside.platform, outside.platform.srv / "config", tmp_path / "end"
    ids, old = platform.ids(), outside.authority.read_text()
    platform.run(["sh", "-euc", PROCEDURE.replace("/srv", str(platform.srv))])
    new = (config / "tls.next/ca.crt").read_text()
    outside.authority.write_text(old + new)
    client = outside.start(*(outside.connection(server) for server in SERVERS), until=end)
    assert client.stdout
    assert json.loads(client.stdout.readline()) == [True, True, True]
    try:
        (config / "tls").rename(config / "tls.old")
        (config / "tls.next").rename(config / "tls")
        platform.up(replace=["**-tls-certificates"])
    finally:
        end.touch()
        _, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    assert platform.ids() == ids
    assert platform.stack.outputs()["caCertificate"].value == new
    outside.authority.write_text(new)
    assert outside.encrypted(*(outside.connection(server) for server in SERVERS)) == [True, True, True]
    assert platform.up().operations() == {}
    shutil.rmtree(config / "tls.old")


def test_ports_are_published_on_the_private_address_only(outside: Outside) -> None:
    for server in SERVERS:
        ports = json.loads(
            outside.platform.docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", server)
        )
        assert {b["HostIp"] for bindings in ports.values() for b in bindings or []} == {ADDRESS}
