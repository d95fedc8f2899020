"""The platform on a machine of the simulated OCI: the unchanged program, reached over SSH as in production."""

import base64
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml

from sandbox.machine.names import LABEL
from scripts.workstation import plugins
from tests.engine.platform import CHECKOUT, PATIENCE_SECONDS, Platform
from tests.waiting import until

TEMPLATE = CHECKOUT / "sandbox" / "prod-sim" / "Pulumi.prod-sim.yaml"
PORTS = {"postgres": 5432, "pgbouncer": 6432, "redis": 6379}


class Production(Platform):
    """The stack prod-sim in a folder of its own, with a cloud of its own."""

    stack_name = "prod-sim"

    def __init__(self, folder: Path, docker_host: str, catalogue: Path) -> None:
        self.cloud = folder / "oci"
        self.key = folder / "id_ed25519"
        folder.mkdir(parents=True, exist_ok=True)
        self.cloud.mkdir()
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", self.key], check=True
        )
        super().__init__(folder, docker_host, catalogue)

    def first_config(self) -> dict[str, Any]:
        """The committed settings of prod-sim, with the key of these tests."""
        text = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["config"]
        plain = {key.partition(":")[2]: value for key, value in text.items()}
        keys = {"sshPublicKey": self.public_key(self.key), "sshKeyFile": str(self.key)}
        applications = {"librarian": {"redis": True, "pool": 5}}
        return plain | {"host": plain["host"] | keys, "applications": applications}

    def further_environment(self) -> dict[str, str]:
        """A PULUMI_HOME that holds the simulated cloud's plugin beside those of every stack."""
        home = self.folder / "pulumi home"
        for plugin in plugins.NEEDED:
            plugins.link(home, plugin)
        plugins.install_stand_ins(home, (plugins.SIMULATED,))
        return {
            "PULUMI_HOME": str(home),
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "CDP_SIMULATED_OCI": str(self.cloud),
        }

    @staticmethod
    def public_key(private: Path) -> str:
        """The line of a .pub file, without its comment."""
        return " ".join(private.with_name(f"{private.name}.pub").read_text().split()[:2])

    # --- the machine ---

    def machine(self) -> str:
        """The name of the container that is the machine."""
        words = ["docker", "ps", "--all", "--filter", f"label={LABEL}={self.cloud}", "--format", "{{.Names}}"]
        (name,) = self.run(words).stdout.split()
        return name

    def on_machine(self, text: str, *, check: bool = True, stdin: str | None = None) -> str:
        """A line for the machine's shell, as root and not over SSH: for what a test does behind the program's back."""
        words = ["docker", "exec", "--interactive", self.machine(), "sh", "-euc", text]
        return self.run(words, check=check, stdin=stdin).stdout.strip()

    def reboot(self) -> None:
        """Switch the machine off and on; ends when Docker's containers answer again."""
        self.run(["docker", "restart", "--time", "60", self.machine()])

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return json.loads(self.pulumi("stack", "output", "--stack", self.stack_name, "--json"))

    def ssh(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """A program on the machine, the way an operator runs it."""
        line = [*self.outputs()["sshCommand"], shlex.join(words)]
        return self.run(line, stdin=stdin, check=check).stdout.strip()

    def ssh_answers(self) -> bool:
        """Whether the machine lets the operator in."""
        line = [*self.outputs()["sshCommand"], "true"]
        return self.run(line, check=False).returncode == 0

    # --- what Platform does on this machine's engine ---

    def docker(self, *words: str, stdin: str | None = None) -> str:
        """docker on the machine."""
        text = shlex.join(["docker", *words])
        return self.on_machine(text, stdin=stdin)

    def healthy(self, container: str) -> bool:
        """What the machine's Docker says of a container."""
        asked = f"docker inspect --format '{{{{.State.Health.Status}}}}' {container} || :"
        return self.on_machine(asked, check=False) == "healthy"

    @contextmanager
    def tunnel(self) -> Iterator[dict[str, int]]:
        """`ssh -N -L` as an operator opens it: local port by service."""
        outputs = self.outputs()
        local = {name: _free_port() for name in PORTS}
        forwards = [
            word for name in PORTS for word in ("-L", f"127.0.0.1:{local[name]}:{outputs[f'{name}Address']}")
        ]
        ssh, *options = outputs["sshCommand"]
        process = subprocess.Popen(
            [ssh, "-N", "-o", "ExitOnForwardFailure=yes", *forwards, *options], env=self.environment
        )
        try:
            until(lambda: _listens(local["redis"]), seconds=20, what="the tunnel")
            yield local
        finally:
            process.terminate()
            process.wait(timeout=20)

    def ca_file(self) -> Path:
        """The authority's certificate, for clients."""
        path = self.folder / "ca.crt"
        path.write_text(self.outputs()["caCertificate"])
        return path

    def client(self, port: int, **options: Any) -> "psycopg.Connection[Any]":
        """A real client through the tunnel, which checks the server's certificate and name."""
        return psycopg.connect(
            **{
                "host": "localhost",
                "port": port,
                "user": "platform_admin",
                "password": self.secrets["postgresPassword"],
                "dbname": "postgres",
                "sslmode": "verify-full",
                "sslrootcert": str(self.ca_file()),
                "connect_timeout": 10,
                "autocommit": True,
                **options,
            }
        )

    def user_data(self) -> str:
        """What the instance was given as metadata, decoded."""
        state = json.loads(self.pulumi("stack", "export", "--stack", self.stack_name))
        (instance,) = [
            r for r in state["deployment"]["resources"] if r["type"] == "oci:Core/instance:Instance"
        ]
        metadata: Mapping[str, str] = instance["inputs"]["metadata"]
        return base64.b64decode(metadata["user_data"]).decode()

    def remove(self) -> None:
        """Leave neither machine nor network nor disk behind."""
        subprocess.run(
            [sys.executable, "-m", "sandbox.machine", "remove", str(self.cloud)],
            cwd=CHECKOUT,
            env=self.environment,
            check=False,
        )
        super().remove()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def serves(production: Production) -> None:
    """Real clients are served through a tunnel, whatever was before."""
    for container in ("postgres-db", "redis-cache", "pgbouncer"):
        until(lambda name=container: production.healthy(name), seconds=120, what=f"{container} healthy")
    end = time.monotonic() + PATIENCE_SECONDS
    with production.tunnel() as ports:
        for name in ("postgres", "pgbouncer"):
            with production.client(ports[name]) as client:
                assert client.execute("SELECT 1").fetchone() == (1,)
    assert time.monotonic() < end
