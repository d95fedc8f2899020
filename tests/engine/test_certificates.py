"""Certificates as the host scripts make, keep and take them over, with the real openssl and real handshakes."""

import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from tests.unit.test_host_scripts import SCRIPTS, Host, listing, mode

SERVERS = {"postgres-db": "postgres", "redis-cache": "redis", "pgbouncer": "pgbouncer"}
OWNERS = {"postgres": "999:999", "redis": "999:999", "pgbouncer": "1001:1001"}
TODAY = date(2026, 1, 2)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with the platform's folders, on which nobody needs to be root."""
    assert shutil.which("openssl"), "the tests need the program openssl, as the hosts do: install its package"
    made = Host(tmp_path)
    # Runs that are killed leave their files there.
    made.environment["TMPDIR"] = str(tmp_path)
    made.stand_in("chown")
    for folder in SERVERS.values():
        (made.srv / "config" / folder).mkdir(parents=True)
    (made.srv / ".central-data-platform").write_text("local\n", encoding="utf-8")
    return made


def run_tls(host: Host, *names: str, days: int = 397, renew: int = 120) -> str:
    """What tls.sh prints when all is well."""
    return host.must("tls.sh", str(host.srv), str(days), str(renew), *names)


def folder_of(host: Host, server: str) -> Path:
    return host.srv / "config" / SERVERS[server] / "tls"


def server_side(host: Host, server: str) -> ssl.SSLContext:
    """A server with its key and certificate. Raises ssl.SSLError where they do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder_of(host, server) / "server.crt", folder_of(host, server) / "server.key")
    return context


def client_side(authority: str) -> ssl.SSLContext:
    """A client that knows the authority and forgives nothing."""
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes | None:
    """The certificate that the client has accepted, without a network. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].getpeercert(binary_form=True)


def authority_of(printed: str) -> str:
    return printed[: printed.index("# ")]


def certificates(host: Host) -> dict[str, str]:
    return {
        server: (folder_of(host, server) / "server.crt").read_text(encoding="utf-8") for server in SERVERS
    }


def trust_all(host: Host, authority: str, name: str = "localhost") -> None:
    """Every server proves itself to a client of this authority, and nothing is left beside what it serves."""
    for server in SERVERS:
        assert handshake(server_side(host, server), client_side(authority), name)
        folder = folder_of(host, server)
        assert {p.name for p in folder.parent.iterdir()} == {"tls", str(folder.readlink())}


# --- what is made ---


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_proves_each_of_its_names_and_no_other(host: Host, server: str) -> None:
    authority = authority_of(run_tls(host, "10.77.0.1", "db.example", "*.db.example"))
    accepted = [server, "localhost", "127.0.0.1", "::1", "10.77.0.1", "db.example", "a.db.example"]
    for name in accepted:
        assert handshake(server_side(host, server), client_side(authority), name)
    others = [other for other in SERVERS if other != server]
    for name in [*others, "example", "10.77.0.2", "a.b.db.example"]:
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server_side(host, server), client_side(authority), name)


def test_a_client_of_another_authority_is_not_convinced(host: Host, tmp_path: Path) -> None:
    run_tls(host)
    other = Host(tmp_path / "other")
    shutil.copytree(host.srv, other.srv, symlinks=True)
    for path in [other.srv / "config/tls", *(folder_of(other, s) for s in SERVERS)]:
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    other.stand_in("chown")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_side(host, "postgres-db"), client_side(authority_of(run_tls(other))), "postgres-db")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_files_have_owner_and_mode_whatever_the_umask(host: Host, umask: int) -> None:
    before = os.umask(umask)
    try:
        run_tls(host)
    finally:
        os.umask(before)
    config = host.srv / "config"
    assert mode(config / "tls") == "0755"
    assert mode(config / "tls/ca.key") == "0600"
    assert mode(config / "tls/ca.crt") == "0644"
    for server in SERVERS:
        folder = folder_of(host, server)
        assert mode(folder) == "0755"
        assert {p.name: mode(p) for p in folder.iterdir()} == {
            "server.key": "0400",
            "server.crt": "0644",
            "ca.crt": "0644",
        }
    # Each key has its owner before it has its place.
    owners = [
        (owner, Path(path).parent.name, Path(path).parents[1].name) for owner, path in host.calls("chown")
    ]
    assert {(owner, server) for owner, _, server in owners} == {(o, s) for s, o in OWNERS.items()}
    for server in OWNERS:
        assert [folder.startswith("tls.") for _, folder, s in owners if s == server] == [True, False]


def test_what_is_printed_changes_with_a_certificate_and_only_then(host: Host) -> None:
    first = run_tls(host)
    assert re.fullmatch(
        r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n"
        r"(# \S+ [0-9A-F]+ \w{3} +\d+ [\d:]+ \d{4} GMT ([0-9A-F]{2}:){31}[0-9A-F]{2}\n){3}",
        first,
    )
    assert re.findall("# (\\S+)", first) == list(SERVERS)
    before = listing(host.srv)
    assert run_tls(host) == first
    assert listing(host.srv) == before
    (folder_of(host, "redis-cache") / "server.crt").unlink()
    changed = set(run_tls(host).splitlines()) ^ set(first.splitlines())
    assert {line.split()[1] for line in changed} == {"redis-cache"}


def test_a_name_that_a_server_has_already_changes_nothing(host: Host) -> None:
    first = run_tls(host, "127.0.0.1", "localhost")
    assert run_tls(host) == first


def test_no_key_is_seen_by_anybody(host: Host) -> None:
    real = shutil.which("openssl")
    host.stand_in("openssl", f'exec {real} "$@"')
    ran = host.run("tls.sh", str(host.srv), "397", "120")
    words = [word for call in host.calls("openssl") for word in call]
    assert words
    for key in host.srv.rglob("*.key"):
        for line in key.read_text(encoding="utf-8").splitlines()[1:-1]:
            assert line not in ran.stdout + ran.stderr + "\n".join(words), key


# --- when it is made again ---


def tamper_missing_key(host: Host) -> None:
    (folder_of(host, "postgres-db") / "server.key").unlink()


def tamper_missing_certificate(host: Host) -> None:
    (folder_of(host, "postgres-db") / "server.crt").unlink()


def tamper_empty_certificate(host: Host) -> None:
    (folder_of(host, "postgres-db") / "server.crt").write_text("", encoding="utf-8")


def tamper_other_key(host: Host) -> None:
    key = folder_of(host, "postgres-db") / "server.key"
    key.chmod(0o600)
    key.write_text((folder_of(host, "redis-cache") / "server.key").read_text("utf-8"), encoding="utf-8")


def tamper_other_server(host: Host) -> None:
    folder = folder_of(host, "postgres-db")
    tamper_other_key(host)
    shutil.copy(folder_of(host, "redis-cache") / "server.crt", folder / "server.crt")


def tamper_missing_authority(host: Host) -> None:
    (folder_of(host, "postgres-db") / "ca.crt").unlink()


def tamper_no_link(host: Host) -> None:
    """As a copy that follows links leaves it, and damaged besides."""
    folder = folder_of(host, "postgres-db")
    target = folder.resolve()
    folder.unlink()
    target.rename(folder)
    (folder / "server.key").unlink()


def tamper_everything(host: Host) -> None:
    folder_of(host, "postgres-db").unlink()


@pytest.mark.parametrize(
    "tamper",
    [
        tamper_missing_key,
        tamper_missing_certificate,
        tamper_empty_certificate,
        tamper_other_key,
        tamper_other_server,
        tamper_missing_authority,
        tamper_no_link,
        tamper_everything,
    ],
)
def test_what_is_damaged_is_made_again_and_nothing_else(host: Host, tamper: Callable[[Host], None]) -> None:
    authority = authority_of(run_tls(host))
    before = certificates(host)
    tamper(host)
    assert authority_of(run_tls(host)) == authority
    after = certificates(host)
    assert {server for server in SERVERS if after[server] != before[server]} == {"postgres-db"}
    trust_all(host, authority)


@pytest.mark.parametrize(
    ("names", "days", "renew", "renewed"),
    [
        (["10.77.0.1"], 30, 10, False),
        (["10.77.0.2"], 30, 10, True),
        (["10.77.0.1", "db.example"], 30, 10, True),
        # It has 30 days, less the moment since it was made.
        (["10.77.0.1"], 31, 29, False),
        (["10.77.0.1"], 31, 30, True),
        (["10.77.0.1"], 29, 10, True),
    ],
    ids=["the same", "another address", "another name", "not yet due", "due", "valid too long"],
)
def test_when_a_certificate_is_made_again(
    host: Host, names: Sequence[str], days: int, renew: int, renewed: bool
) -> None:
    authority = authority_of(run_tls(host, "10.77.0.1", days=30, renew=10))
    before = certificates(host)
    run_tls(host, *names, days=days, renew=renew)
    assert {server for server in SERVERS if certificates(host)[server] != before[server]} == (
        set(SERVERS) if renewed else set()
    )
    trust_all(host, authority, names[-1])


def test_certificates_of_another_authority_are_made_again(host: Host) -> None:
    """The procedure of docs/decisions/0010: new files in config/tls, and clients that know both."""
    old = authority_of(run_tls(host))
    shutil.rmtree(host.srv / "config/tls")
    for server in SERVERS:
        folder_of(host, server).rename(folder_of(host, server).with_name("aside"))
    new = authority_of(run_tls(host))
    for server in SERVERS:
        folder_of(host, server).unlink()
        folder_of(host, server).with_name("aside").rename(folder_of(host, server))
    assert new != old
    assert authority_of(run_tls(host)) == new
    for server in SERVERS:
        assert handshake(server_side(host, server), client_side(old + new), server)


CUT_OFF_IN = ("chmod", "sync", "ln", "mv", "rm")


def test_a_run_that_is_killed_anywhere_leaves_what_fits_and_is_finished_by_the_next(host: Host) -> None:
    authority = authority_of(run_tls(host))
    count = shlex.quote(str(host.folder / "count"))
    killed = 0
    # Up to the second server's: the steps of each are the same.
    for step in range(1, 11):
        for command in CUT_OFF_IN:
            real = shutil.which(command)
            kill = f'echo >>{count}; [ "$(wc -l <{count})" -ne {step} ] || kill -KILL 0'
            host.stand_in(command, f'{kill}\nexec {real} "$@"')
        (host.folder / "count").unlink(missing_ok=True)
        killed += (
            host.run("tls.sh", str(host.srv), "397", "120", f"n{step}.example").returncode == -signal.SIGKILL
        )
        for server in SERVERS:
            assert handshake(server_side(host, server), client_side(authority), "localhost")
    assert killed == 10
    for command in CUT_OFF_IN:
        (host.commands / command).unlink()
    assert authority_of(run_tls(host, "last.example")) == authority
    trust_all(host, authority, "last.example")


@pytest.mark.parametrize("step", range(1, 8))
def test_a_first_run_that_is_killed_is_finished_by_the_next(host: Host, step: int) -> None:
    count = shlex.quote(str(host.folder / "count"))
    for command in CUT_OFF_IN:
        kill = f'echo >>{count}; [ "$(wc -l <{count})" -ne {step} ] || kill -KILL 0'
        host.stand_in(command, f'{kill}\nexec {shutil.which(command)} "$@"')
    assert host.run("tls.sh", str(host.srv), "397", "120").returncode == -signal.SIGKILL
    for command in CUT_OFF_IN:
        (host.commands / command).unlink()
    trust_all(host, authority_of(run_tls(host)))
    assert {p.name for p in (host.srv / "config/tls").iterdir()} == {"ca.key", "ca.crt"}


def test_a_full_disk_is_named_and_leaves_what_fits(host: Host) -> None:
    authority = authority_of(run_tls(host))
    real = shutil.which("openssl")
    full = "echo 'Can not write: No space left on device' >&2; exit 1"
    host.stand_in("openssl", f'case "$*" in *" -req "*) {full} ;; esac\nexec {real} "$@"')
    sentence = host.refused("tls.sh", str(host.srv), "397", "120", "db.example")
    assert sentence == (
        f"'openssl x509' failed while making certificates in {host.srv}/config: Can not write: No space left on device"
    )
    (host.commands / "openssl").unlink()
    for server in SERVERS:
        assert handshake(server_side(host, server), client_side(authority), "localhost")


# --- the authority ---

ADVICE = "make a new authority as docs/decisions/0010-own-authority.md says"


def test_a_lost_key_of_the_authority_is_never_replaced_silently(host: Host) -> None:
    run_tls(host)
    (host.srv / "config/tls/ca.key").unlink()
    before = listing(host.srv)
    sentence = host.refused("tls.sh", str(host.srv), "397", "120")
    assert sentence == (
        f"{host.srv}/config/tls/ca.key is missing, and clients hold the certificate that belongs to it; "
        f"put it back from a backup, or {ADVICE}"
    )
    assert listing(host.srv) == before


def test_a_lost_authority_is_never_replaced_silently(host: Host) -> None:
    run_tls(host)
    shutil.rmtree(host.srv / "config/tls")
    assert "ca.key is missing" in host.refused("tls.sh", str(host.srv), "397", "120")
    assert not (host.srv / "config/tls").exists()


def test_a_lost_certificate_of_the_authority_is_made_again_from_its_key(host: Host) -> None:
    old = authority_of(run_tls(host))
    (host.srv / "config/tls/ca.crt").unlink()
    new = authority_of(run_tls(host))
    for authority in (old, new):
        trust_all(host, authority)


def test_an_authority_of_two_halves_is_refused(host: Host) -> None:
    run_tls(host)
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", host.srv / "config/tls/ca.key"],
        check=True,
    )  # fmt: skip
    before = certificates(host)
    sentence = host.refused("tls.sh", str(host.srv), "397", "120", "db.example")
    assert sentence == (
        f"{host.srv}/config/tls/ca.key and ca.crt do not belong together; put both back from one backup, or {ADVICE}"
    )
    assert certificates(host) == before


def test_a_certificate_does_not_outlive_the_authority(host: Host) -> None:
    run_tls(host, days=30, renew=10)
    authority = host.srv / "config/tls"
    # The same authority, near its end.
    subprocess.run(
        ["openssl", "req", "-x509", "-key", authority / "ca.key", "-days", "60", "-subj", "/CN=central-data-platform local",
         "-addext", "keyUsage=critical,keyCertSign", "-out", authority / "ca.crt"],
        check=True,
    )  # fmt: skip
    sentence = host.refused("tls.sh", str(host.srv), "61", "10", "db.example")
    assert sentence == (
        f"the authority in {authority} ends before a certificate of 61 days would; make a new one as "
        "docs/decisions/0010-own-authority.md says, or set central-data-platform:tls.days to less"
    )
    run_tls(host, "db.example", days=59, renew=10)


def test_a_host_without_openssl_is_named(host: Host) -> None:
    ran = subprocess.run(
        ["/bin/sh", SCRIPTS / "tls.sh", host.srv, "397", "120"],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr == (
        "openssl is missing on this host, and the servers' certificates are made with it; install the package openssl, then run up again\n"
    )


def test_a_missing_folder_is_named(host: Host) -> None:
    (host.srv / "config/redis").rmdir()
    assert host.refused("tls.sh", str(host.srv), "397", "120") == (
        f"cannot make a certificate: folder {host.srv}/config/redis is missing; "
        "is the data volume mounted? Bring the platform's folders back, then run up again"
    )


# --- taking it over ---


@contextmanager
def postgres_like(context: ssl.SSLContext) -> Iterator[str]:
    """A server that speaks PostgreSQL's protocol as far as the TLS handshake."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(8)
                connection.sendall(b"S")
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def test_a_server_takes_its_certificate(host: Host) -> None:
    run_tls(host)
    host.stand_in("docker")
    certificate = folder_of(host, "postgres-db") / "server.crt"
    with postgres_like(server_side(host, "postgres-db")) as address:
        assert host.must("take-certificate.sh", "postgres-db", "999", str(certificate), address) == ""
    assert host.calls("docker") == [["exec", "--user", "999", "postgres-db", "sh", "-c", "kill -HUP 1"]]


def test_a_server_that_goes_on_with_its_old_certificate_is_named(host: Host) -> None:
    run_tls(host)
    old = server_side(host, "pgbouncer")
    run_tls(host, "db.example")
    host.stand_in("docker")
    # Time passes quickly.
    clock = shlex.quote(str(host.folder / "clock"))
    host.stand_in("date", f"echo >>{clock}; echo $(($(wc -l <{clock}) * 15))")
    certificate = folder_of(host, "pgbouncer") / "server.crt"
    with postgres_like(old) as address:
        sentence = host.refused("take-certificate.sh", "pgbouncer", "1001", str(certificate), address)
    assert sentence == (
        f"pgbouncer does not serve the certificate {certificate} on {address} although it was told to; "
        "'docker logs pgbouncer' says why, then run up again"
    )


def test_a_missing_certificate_is_named_before_a_server_is_told(host: Host) -> None:
    host.stand_in("docker")
    sentence = host.refused("take-certificate.sh", "pgbouncer", "1001", "/nowhere/server.crt", "127.0.0.1:1")
    assert sentence == (
        "/nowhere/server.crt is missing or no certificate; have it made again by: pulumi up --replace '**-tls-certificates'"
    )
    assert host.calls("docker") == []


def test_a_certificate_that_redis_refuses_is_named(host: Host) -> None:
    answer = "ERR CONFIG SET failed (possibly related to argument 'tls-key-file') - Unable to update TLS configuration."
    host.stand_in("docker", f"cat >/dev/null; echo OK; echo OK; echo {shlex.quote(answer)}")
    assert host.refused("reload-redis.sh", stdin="AUTH x y\nend\n") == (
        f"Redis refused its new certificate and goes on with the old one: {answer}; docker logs redis-cache says why"
    )
