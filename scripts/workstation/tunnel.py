"""`make tunnel`: the way from this workstation to the databases of a host, through ssh."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.workstation import atomic, machine, prepare, run_pulumi, ssh, target
from scripts.workstation.paths import STATE
from scripts.workstation.ssh import Ssh
from scripts.workstation.target import There
from scripts.workstation.trouble import Trouble, command

HERE = "127.0.0.1"
SERVICES = {"PostgreSQL": "postgresAddress", "PgBouncer": "pgbouncerAddress", "Redis": "redisAddress"}
# Where monitoring is on.
PAGES = {"Grafana": "grafanaAddress", "Prometheus": "prometheusAddress"}
# Run by ssh on this workstation once all ports are open.
_READY = ("-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo ready")


@dataclass(frozen=True, kw_only=True)
class Forward:
    """One port here, and the address there that it leads to."""

    service: str
    port: int
    remote: str

    @property
    def option(self) -> list[str]:
        """ssh's option for it."""
        return ["-L", f"{HERE}:{self.port}:{self.remote}"]


def main() -> int:
    """Open until Ctrl-C, which is a good end."""
    own = prepare.own_stack()
    if own is not None and own.on_this_machine:
        print(
            "the local stack's ports are on this machine already, on the addresses that make up has said; no tunnel is needed"
        )
        return 0
    session = prepare.session(own)
    outputs = run_pulumi.outputs(session)
    found = target.of_outputs(session, outputs)
    if not isinstance(found, There):
        print(f"the ports of stack {found.stack} are on this machine already; no tunnel is needed")
        return 0
    forwards = wanted(outputs, offset(os.environ.get("PORT_OFFSET")))
    require_free(forwards)
    return _hold_open(found.ssh, forwards, _authority(session.stack, outputs))


def offset(text: str | None) -> int:
    """PORT_OFFSET as a number."""
    if not text:
        return 0
    if not text.isdecimal() or not int(text) < 60000:
        raise Trouble(
            f"PORT_OFFSET is {text!r}; write a number that is added to each port here, such as 10000"
        )
    return int(text)


def wanted(outputs: Mapping[str, Any], added: int) -> list[Forward]:
    """The databases' forwards, and those of monitoring where it is on; a port here is the one there and the offset."""
    forwards: list[Forward] = []
    for service, name in (SERVICES | {s: n for s, n in PAGES.items() if n in outputs}).items():
        remote = str(outputs.get(name, ""))
        port = remote.rpartition(":")[2]
        if not port.isdecimal():
            raise Trouble(
                f"the stack's output {name} is missing; run make up{prepare.suffix()}, which writes it"
            )
        forwards.append(Forward(service=service, port=int(port) + added, remote=remote))
    return forwards


def require_free(forwards: Sequence[Forward]) -> None:
    """Raises Trouble that names a port here which something else has."""
    for forward in forwards:
        if machine.listening_fault(HERE, forward.port) is not None:
            holder = machine.listener(forward.port) or "another program"
            raise Trouble(
                f"port {forward.port} of this machine, for {forward.service}, is taken by {holder}; stop it, or choose other ports: "
                f"make tunnel{prepare.suffix()} PORT_OFFSET=10000"
            )


def _authority(stack: str, outputs: Mapping[str, Any]) -> Path | None:
    """The file with the certificate of the platform's own authority."""
    certificate = outputs.get("caCertificate")
    if not certificate:
        return None
    path = STATE / stack / "ca.crt"
    atomic.write(path, str(certificate).rstrip("\n") + "\n")
    return path


def words(way: Ssh, forwards: Sequence[Forward], log: Path) -> list[str]:
    """The ssh command that only forwards, and ends where one port cannot be had."""
    options = [option for forward in forwards for option in forward.option]
    return way.options("-N", "-E", str(log), "-o", "ExitOnForwardFailure=yes", *_READY, *options)


def _hold_open(way: Ssh, forwards: Sequence[Forward], authority: Path | None) -> int:
    with ssh.own_messages() as log:
        process = subprocess.Popen(
            words(way, forwards, log),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            # Out of the terminal's group: we end it upon Ctrl-C, and know then that the end was asked for.
            process_group=0,
        )
        asked = False

        def end(*_: object) -> None:
            nonlocal asked
            asked = True
            process.terminate()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        if process.stdout is not None and process.stdout.readline():
            print(instructions(forwards, authority), flush=True)
        code = process.wait()
        if asked:
            print("\nthe tunnel is closed")
            return 0
        ssh.checked(code, log, way.stack)
        raise Trouble(
            f"the tunnel has ended by itself (ssh's exit code is {code}); run the same command again",
            code or 1,
        )


def instructions(forwards: Sequence[Forward], authority: Path | None) -> str:
    """How to connect through the tunnel. Certificates are for the name localhost too."""
    ports = {forward.service: forward.port for forward in forwards}
    verified = f" sslmode=verify-full sslrootcert={authority}" if authority else ""
    tls = f" --tls --cacert {authority}" if authority else ""
    lines = [f"{forward.service:<11} localhost:{forward.port} -> {forward.remote}" for forward in forwards]
    lines += [
        "",
        f'psql "host=localhost port={ports["PgBouncer"]} dbname=DATABASE user=USER{verified}"',
        f"redis-cli -h localhost -p {ports['Redis']}{tls} --user USER --askpass",
        *(f"{service:<11} http://localhost:{ports[service]}" for service in PAGES if service in ports),
        "",
        "open until Ctrl-C",
    ]
    return "\n".join(f"  {line}".rstrip() for line in lines)


if __name__ == "__main__":
    command(main)
