"""Commands for a host behind ssh: what goes to it, what does not, and what ssh's own failures become."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.workstation import psql, redis_cli, ssh, target, toolchain, tunnel
from scripts.workstation.paths import ROOT
from scripts.workstation.session import Session
from scripts.workstation.ssh import Ssh
from scripts.workstation.target import Here, There
from scripts.workstation.trouble import Trouble

HOST = "opc@198.51.100.10"
WORDS = ("ssh", "-o", "BatchMode=yes", "-o", "KnownHostsCommand=/bin/echo %H ssh-ed25519 AAAA", HOST)
OUTPUTS = {
    "srvRoot": "/srv",
    "sshCommand": list(WORDS),
    "postgresAddress": "10.20.1.10:5432",
    "pgbouncerAddress": "10.20.1.10:6432",
    "redisAddress": "10.20.1.10:6379",
    "caCertificate": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
}


class FakeSsh:
    """An ssh on PATH that runs the remote line here, and writes down what it was given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "ssh"

    def says(self, script: str) -> None:
        """What it does; `$line` is the remote line, `$log` the file of -E."""
        self.script.write_text(
            f"""#!/bin/sh
printf '%s\\0' "$@" >>{self.folder}/argv; printf '\\n' >>{self.folder}/argv
log=/dev/null
while [ "$#" -gt 1 ]; do [ "$1" = -E ] && log=$2; shift; done
line=$1
{script}
"""
        )
        self.script.chmod(0o755)

    def calls(self) -> list[list[str]]:
        """Each call's words."""
        path = self.folder / "argv"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.rstrip("\0").split("\0") for line in lines]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSsh:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    made = FakeSsh(folder)
    made.says('eval "$line"')
    return made


@pytest.fixture
def host() -> There:
    return There(stack="prod", srv_root=Path("/srv"), ssh=Ssh(words=WORDS, stack="prod"))


def test_an_ssh_that_cannot_pin_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "ssh"
    old.write_text('#!/bin/sh\n[ "$1" != -V ] || { echo OpenSSH_8.2p1 >&2; exit 0; }\nexit 255\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(Trouble, match=r"OpenSSH_8\.2p1.*install OpenSSH 8\.5 or newer"):
        ssh.require()
    old.unlink()
    ssh.require()


def test_a_remote_line_is_one_quoted_word() -> None:
    way = Ssh(words=WORDS, stack="prod")
    line = way.line(["docker", "exec", "x", "psql", "-c", "SELECT 'a b'; --$HOME"], terminal=True)
    assert line[:2] == ["ssh", "-t"]
    assert line[2:-1] == list(WORDS[1:])
    assert line[-1] == """docker exec x psql -c 'SELECT '"'"'a b'"'"'; --$HOME'"""
    assert "-t" not in way.line(["true"])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("ssh: connect to host 198.51.100.10 port 22: Connection refused", "does not answer"),
        ("ssh: connect to host 198.51.100.10 port 22: Connection timed out", "make recover-host STACK=prod"),
        ("ssh: Could not resolve hostname db: Name or service not known", "does not answer"),
        ("kex_exchange_identification: Connection closed by remote host", "does not answer"),
        ("Timeout, server 198.51.100.10 not responding.", "does not answer"),
        ("", "does not answer"),
        (
            "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "make trust-host STACK=prod",
        ),
        (
            "No ED25519 host key is known for 198.51.100.10 and you have requested strict checking.\nHost key verification failed.",
            "another host key",
        ),
        ("opc@198.51.100.10: Permission denied (publickey).", "refuses the key"),
        ("Bad owner or permissions on /home/a/.ssh/config", "Bad owner or permissions"),
    ],
)
def test_each_failure_of_ssh_is_one_sentence(message: str, said: str) -> None:
    sentence = ssh.fault(message, "prod")
    assert said in sentence
    assert "\n" not in sentence


def test_a_failed_connection_is_a_sentence_and_not_ssh_s_own_words(
    fake: FakeSsh, host: There, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.says('echo "opc@198.51.100.10: Permission denied (publickey)." >"$log"; exit 255')
    with pytest.raises(Trouble, match="refuses the key") as refused:
        target.run_docker(host, ["docker", "ps"], terminal=False)
    assert refused.value.code == 255
    assert capfd.readouterr().err == ""


def test_a_remote_program_s_exit_code_is_its_own(fake: FakeSsh, host: There) -> None:
    fake.says("exit 3")
    assert target.run_docker(host, ["docker", "ps"], terminal=False) == 3
    # 255 without a word of ssh is the remote program's.
    fake.says("exit 255")
    assert target.run_docker(host, ["docker", "ps"], terminal=False) == 255


@pytest.mark.usefixtures("fake")
def test_a_container_that_does_not_run_is_named(host: There, fake: FakeSsh) -> None:
    fake.says("echo exited")
    with pytest.raises(Trouble, match="pgbouncer is exited"):
        target.require_container(host, "pgbouncer")
    fake.says("echo 'No such container' >&2; exit 1")
    with pytest.raises(Trouble, match="pgbouncer is not there"):
        target.require_container(host, "pgbouncer")
    fake.says("echo running")
    target.require_container(host, "pgbouncer")


def test_files_are_read_as_root(fake: FakeSsh, host: There, tmp_path: Path) -> None:
    sudo = tmp_path / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\n[ "$1" = -n ] || exit 9\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    path = tmp_path / "platform env"
    assert host.read_as_root(path) is None
    path.write_text("REDIS_ADMIN_PASSWORD='s3cret'\n")
    assert host.read_as_root(path) == "REDIS_ADMIN_PASSWORD='s3cret'\n"
    assert all("s3cret" not in word for call in fake.calls() for word in call)


def selected(monkeypatch: pytest.MonkeyPatch, found: target.Target, arguments: list[str]) -> None:
    monkeypatch.setenv("STACK", "prod")
    monkeypatch.setattr(target, "find", lambda: found)
    monkeypatch.setattr(sys, "argv", ["x", *arguments])


def test_the_redis_password_goes_through_standard_input_alone(
    fake: FakeSsh, host: There, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake.says(
        f"""case $line in
  *State.Status*) echo running ;;
  *cat*) echo "REDIS_ADMIN_PASSWORD='s3cret'" ;;
  *redis-cli*) cat >{tmp_path}/typed ;;
esac"""
    )
    selected(monkeypatch, host, ["PING"])
    read, write = os.pipe()
    os.close(write)
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))
    assert redis_cli.main() == 0
    assert (tmp_path / "typed").read_text() == "s3cret\n"
    assert all("s3cret" not in word for call in fake.calls() for word in call)
    assert fake.calls()[-1][-1].endswith("redis-cache redis-cli --user admin --askpass PING")


def test_piped_sql_asks_for_no_terminal(fake: FakeSsh, host: There, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.says("echo running")
    selected(monkeypatch, host, [])
    monkeypatch.setenv("DB", "shop")
    assert psql.main() == 0
    call = fake.calls()[-1]
    assert "-t" not in call
    assert call[-1].endswith("--dbname=shop --set=ON_ERROR_STOP=1")


@pytest.mark.usefixtures("fake")
def test_outputs_say_where_the_host_is() -> None:
    found = target.of_outputs(Session(stack="prod", environment={}), OUTPUTS)
    assert isinstance(found, There)
    assert found.ssh.words == WORDS
    with pytest.raises(Trouble, match="make up STACK=prod first"):
        target.of_outputs(Session(stack="prod", environment={}), {})


def test_a_stack_on_this_machine_is_reached_without_ssh(tmp_path: Path) -> None:
    pulumi = tmp_path / "pulumi"
    pulumi.write_text("""#!/bin/sh\necho '{"kind": "local", "socket": "unix:///run/d.sock"}'\n""")
    pulumi.chmod(0o755)
    session = Session(stack="mine", environment={"PATH": os.environ["PATH"]}, executable=str(pulumi))
    found = target.of_outputs(session, {"srvRoot": "/srv", "sshCommand": []})
    assert isinstance(found, Here)
    assert found.engine.socket == "unix:///run/d.sock"


# The tunnel


def test_the_tunnel_leads_to_the_addresses_of_the_outputs() -> None:
    forwards = tunnel.wanted(OUTPUTS, 10000)
    words = tunnel.words(Ssh(words=WORDS, stack="prod"), forwards, Path("/log"))
    assert words[-1] == HOST
    assert "-N" in words
    assert "ExitOnForwardFailure=yes" in words
    assert [words[i + 1] for i, word in enumerate(words) if word == "-L"] == [
        "127.0.0.1:15432:10.20.1.10:5432",
        "127.0.0.1:16432:10.20.1.10:6432",
        "127.0.0.1:16379:10.20.1.10:6379",
    ]


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = [tunnel.Forward(service="Redis", port=port, remote="10.0.0.1:6379")]
        with pytest.raises(Trouble, match=rf"port {port} .* for Redis, is taken by .*PORT_OFFSET=10000"):
            tunnel.require_free(taken)
    tunnel.require_free(taken)


@pytest.mark.parametrize("text", ["-1", "1e3", "70000", "x"])
def test_an_offset_is_a_number(text: str) -> None:
    with pytest.raises(Trouble, match="PORT_OFFSET"):
        tunnel.offset(text)


def test_how_to_connect_verifies_the_server() -> None:
    said = tunnel.instructions(tunnel.wanted(OUTPUTS, 0), Path("/state/ca.crt"))
    assert "host=localhost port=6432" in said
    assert "sslmode=verify-full sslrootcert=/state/ca.crt" in said
    assert "--tls --cacert /state/ca.crt" in said


@pytest.fixture
def open_tunnel(tmp_path: Path, fake: FakeSsh) -> Callable[[], "subprocess.Popen[str]"]:
    """Starts `make tunnel` for a stack whose pulumi is a script, in a process of its own."""
    pulumi = tmp_path / "bin" / "pulumi"
    pulumi.write_text(
        f"#!/bin/sh\n[ \"$1\" = version ] && exec echo v3.259.0\ncat <<'JSON'\n{json.dumps(OUTPUTS)}\nJSON\n"
    )
    pulumi.chmod(0o755)
    for helper in toolchain.HELPERS:
        (tmp_path / "bin" / helper).symlink_to("/bin/true")
    assert fake

    def start() -> "subprocess.Popen[str]":
        environment = {
            "STACK": "prod",
            "PORT_OFFSET": str(free_offset()),
            "CDP_STATE_DIR": str(tmp_path / "state"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "scripts.workstation.tunnel"],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def free_offset() -> int:
    """One with which nothing else on this machine is in the way."""
    for offset in range(20000, 50000, 997):
        try:
            tunnel.require_free(tunnel.wanted(OUTPUTS, offset))
        except Trouble:
            continue
        return offset
    raise AssertionError("no free ports")


def test_ctrl_c_is_a_good_end(
    open_tunnel: Callable[[], "subprocess.Popen[str]"], fake: FakeSsh, tmp_path: Path
) -> None:
    fake.says("echo ready; exec sleep 60")
    process = open_tunnel()
    said = ""
    while "open until Ctrl-C" not in said:
        line = process.stdout.readline() if process.stdout else ""
        assert line, process.communicate()
        said += line
    assert (tmp_path / "state/prod/ca.crt").read_text() == OUTPUTS["caCertificate"]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "the tunnel is closed" in out


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        (
            'echo "ssh: connect to host x port 22: Connection refused" >"$log"; exit 255',
            255,
            "does not answer",
        ),
        ('echo ready; echo "Timeout, server x not responding." >"$log"; exit 255', 255, "does not answer"),
        ("echo ready; exit 0", 1, "has ended by itself"),
    ],
)
def test_a_tunnel_that_ends_by_itself_says_why(
    open_tunnel: Callable[[], "subprocess.Popen[str]"], fake: FakeSsh, script: str, code: int, said: str
) -> None:
    fake.says(script)
    process = open_tunnel()
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert said in err


def test_the_local_stack_needs_no_tunnel(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STACK", "local")
    assert tunnel.main() == 0
    assert "on this machine already" in capsys.readouterr().out
