"""Fixtures of the unit tests: the program and its parts, run against a recording engine."""

import difflib
import os
import runpy
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import settings as hypothesis_settings

from components import config
from components.application import Application, ApplicationArgs
from components.config import APPLICATION_PASSWORDS
from components.container import ServiceArgs
from components.hosts import open_host
from components.network import Network, NetworkArgs
from components.pgbouncer import Pgbouncer
from components.postgres import Postgres
from components.redis import Redis
from components.secrets_file import SecretsFile, SecretsFileArgs
from components.settings import PROJECT
from tests.unit.recording_engine import CA_CERTIFICATE, Engine, Recording, configure, open_engine

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"

# The same examples in each run, and no folder of them in the checkout.
hypothesis_settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis_settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Scripts that tests kill leave theirs behind: where pytest clears up."""
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("tmp"))


# Each starts with a word that is found nowhere else, and goes on with what quoting has to deal with.
CANARIES = {
    "postgresPassword": "canary-postgres-4e1b \\ \"$HOME # it's =",
    "pgbouncerAuthPassword": 'canary-pgbouncer-9c07 "\\" $$ #',
    "redisAdminPassword": "canary-redis-2ad5 ' ${x} \\",
    "saltKey": "canary-salt-77f3",
    "backupKey": "canary-backups-e8d2",
    "grafanaPassword": "canary-grafana-5ac8",
    "alertWebhook": 'https://canary-hook-3bb9/ "x\\',
}
# Two applications: one with all that there is to ask for, one whose weak password is put up with.
APPLICATIONS: dict[str, Any] = {
    "librarian": {"redis": True, "pool": 5, "extensions": ["pg_trgm"]},
    "trading-app": {
        "database": "trading",
        "user": "trading_app_user",
        "address": "172.28.0.200",
        "passwordWaiver": {
            "reason": "uses its password as its port",
            # The program looks at today's date.
            "until": str(datetime.now(UTC).date() + timedelta(days=90)),
        },
    },
}
APPLICATION_CANARIES = {
    "librarian": {
        "database": "canary-books-51fe it's \\ \"$HOME # %41@/:?",
        "redis": "canary-cache-b63a ' ${x} &=+ \\",
    },
    "trading-app": {"database": "canary-t8f"},
}


# What a user writes over the values that Pulumi.prod.yaml marks.
OCI_HOST = {
    "kind": "oci",
    "region": "eu-frankfurt-1",
    "tenancy": "ocid1.tenancy.oc1..aaaatenancy",
    "compartment": "ocid1.compartment.oc1..aaaacompartment",
    "sshCidrs": ["203.0.113.7/32"],
    "sshPublicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOperatorOperatorOperatorOperatorOperatorAA operator",
}


def stack_configuration(stack: str) -> dict[str, Any]:
    """The plain part of Pulumi.<stack>.yaml, without the namespace."""
    raw = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    plain = {key.removeprefix(f"{PROJECT}:"): value for key, value in raw.items()}
    return plain | ({"host": plain["host"] | OCI_HOST} if plain["host"]["kind"] == "oci" else {})


def run_program(
    stack: str = "local", *, architecture: str = "amd64", plain: Mapping[str, Any] | None = None
) -> Recording:
    """Run __main__.py as stack `stack` with the two applications, and with `plain` over its configuration."""
    with open_engine(stack=stack, architecture=architecture) as engine:
        configure(
            {**stack_configuration(stack), "applications": APPLICATIONS, **(plain or {})},
            {**CANARIES, APPLICATION_PASSWORDS: APPLICATION_CANARIES},
        )
        return engine.run(lambda: runpy.run_path(str(ROOT / "__main__.py")))


def _component(name: str) -> Callable[[], object]:
    """A program that makes one component alone, under the name that it has in the stack."""

    def program() -> object:
        settings, catalogue, secrets = config.load()
        host = open_host("host", settings)
        network = pulumi.Output.from_input("central-data-platform")
        certificates = pulumi.Output.from_input("fingerprints")
        common: dict[str, Any] = {
            "settings": settings,
            "secrets": secrets,
            "host": host,
            "network": network,
            "after": [],
        }
        match name:
            case "network":
                return Network(
                    "platform-network",
                    NetworkArgs(settings=settings.network, srv_root=settings.srv_root, host=host),
                )
            case "secrets":
                args = SecretsFileArgs(
                    secrets=secrets,
                    applications=settings.application_list,
                    srv_root=settings.srv_root,
                    host=host,
                    after=[],
                )
                return SecretsFile("platform-secrets", args)
            case "application":
                librarian, _ = settings.application_list
                return Application(
                    "platform-application-librarian",
                    ApplicationArgs(
                        application=librarian,
                        settings=settings,
                        passwords=secrets.applications[librarian.name],
                        salt_key=secrets.salt_key,
                        ca_certificate=pulumi.Output.from_input(CA_CERTIFICATE),
                        host=host,
                        after=[],
                    ),
                )
            case "postgres":
                return Postgres(
                    "platform-postgres", ServiceArgs(image=catalogue.postgres, **common), certificates
                )
            case "redis":
                return Redis("platform-redis", ServiceArgs(image=catalogue.redis, **common), certificates)
            case _:
                database = pulumi.ComponentResource("central-data-platform:test:Database", "database")
                return Pgbouncer(
                    "platform-pgbouncer",
                    ServiceArgs(image=catalogue.pgbouncer, **common),
                    certificates,
                    database,
                )

    return program


def run_component(name: str) -> Recording:
    """Run one component alone, with the local stack's configuration and the two applications."""
    with open_engine() as engine:
        configure(
            {**stack_configuration("local"), "applications": APPLICATIONS},
            {**CANARIES, APPLICATION_PASSWORDS: APPLICATION_CANARIES},
        )
        return engine.run(_component(name))


def _done(recording: Recording) -> Recording:
    if recording.error:
        raise recording.error
    return recording


@pytest.fixture(scope="session")
def local() -> Recording:
    """The whole local stack on an amd64 engine."""
    return _done(run_program())


@pytest.fixture(scope="session")
def local_arm64() -> Recording:
    """The whole local stack on an arm64 engine."""
    return _done(run_program(architecture="arm64"))


@pytest.fixture(scope="session")
def prod() -> Recording:
    """The whole stack on a machine in OCI."""
    return _done(run_program("prod", architecture="arm64"))


@pytest.fixture(
    scope="session",
    params=[
        *("local", "local_arm64", "prod"),
        *("network", "secrets", "postgres", "redis", "pgbouncer", "application"),
    ],
)
def recording(request: pytest.FixtureRequest) -> Recording:
    """The whole stack on either architecture, and each component alone: for what must hold everywhere."""
    if request.param in ("local", "local_arm64", "prod"):
        return request.getfixturevalue(request.param)
    return _done(run_component(request.param))


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine for one test."""
    with open_engine() as opened:
        yield opened


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with tests/golden/<name>."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != kept:
            difference = "\n".join(
                difflib.unified_diff(
                    kept.splitlines(), text.splitlines(), f"tests/golden/{name}", "rendered now", lineterm=""
                )
            )
            pytest.fail(
                f"{difference}\n\ntests/golden/{name} is not what is rendered. If the change is meant, accept it with\n"
                "  UPDATE_GOLDEN=1 .venv/bin/pytest tests/unit\n"
                "and read `git diff tests/golden` before the commit.",
                pytrace=False,
            )

    return check
