"""What must hold for the whole stack and for each component alone."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import backups
from components.config import SECRET_KEYS
from components.host_state import ACTION
from components.hosts.base import SCRIPTS
from components.render import scram
from tests.unit.conftest import APPLICATION_CANARIES, APPLICATIONS, CANARIES, ROOT, run_program
from tests.unit.recording_engine import CA_CERTIFICATE, Recording, Registration, is_secret, texts

HOST_STATE = "pulumi-python:dynamic/host:State"
DIGEST = re.compile(r"[a-z0-9./_-]+@sha256:[0-9a-f]{64}")
CATALOGUE = json.loads((ROOT / "images.json").read_text(encoding="utf-8"))
SERVICES = {
    "postgres-db": "postgres",
    "redis-cache": "redis",
    "pgbouncer": "pgbouncer",
    "postgres-wal": "postgres",
}

# What holds data, the network that others are on, and the machine whose end takes everything on it along.
PROTECTED = {
    "platform-tree",
    "platform-network-bridge",
    "platform-postgres-cluster",
    "host-data-volume",
    "host-backups-bucket",
    "host-machine-instance",
    "host-attachment",
    *(f"host-network-{part}" for part in ("vcn", "internet", "routes", "nothing", "subnet", "group")),
}

# Of the application with both passwords.
LIBRARIAN = APPLICATION_CANARIES["librarian"]


def word(canary: str) -> str:
    """The word by which a canary is known, however it is quoted."""
    return canary.split(" ")[0]


WORDS = [
    word(canary)
    for canary in (
        *CANARIES.values(),
        *(canary for passwords in APPLICATION_CANARIES.values() for canary in passwords.values()),
    )
]


def operator_password() -> str:
    """Redis' user operator has a password of its own, derived from saltKey."""
    return hmac.new(CANARIES["saltKey"].encode(), b"redis:operator", hashlib.sha256).hexdigest()


def verifiers() -> list[str]:
    """What PostgreSQL is given in place of the passwords."""
    roles = {
        "platform_admin": CANARIES["postgresPassword"],
        "pgbouncer_auth": CANARIES["pgbouncerAuthPassword"],
        "librarian_user": LIBRARIAN["database"],
        "trading_app_user": APPLICATION_CANARIES["trading-app"]["database"],
    }
    return [scram.verifier(value, scram.salt(CANARIES["saltKey"], role)) for role, value in roles.items()]


def hashes() -> list[str]:
    """What Redis is given in place of the passwords."""
    clear = (CANARIES["redisAdminPassword"], operator_password(), LIBRARIAN["redis"])
    return [hashlib.sha256(password.encode()).hexdigest() for password in clear]


CLEAR = [*WORDS, operator_password()]


BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")


@cache
def read_through(text: str) -> Sequence[str]:
    """A text, and what of it is the base64 of another one, as in the lists that password.sh reads."""
    found = [text]
    for word in BASE64.findall(text):
        with suppress(binascii.Error):
            found.append(base64.b64decode(word, validate=True).decode("latin-1"))
    return found


def holding(values: list[str], found: list[str]) -> list[str]:
    return [t for text in found for t in read_through(text) if any(value in t for value in values)]


def test_a_secret_is_found_in_base64_too() -> None:
    hidden = f"verifier x\nfile 0600 0:0 {base64.b64encode(LIBRARIAN['database'].encode()).decode()} /srv/x\n"
    assert holding(WORDS, [hidden]) == [LIBRARIAN["database"]]


# --- images ---


def test_every_image_is_by_digest(recording: Recording) -> None:
    images = [r.inputs["name"] for r in recording.of_type("docker:index/remoteImage:RemoteImage")]
    images += [r.inputs["image"] for r in recording.containers]
    assert all(DIGEST.fullmatch(image) for image in images)


def test_no_text_names_an_image_by_its_tag(recording: Recording) -> None:
    tagged = [f"{i['repository']}:{i['tag']}" for i in CATALOGUE.values()]
    everything = [text for r in recording.registrations for text in texts(r.raw, bare=False)]
    assert not holding(tagged, everything)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_each_architecture_picks_its_own_digest(
    architecture: str, local: Recording, local_arm64: Recording
) -> None:
    run = {"amd64": local, "arm64": local_arm64}[architecture]
    expected = {
        container: f"{CATALOGUE[image]['repository']}@{CATALOGUE[image]['manifests'][architecture]}"
        for container, image in SERVICES.items()
    }
    assert {r.inputs["name"]: r.inputs["image"] for r in run.containers} == expected
    assert run.exports["images"] == expected
    assert all(
        image in run.files["/srv/apps/postgres-stack/docker-compose.yml"].text for image in expected.values()
    )
    assert expected["postgres-db"] in run["platform-postgres-cluster"].inputs["create"]


def test_images_are_kept_when_their_resource_goes(local: Recording) -> None:
    assert all(r.inputs["keepLocally"] is True for r in local.of_type("docker:index/remoteImage:RemoteImage"))


def write_catalogue(path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    catalogue = json.loads(json.dumps(CATALOGUE))
    change(catalogue)
    path.write_text(json.dumps(catalogue), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("image", ["postgres", "redis", "pgbouncer"])
def test_an_image_that_is_not_built_for_the_host_ends_the_run_with_one_sentence(
    tmp_path: Path, image: str
) -> None:
    path = write_catalogue(tmp_path / "images.json", lambda c: c[image]["manifests"].pop("arm64"))
    run = run_program(architecture="arm64", plain={"imageCatalogue": path})
    # A RunError is shown as it is, any other as a trace.
    assert isinstance(run.error, pulumi.RunError)
    repository, tag = CATALOGUE[image]["repository"], CATALOGUE[image]["tag"]
    assert str(run.error) == (
        f"image {repository}:{tag} has no manifest for arm64, only for amd64; "
        "choose an image that is built for the host"
    )
    assert not [r for r in run.containers if r.inputs["name"] == image]


def test_an_architecture_that_no_image_knows_is_named(tmp_path: Path) -> None:
    path = write_catalogue(tmp_path / "images.json", lambda _: None)
    run = run_program(architecture="riscv64", plain={"imageCatalogue": path})
    assert isinstance(run.error, pulumi.RunError)
    assert "has no manifest for riscv64, only for amd64, arm64" in str(run.error)


# --- addresses ---


def test_nothing_is_open_to_every_network(recording: Recording) -> None:
    everything = [text for r in recording.registrations for text in texts(r.raw, bare=False)]
    # The way out of a VCN leads everywhere; test_oci_host.py looks at every rule.
    everything = [text for text in everything if text != "0.0.0.0/0"]
    assert not [text for text in everything if re.search(r"0\.0\.0\.0", text)]
    assert not [text for text in everything if re.search(r"\btrust\b", text)]


def test_every_port_is_published_on_the_configured_address() -> None:
    run = run_program(plain={"network": {"publishAddress": "10.1.2.3"}, "redis": {"port": 16379}})
    ports = {r.inputs["name"]: r.inputs.get("ports", []) for r in run.containers}
    assert ports == {
        "postgres-db": [{"internal": 5432, "external": 5432, "ip": "10.1.2.3", "protocol": "tcp"}],
        # The way over TLS.
        "redis-cache": [{"internal": 6380, "external": 16379, "ip": "10.1.2.3", "protocol": "tcp"}],
        "pgbouncer": [{"internal": 6432, "external": 6432, "ip": "10.1.2.3", "protocol": "tcp"}],
        "postgres-wal": [],
    }
    addresses = {key: run.exports[f"{key}Address"] for key in ("postgres", "redis", "pgbouncer")}
    assert addresses == {"postgres": "10.1.2.3:5432", "redis": "10.1.2.3:16379", "pgbouncer": "10.1.2.3:6432"}


# --- secrets ---


def test_no_secret_reaches_the_engine_in_the_clear(recording: Recording) -> None:
    asked = [text for r in recording.registrations for text in texts(r.raw, bare=True)]
    published = [text for outputs in recording.outputs.values() for text in texts(outputs, bare=True)]
    invoked = [text for call in recording.invokes for text in texts(call.args, bare=True)]
    assert not holding([*CLEAR, *verifiers(), *hashes()], asked + published + invoked)


def test_no_export_holds_anything_of_a_secret(local: Recording) -> None:
    exported = list(texts(local.exports, bare=False))
    assert exported
    assert not holding([*CLEAR, *verifiers(), *hashes()], exported)


def test_secrets_go_only_where_the_manual_says(local: Recording) -> None:
    found = {
        (r.name, key)
        for r in local.registrations
        for key, value in r.raw.items()
        if holding(CLEAR, list(texts(value, bare=False)))
    }
    assert found == {
        ("platform-secrets-file", "stdin"),
        ("platform-backups-keys", "stdin"),
        # It writes the user list.
        ("platform-pgbouncer-password", "stdin"),
        ("platform-redis-reload", "stdin"),
        ("platform-redis-settled", "stdin"),
        # They write server.env and server.external.env.
        ("platform-application-librarian-password", "stdin"),
        ("platform-application-trading-app-password", "stdin"),
    }


@pytest.mark.parametrize(
    ("canary", "places"),
    [
        (LIBRARIAN["database"], {"platform-secrets-file", "platform-application-librarian-password"}),
        # Redis itself gets only the hash of it.
        (LIBRARIAN["redis"], {"platform-secrets-file", "platform-application-librarian-password"}),
        (
            APPLICATION_CANARIES["trading-app"]["database"],
            {"platform-secrets-file", "platform-application-trading-app-password"},
        ),
        (CANARIES["postgresPassword"], {"platform-secrets-file"}),
        (CANARIES["pgbouncerAuthPassword"], {"platform-secrets-file", "platform-pgbouncer-password"}),
        (CANARIES["redisAdminPassword"], {"platform-secrets-file"}),
        (CANARIES["backupKey"], {"platform-secrets-file", "platform-backups-keys"}),
        (CANARIES["alertWebhook"], {"platform-secrets-file", "platform-backups-keys"}),
    ],
)
def test_a_password_goes_to_its_own_files_alone(local: Recording, canary: str, places: set[str]) -> None:
    found = {r.name for r in local.registrations if holding([word(canary)], list(texts(r.raw, bare=False)))}
    assert found == places


def test_what_is_derived_from_secrets_goes_to_its_server_alone(local: Recording) -> None:
    found = {
        (r.name, key)
        for r in local.registrations
        for key, value in r.raw.items()
        if holding([*verifiers(), *hashes()], list(texts(value, bare=False)))
    }
    assert found == {
        ("platform-postgres-password", "stdin"),
        ("platform-pgbouncer-password", "stdin"),
        ("platform-redis-users", "stdin"),
        ("platform-redis-reload", "stdin"),
        ("platform-redis-settled", "stdin"),
        ("platform-application-librarian-password", "stdin"),
        ("platform-application-trading-app-password", "stdin"),
    }


def test_each_role_gets_its_own_verifier_alone(local: Recording) -> None:
    steps = ("postgres", "pgbouncer", "application-librarian", "application-trading-app")
    for step, mine in zip(steps, verifiers(), strict=True):
        stdin = local[f"platform-{step}-password"].inputs["stdin"]
        assert [v for v in verifiers() if holding([v], [stdin])] == [mine], step
        assert next(iter(stdin.splitlines())).startswith("verifier ")


def test_the_key_of_the_salts_goes_nowhere(recording: Recording) -> None:
    everything = [text for r in recording.registrations for text in texts(r.raw, bare=False)]
    assert not holding([WORDS[SECRET_KEYS.index("saltKey")]], everything)


def test_only_standard_input_and_triggers_are_secret(recording: Recording) -> None:
    secret = {(r.type, key) for r in recording.registrations for key, v in r.raw.items() if is_secret(v)}
    assert secret <= {
        ("command:local:Command", "stdin"),
        (HOST_STATE, "stdin"),
        # pulumi keeps a provider's own code so.
        (HOST_STATE, "__provider"),
    }


def test_a_secret_is_one_as_a_whole(recording: Recording) -> None:
    """A list of which one word is secret would show the others in a preview's difference."""
    for r in recording.scripted:
        if is_secret(r.raw.get("stdin")):
            assert list(texts(r.raw["stdin"], bare=True)) == [], r.name


def test_what_a_command_says_is_secret_where_its_input_is(recording: Recording) -> None:
    for r in recording.commands:
        expected = {"stdout", "stderr"} if is_secret(r.raw.get("stdin")) else set()
        assert set(r.request.additionalSecretOutputs) == expected, r.name
    # Of what a state's script prints only the differences are kept, which hold no secret: test_application_scripts.py.
    for r in recording.host_states:
        assert set(r.inputs) == {"__provider", "words", "stdin", "triggers"}, r.name


def test_words_hold_scripts_and_no_secret(recording: Recording) -> None:
    for r in recording.host_states:
        assert not is_secret(r.raw["words"]), r.name
        assert not holding([*CLEAR, *verifiers(), *hashes()], r.inputs["words"]), r.name


def test_environments_hold_scripts_and_no_secret(recording: Recording) -> None:
    for r in recording.commands:
        assert set(r.inputs["environment"]) <= {"SCRIPT", "ON_DELETE"}, r.name
        assert not is_secret(r.raw["environment"]), r.name
        assert not holding([*CLEAR, *verifiers()], list(r.inputs["environment"].values())), r.name
    # Where the data are, and nothing else.
    for r in recording.containers:
        postgres = r.name == "platform-postgres-container"
        assert r.inputs.get("envs") == (["PGDATA=/var/lib/postgresql/data"] if postgres else None)


# --- resources ---


def test_data_and_network_are_protected_and_nothing_else(recording: Recording) -> None:
    protected = {r.name for r in recording.registrations if r.request.protect}
    assert protected == PROTECTED & {r.name for r in recording.registrations}


def test_no_two_resources_share_a_urn(recording: Recording) -> None:
    urns = [r.urn for r in recording.registrations]
    assert len(urns) == len(set(urns))


def test_only_components_stand_at_the_top(recording: Recording) -> None:
    for r in recording.registrations:
        if r.request.custom:
            assert r.request.parent.split("$")[-1].startswith("central-data-platform:"), r.urn


def test_the_stack_has_a_host_and_a_platform_at_the_top(local: Recording) -> None:
    top = {r.name for r in local.registrations if "::pulumi:pulumi:Stack::" in r.request.parent}
    assert top == {"host", "platform"}


def test_a_type_of_ours_has_three_parts(recording: Recording) -> None:
    for r in recording.components:
        assert re.fullmatch(r"central-data-platform:(components|hosts|test):[A-Z]\w+", r.type), r.type


def test_a_name_begins_with_the_name_of_the_parent(local: Recording) -> None:
    for r in local.registrations:
        if "::pulumi:pulumi:Stack::" not in r.request.parent:
            assert r.name.startswith(r.parent), r.urn


def test_everything_in_docker_is_made_by_the_hosts_provider(local: Recording) -> None:
    (provider,) = local.of_type("pulumi:providers:docker")
    assert provider.inputs == {"host": "unix:///var/run/docker.sock"}
    made = [r for r in local.registrations if r.type.startswith("docker:")]
    assert len(made) == 1 + 2 * len(SERVICES)
    assert {r.request.provider.rpartition("::")[0] for r in made} == {provider.urn}


def test_the_tree_of_resources(local: Recording, golden: Callable[[str, str], None]) -> None:
    children: dict[str, list[Registration]] = {}
    for r in local.registrations:
        children.setdefault(r.request.parent, []).append(r)

    def lines(parent: str, indent: str) -> list[str]:
        found: list[str] = []
        for r in sorted(children.get(parent, []), key=lambda r: (r.name, r.type)):
            mark = "  protected" if r.request.protect else ""
            found += [f"{indent}{r.name}  {r.type}{mark}", *lines(r.urn, indent + "  ")]
        return found

    (root,) = {r.request.parent for r in local.registrations if "::pulumi:pulumi:Stack::" in r.request.parent}
    golden("resources.txt", "\n".join(lines(root, "")) + "\n")


# --- commands ---


def test_a_command_runs_again_in_place_and_never_on_a_delete(recording: Recording) -> None:
    for r in recording.commands:
        assert r.inputs["update"] == r.inputs["create"], r.name
        # The data volume is let go before it is detached, and no job starts by itself; nothing else is undone.
        undone = r.name in ("host-attach-data", "platform-backups-install-timers")
        assert ("delete" in r.inputs) == undone, r.name


def test_a_state_is_brought_about_and_looked_at_by_one_script(recording: Recording) -> None:
    for r in recording.host_states:
        words = "\0".join(r.inputs["words"])
        assert len(re.findall(rf"(?<=\.sh[\0 ]){ACTION}(?=[\0 ]|$)", words)) == words.count(ACTION) == 1, (
            r.name
        )


def test_a_list_with_a_secret_has_an_end(recording: Recording) -> None:
    """Cut off on the way, it would say less than is wanted."""
    for r in recording.host_states:
        assert not r.inputs["stdin"] or r.inputs["stdin"].endswith("\nend\n"), r.name
    for r in recording.commands:
        if is_secret(r.raw.get("stdin")):
            assert r.inputs["stdin"].endswith("\nend\n"), r.name


def test_the_code_behind_a_state_stands_in_it_by_name_alone(recording: Recording) -> None:
    """A changed line of it must not change every such resource, and there is nothing to hide in it."""
    for r in recording.host_states:
        provider = base64.b64decode(r.inputs["__provider"])
        assert b"components.host_state" in provider, r.name
        assert len(provider) < 100, r.name


def test_a_command_is_neither_logged_nor_given_its_last_output(recording: Recording) -> None:
    for r in recording.commands:
        assert r.inputs["logging"] == "none", r.name
        assert r.inputs["addPreviousOutputInEnv"] is False, r.name


def test_a_question_to_the_engine_is_not_logged_either(recording: Recording) -> None:
    for call in [c for c in recording.invokes if c.token.startswith("command:")]:
        assert call.args["logging"] == "none"
        assert call.args["addPreviousOutputInEnv"] is False


def test_commands_speak_to_the_configured_engine_as_root() -> None:
    run = run_program(plain={"host": {"kind": "local", "socket": "unix:///run/other.sock", "sudo": True}})
    assert run.commands
    for r in run.commands:
        assert r.inputs["create"].startswith("sudo -n env DOCKER_HOST=unix:///run/other.sock sh -c "), r.name
    # Asking for the architecture needs no root.
    assert [c.args["command"].split(" sh -c ")[0] for c in run.invokes] == [
        "env DOCKER_HOST=unix:///run/other.sock"
    ]


# --- order ---


def test_the_network_goes_after_a_look_at_who_is_on_it(local: Recording) -> None:
    assert "platform-network-room" in local.waits_for("platform-network-bridge")


def test_what_touches_the_tree_comes_after_it(local: Recording) -> None:
    outside = {
        "platform-tree",
        "platform-images",
        "platform-network-room",
        *(f"platform-{service}-hash" for service in ("postgres", "redis", "pgbouncer", "backups-wal")),
    }
    for r in [*local.scripted, *local.containers]:
        if r.name not in outside:
            assert "platform-tree" in local.waits_for(r.name), r.name


def test_nothing_is_made_of_an_image_before_somebody_has_looked_at_it(local: Recording) -> None:
    looked = local["platform-images"].inputs["create"]
    assert all(r.inputs["image"] in looked for r in local.containers)
    pulled = local.of_type("docker:index/remoteImage:RemoteImage")
    named = ("platform-compose", "platform-postgres-cluster", "platform-backups-settings")
    for r in [*local.containers, *pulled, *(local[name] for name in named)]:
        assert "platform-images" in local.waits_for(r.name), r.name


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        (
            "platform-postgres-container",
            {
                "platform-postgres-files",
                "platform-postgres-cluster",
                "platform-postgres-image",
                "platform-postgres-hash",
                "platform-network-bridge",
                "platform-secrets-file",
                "platform-tls-certificates",
            },
        ),
        ("platform-postgres-running", {"platform-postgres-container"}),
        ("platform-postgres-certificate", {"platform-postgres-container", "platform-postgres-running"}),
        ("platform-pgbouncer-certificate", {"platform-pgbouncer-container", "platform-pgbouncer-running"}),
        ("platform-postgres-roles", {"platform-postgres-container", "platform-postgres-running"}),
        ("platform-postgres-password", {"platform-postgres-container", "platform-postgres-roles"}),
        (
            "platform-redis-container",
            {
                "platform-redis-files",
                "platform-redis-users",
                "platform-redis-image",
                "platform-redis-hash",
                "platform-network-bridge",
                "platform-secrets-file",
                "platform-tls-certificates",
            },
        ),
        ("platform-redis-reload", {"platform-redis-container", "platform-redis-users"}),
        (
            "platform-pgbouncer-container",
            {
                "platform-pgbouncer-files",
                # It writes the user list.
                "platform-pgbouncer-password",
                "platform-pgbouncer-image",
                "platform-pgbouncer-hash",
                "platform-network-bridge",
                "platform-secrets-file",
                "platform-tls-certificates",
                "platform-postgres-roles",
                "platform-postgres-password",
            },
        ),
        # Its role has to be there before its password, and the pooler's folder before its user list.
        ("platform-pgbouncer-password", {"platform-postgres-roles", "platform-tree"}),
        (
            "platform-pgbouncer-running",
            {
                "platform-pgbouncer-container",
                "platform-pgbouncer-files",
                "platform-pgbouncer-password",
            },
        ),
        *(
            (
                f"platform-application-{name}-account",
                {
                    "platform-postgres-running",
                    "platform-postgres-password",
                    "platform-redis-reload",
                    "platform-pgbouncer-running",
                    "platform-pgbouncer-certificate",
                },
            )
            for name in APPLICATIONS
        ),
        *(
            (
                f"platform-application-{name}-password",
                {f"platform-application-{name}-account", "platform-secrets-file"},
            )
            for name in APPLICATIONS
        ),
        # A replaced password stays good until all that need the new one have it.
        ("platform-redis-settled", {f"platform-application-{name}-password" for name in APPLICATIONS}),
        # Who has no place in the settings any more is out before pg_hba.conf forgets its bounds.
        ("platform-postgres-former-logins", {"platform-postgres-container"}),
        ("platform-postgres-running", {"platform-postgres-former-logins"}),
    ],
)
def test_the_parts_start_in_order(local: Recording, later: str, earlier: set[str]) -> None:
    assert earlier <= local.waits_for(later)


def test_the_parts_that_need_not_wait_do_not(local: Recording) -> None:
    assert "platform-postgres-container" not in local.waits_for("platform-redis-container")
    assert "platform-redis-container" not in local.waits_for("platform-postgres-container")
    # An application that cannot be made holds up no other.
    made = {name: local.waits_for(f"platform-application-{name}-password") for name in APPLICATIONS}
    for name, earlier in made.items():
        others = {f"platform-application-{other}" for other in APPLICATIONS if other != name}
        assert not [step for step in earlier if step.startswith(tuple(others))], name


def test_a_running_server_reads_its_changed_files(local: Recording) -> None:
    for server in ("postgres", "pgbouncer"):
        known = local[f"platform-{server}-running"].inputs["stdin"]
        files = {p: f.text for p, f in local.files.items() if f.resource == f"platform-{server}-files"}
        sums = [f"{hashlib.sha256(text.encode()).hexdigest()}  {path}\n" for path, text in files.items()]
        assert known == "".join([*sums, "end\n"])
    # The user list is not among them: who writes it has it read, in one step with the password that it holds.
    assert local["platform-pgbouncer-password"].inputs["stdin"].splitlines()[-2:] == [
        "reload-pgbouncer",
        "end",
    ]


# --- files ---


def test_every_file_has_its_place_owner_and_mode(local: Recording) -> None:
    assert {path: (f.resource, f.mode, f.owner) for path, f in local.files.items()} == {
        "/srv/config/platform.env": ("platform-secrets-file", "0600", "0:0"),
        **{
            f"/srv/config/postgres/{file}": ("platform-postgres-files", "0644", "0:0")
            for file in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")
        },
        "/srv/config/redis/redis.conf": ("platform-redis-files", "0644", "0:0"),
        "/srv/config/redis/users.acl": ("platform-redis-users", "0400", "999:999"),
        **{
            f"/srv/config/pgbouncer/{file}": ("platform-pgbouncer-files", "0644", "0:0")
            for file in ("pgbouncer.ini", "pg_hba.conf")
        },
        "/srv/config/waivers.tsv": ("platform-waivers", "0644", "0:0"),
        "/srv/apps/postgres-stack/docker-compose.yml": ("platform-compose", "0644", "0:0"),
        **{
            f"/srv/apps/{script}": ("platform-scripts", "0755", "0:0")
            for script in (
                *("drop-application.sh", "pooler.sh", "status.sh"),
                *("upgrade-postgres.sh", "upgrade-redis.sh"),
                *(f"status.d/{path.name}" for path in (SCRIPTS / "host/status.d").glob("*.sh")),
            )
        },
        **{
            f"/srv/config/backup/{file}": ("platform-backups-settings", "0644", "0:0")
            for file in ("backup.env", "drill-queries.tsv")
        },
        **{
            f"/srv/config/backup/{file}": ("platform-backups-keys", "0600", "0:0")
            for file in ("key", "s3-credentials", "webhook")
        },
        **{
            f"/srv/apps/{script}": ("platform-backups-scripts", "0755", "0:0")
            for script in (*backups.COMMANDS, *(f"backup.d/{part}" for part in backups.PARTS))
        },
    }


def test_every_file_with_a_password_has_its_place_owner_and_mode(local: Recording) -> None:
    found = {
        path: f"{kind} {mode} {owner}"
        for r in local.host_states
        if r.name.endswith("-password")
        for kind, mode, owner, _, path in (
            line.split(" ", 4) for line in r.inputs["stdin"].splitlines() if line.count(" ") >= 4
        )
        if kind in ("file", "block")
    }
    mine = {
        "server.env": "block 0600 0:0",
        "server.external.env": "block 0600 0:0",
        "platform.yaml": "file 0644 0:0",
        "platform-ca.crt": "file 0644 0:0",
    }
    assert found == {
        "/srv/config/pgbouncer/userlist.txt": "file 0400 1001:1001",
        **{f"/srv/apps/{name}/{file}": how for name in APPLICATIONS for file, how in mine.items()},
    }


def test_the_root_of_the_tree_is_a_setting() -> None:
    run = run_program(plain={"srvRoot": "/mnt/my platform"})
    assert run.exports["srvRoot"] == "/mnt/my platform"
    everything = [text for r in run.registrations for text in texts(r.inputs, bare=False)]
    ours = [text for r in run.containers for text in texts(r.inputs["volumes"], bare=False) if "/" in text]
    assert [t for t in ours if t.startswith("/mnt/my platform/")]
    assert not [text for text in ours if text.startswith("/srv")]
    written = [line for r in run.host_states for line in r.inputs["stdin"].splitlines() if " 0:0 " in line]
    assert [line for line in written if line.endswith(" /mnt/my platform/apps/librarian/server.env")]
    assert not [line for line in written if " /srv/" in line]
    assert run["platform-postgres-former-logins"].inputs["words"][-3] == "/mnt/my platform"
    assert run.exports["applications"]["librarian"]["serverEnv"] == (
        "/mnt/my platform/apps/librarian/server.env"
    )
    assert not [text for text in everything if re.search(r"'?/srv/(data|run|apps/postgres-stack)", text)]


# --- stacks ---


def test_the_exports_have_the_names_that_scripts_read(local: Recording) -> None:
    assert local.exports == {
        "srvRoot": "/srv",
        "postgresAddress": "127.0.0.1:5432",
        "pgbouncerAddress": "127.0.0.1:6432",
        "redisAddress": "127.0.0.1:6379",
        "containers": {
            "postgres-db": "platform-postgres-container-id",
            "redis-cache": "platform-redis-container-id",
            "pgbouncer": "platform-pgbouncer-container-id",
            "postgres-wal": "platform-backups-wal-container-id",
        },
        "images": {r.inputs["name"]: r.inputs["image"] for r in local.containers},
        "versions": {"postgres": "17.11", "redis": "7.2.16", "pgbouncer": "1.25.2-6"},
        "sshCommand": [],
        "caCertificate": CA_CERTIFICATE,
        "applications": {
            "librarian": {
                "database": "librarian",
                "user": "librarian_user",
                "serverEnv": "/srv/apps/librarian/server.env",
                "redisKeyPrefix": "librarian:",
                "passwordWaiver": None,
                "whenRemoved": (
                    "access is closed, and database librarian and the keys are kept; "
                    "to delete them for good: make drop-application NAME=librarian"
                ),
            },
            "trading-app": {
                "database": "trading",
                "user": "trading_app_user",
                "serverEnv": "/srv/apps/trading-app/server.env",
                "redisKeyPrefix": None,
                "passwordWaiver": (
                    f"until {APPLICATIONS['trading-app']['passwordWaiver']['until']}: uses its password as its port"
                ),
                "whenRemoved": (
                    "access is closed, and database trading and the keys are kept; "
                    "to delete them for good: make drop-application NAME=trading-app"
                ),
            },
        },
    }


def test_the_tree_belongs_to_the_stack(local: Recording) -> None:
    assert local["platform-tree"].inputs["create"].endswith(" make-tree.sh /srv local")


def test_a_second_run_asks_for_the_same(local: Recording) -> None:
    again = run_program()
    assert {r.urn: r.inputs for r in again.registrations} == {r.urn: r.inputs for r in local.registrations}
