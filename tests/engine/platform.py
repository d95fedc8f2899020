"""One platform for tests: a copy of the program, a stack driven by the Automation API, and clients of what it runs."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import redis
import yaml
from pulumi import automation

from tests.waiting import until

CHECKOUT = Path(__file__).parents[2]
PROJECT = "central-data-platform"
PROGRAM = ("__main__.py", "Pulumi.yaml", "components", "images.json")
SECRET_KEYS = (
    *("postgresPassword", "pgbouncerAuthPassword", "redisAdminPassword", "saltKey"),
    *("backupKey", "offsiteAccessKey", "offsiteSecretKey", "alertWebhook", "grafanaPassword"),
)
APPLICATION_PASSWORDS = "applicationPasswords"
# Longer than anything here takes: what hangs is a failure of its own test.
PATIENCE_SECONDS = 900
# Those with clients, and all.
SERVERS = ("postgres-db", "redis-cache", "pgbouncer")
CONTAINERS = (*SERVERS, "postgres-wal")


@dataclass
class Run:
    """What one run of the engine did and said."""

    output: str
    events: list[Any] = field(default_factory=list)

    def operations(self) -> dict[str, str]:
        """Operation by resource name, without what stayed the same."""
        seen: dict[str, str] = {}
        for event in self.events:
            if event.resource_pre_event:
                metadata = event.resource_pre_event.metadata
                if metadata.op not in ("same", "read", "refresh"):
                    seen[metadata.urn.rpartition("::")[2]] = str(getattr(metadata.op, "value", metadata.op))
        return seen


def canary() -> str:
    """A secret that is found nowhere by chance."""
    return f"CANARY{secrets.token_hex(12)}"


def applications() -> dict[str, Any]:
    """The session's applications: two alike, and one with a password that is put up with."""
    waiver = {
        "reason": "uses its password as its port, until its maintainer has fixed that",
        "until": (datetime.now(UTC).date() + timedelta(days=200)).isoformat(),
    }
    return {
        "librarian": {"redis": True, "pool": 5, "extensions": ["pg_trgm"]},
        "reporting": {"redis": True, "pool": 3},
        "trading-app": {
            "database": "trading",
            "user": "trading_app_user",
            "address": "172.28.0.200",
            "pool": 3,
            "passwordWaiver": waiver,
        },
    }


class Platform:
    """`folder` holds the program, its backend and /srv; everything in it is the test's own."""

    stack_name = "local"

    def __init__(self, folder: Path, docker_host: str, catalogue: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.srv = folder / "srv"
        self.docker_host = docker_host
        self.secrets = {key: canary() for key in SECRET_KEYS}
        # By application and store.
        self.application_secrets: dict[str, dict[str, str]] = {
            **{name: {"database": canary(), "redis": canary()} for name in ("librarian", "reporting")},
            "trading-app": {"database": "6432"},
        }
        self.project.mkdir(parents=True)
        self.config: dict[str, Any] = self.first_config() | {"imageCatalogue": str(catalogue)}
        for name in PROGRAM:
            source = CHECKOUT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, self.project / name)
        shutil.copytree(CHECKOUT / "scripts", self.project / "scripts")
        (folder / "backend").mkdir()
        self.environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{folder}/backend",
            "PULUMI_CONFIG_PASSPHRASE": "tests",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DOCKER_HOST": docker_host,
            **self.further_environment(),
        }
        # The language host finds Python here, as in a checkout.
        (self.project / ".venv").symlink_to(Path(sys.prefix))
        self.stack = automation.create_or_select_stack(
            stack_name=self.stack_name,
            work_dir=str(self.project),
            opts=automation.LocalWorkspaceOptions(env_vars=self.environment),
        )
        # The secrets that the configuration file holds, by their paths.
        self._said: dict[str, str] = {}
        self._encrypted = {f"{PROJECT}:{key}" for key in (*SECRET_KEYS, APPLICATION_PASSWORDS)}
        # The containers after the last `up` that was not disturbed since.
        self._settled: dict[str, str] = {}
        self.write_config()

    def first_config(self) -> dict[str, Any]:
        """The stack's plain settings."""
        return {
            "host": {"kind": "local", "socket": self.docker_host},
            "srvRoot": str(self.srv),
            "postgres": {"memory": 512, "port": 5432},
            "applications": applications(),
        }

    def further_environment(self) -> dict[str, str]:
        """What pulumi needs for such a stack beside what every stack has."""
        return {}

    def write_config(self) -> None:
        """Bring the stack's configuration file to `config` and `secrets`."""
        path = self.project / f"Pulumi.{self.stack_name}.yaml"
        text = yaml.safe_load(path.read_text()) if path.exists() else {}
        encrypted = {
            key: value for key, value in (text.get("config") or {}).items() if key in self._encrypted
        }
        plain = {f"{PROJECT}:{key}": value for key, value in self.config.items()}
        path.write_text(yaml.safe_dump({**text, "config": plain | encrypted}))
        nested = {
            f'{APPLICATION_PASSWORDS}["{application}"].{store}': value
            for application, stores in self.application_secrets.items()
            for store, value in stores.items()
        }
        wanted = self.secrets | nested
        for key in self._said.keys() - wanted.keys():
            self.pulumi("config", "rm", "--stack", self.stack_name, "--path", key)
        for key, value in wanted.items():
            # Each is a call of the CLI, and most do not change.
            if self._said.get(key) != value:
                self.pulumi(
                    "config", "set", "--stack", self.stack_name, "--secret", "--path", key, stdin=value
                )
        self._said = wanted

    @contextmanager
    def changed(self, **config: Any) -> Iterator[None]:
        """Other settings for a while; the configuration is put back, the containers are not."""
        before = self.config
        self.config = {**before, **config}
        self.write_config()
        try:
            yield
        finally:
            self.config = before
            self.write_config()
            self._settled = {}

    def up(self, **options: Any) -> Run:
        """`pulumi up`. Raises automation.CommandError with the engine's words."""
        self._settled = {}
        run = self._engine("up", options)
        self._settled = self.ids()
        return run

    def preview(self, **options: Any) -> Run:
        """`pulumi preview`."""
        return self._engine("preview", options)

    def down(self) -> Run:
        """`pulumi destroy`, without what is protected."""
        self._settled = {}
        return self._engine("destroy", {"exclude_protected": True})

    def _engine(self, action: str, options: Mapping[str, Any]) -> Run:
        events: list[Any] = []
        said: list[str] = []
        getattr(self.stack, action)(on_output=said.append, on_event=events.append, **options)
        return Run("\n".join(said), events)

    def pulumi(self, *words: str, stdin: str | None = None) -> str:
        """One call of the CLI."""
        return self.run(["pulumi", "--non-interactive", *words], stdin=stdin).stdout

    def run(
        self, words: list[str], *, stdin: str | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """A program in the project's folder and environment; what it printed is part of the failure."""
        ran = subprocess.run(
            words,
            cwd=self.project,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        if check and ran.returncode:
            raise AssertionError(f"{words} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
        return ran

    def docker(self, *words: str, stdin: str | None = None) -> str:
        """The output of one docker command."""
        return self.run(["docker", *words], stdin=stdin).stdout.strip()

    def address(self, container: str) -> str:
        """Where a container is on the platform's network."""
        where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.docker("inspect", "--format", where, container)

    def compose(self, *words: str) -> str:
        """docker compose as the manual types it."""
        ran = subprocess.run(
            ["docker", "compose", "--env-file", str(self.srv / "config/platform.env"), *words],
            cwd=self.srv / "apps/postgres-stack",
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def ids(self) -> dict[str, str]:
        """Container ids by name, as Docker has them."""
        return {name: self.docker("inspect", "--format", "{{.Id}}", name) for name in CONTAINERS}

    def healthy(self, container: str) -> bool:
        """What Docker says of a container."""
        ran = self.run(["docker", "inspect", "--format", "{{.State.Health.Status}}", container], check=False)
        return ran.stdout.strip() == "healthy"

    def settle(self) -> None:
        """Bring the platform back to what the configuration says, whatever a test did to it."""
        healthy = "docker inspect --format '{{.Id}} {{.State.Health.Status}}' " + " ".join(CONTAINERS)
        seen = self.run(["sh", "-c", healthy], check=False).stdout.splitlines()
        if not self._settled or seen != [f"{container} healthy" for container in self._settled.values()]:
            self.up(refresh=True)

    def psql(self, sql: str, database: str = "postgres") -> str:
        """SQL as the operator."""
        return self.docker(
            "exec",
            "postgres-db",
            "psql",
            "-XqtA",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "platform_admin",
            "-d",
            database,
            "-c",
            sql,
        )

    def connect(
        self,
        *,
        user: str = "platform_admin",
        password: str | None = None,
        database: str = "postgres",
        pooled: bool = True,
    ) -> "psycopg.Connection[Any]":
        """A real client, through the pooler or past it."""
        return psycopg.connect(
            host="127.0.0.1",
            port=6432 if pooled else 5432,
            user=user,
            password=self.secrets["postgresPassword"] if password is None else password,
            dbname=database,
            connect_timeout=10,
            autocommit=True,
        )

    def redis(self, *, user: str | None = "admin", password: str | None = None) -> "redis.Redis":
        """A real client of Redis."""
        word = self.secrets["redisAdminPassword"] if password is None else password
        return redis.Redis(
            host="127.0.0.1", port=6379, username=user, password=word if user else None, socket_timeout=10
        )

    def state(self) -> str:
        """The exported state, as text; secrets stay encrypted, which the Automation API's own export does not do."""
        return self.pulumi("stack", "export", "--stack", self.stack_name)

    def remove(self) -> None:
        """Leave nothing behind, whatever state a test ended in."""
        subprocess.run(
            ["docker", "rm", "-f", *CONTAINERS], env=self.environment, capture_output=True, check=False
        )
        subprocess.run(
            ["docker", "network", "rm", PROJECT], env=self.environment, capture_output=True, check=False
        )
        shutil.rmtree(self.folder, ignore_errors=True)


def works(platform: Platform) -> None:
    """Real clients are served, and nothing is left to do."""
    for container in CONTAINERS:
        until(lambda name=container: platform.healthy(name), seconds=60, what=f"{container} healthy")
    with platform.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert platform.redis().ping()
    assert platform.up().operations() == {}
