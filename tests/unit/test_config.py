"""Reading a stack's configuration: each fault is one sentence, and no secret is shown."""

import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pydantic.alias_generators import to_camel

from components import config
from components.config import APPLICATION_PASSWORDS, OPTIONAL_SECRET_KEYS, SECRET_KEYS
from components.settings import PLATFORM_IMAGES, PROJECT, ImageCatalogue, Settings, parse
from tests.unit.conftest import APPLICATION_CANARIES, APPLICATIONS, CANARIES, ROOT, stack_configuration
from tests.unit.recording_engine import Engine, configure

PLAIN = {"host": {"kind": "local"}}


def fault(
    engine: Engine, plain: dict[str, Any] | None = None, secrets: dict[str, str] | None = None
) -> list[str]:
    """The sentences with which a configuration is refused."""
    configure({**PLAIN, **(plain or {})}, CANARIES if secrets is None else secrets)
    error = engine.run(config.load).error
    # A RunError is shown to the operator as it is, any other with a trace.
    assert isinstance(error, pulumi.RunError), error
    return str(error).splitlines()


@pytest.mark.parametrize("stack", ["local", "prod"])
def test_the_stacks_files_are_accepted(engine: Engine, stack: str) -> None:
    configure(stack_configuration(stack), CANARIES)
    assert engine.run(config.load).error is None


def test_secrets_stay_secret(engine: Engine) -> None:
    configure(
        {**PLAIN, "applications": APPLICATIONS}, {**CANARIES, APPLICATION_PASSWORDS: APPLICATION_CANARIES}
    )
    found: dict[str, tuple[str, bool]] = {}

    async def look(name: str, output: pulumi.Output[str]) -> None:
        found[name] = (await output.future() or "", await output.is_secret())

    def program() -> pulumi.Output[Any]:
        _, _, secrets = config.load()
        *own, _, _ = secrets.__dataclass_fields__
        every = {key: getattr(secrets, name) for key, name in zip(SECRET_KEYS, own, strict=True)}
        every |= secrets.optional
        for application, passwords in secrets.applications.items():
            for store in passwords.__dataclass_fields__:
                if output := getattr(passwords, store):
                    every[f"{application}.{store}"] = output
        return pulumi.Output.all(*(pulumi.Output.from_input(look(*each)) for each in every.items()))

    assert engine.run(program).error is None
    passwords = {
        f"{application}.{store}": password
        for application, stores in APPLICATION_CANARIES.items()
        for store, password in stores.items()
    }
    assert found == {key: (value, True) for key, value in {**CANARIES, **passwords}.items()}


# --- secrets ---


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_missing_secret_is_named_with_the_command_that_sets_it(engine: Engine, key: str) -> None:
    rest = {k: v for k, v in CANARIES.items() if k != key}
    assert fault(engine, secrets=rest) == [
        f"central-data-platform:{key} is missing; set it with: pulumi config set --secret {key}"
    ]


def test_all_missing_secrets_are_named_at_once(engine: Engine) -> None:
    assert [line.partition(" ")[0] for line in fault(engine, secrets={})] == [
        f"central-data-platform:{key}" for key in SECRET_KEYS
    ]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_secret_stored_in_plain_is_refused(engine: Engine, key: str) -> None:
    rest = {k: v for k, v in CANARIES.items() if k != key}
    (sentence,) = fault(engine, plain={key: "hunter2"}, secrets=rest)
    assert sentence == (
        f"central-data-platform:{key} is not encrypted; set it again with: pulumi config set --secret {key}"
    )


@pytest.mark.parametrize("key", SECRET_KEYS)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty"),
        ("hunter\n2", "holds a control character or one beyond ASCII"),
        ("hünter2", "holds a control character or one beyond ASCII"),
        (
            "hunter'`2",
            "holds a backtick together with a single quote or a final backslash, which compose and sh read differently",
        ),
    ],
)
def test_a_secret_that_cannot_be_written_is_refused_by_name(
    engine: Engine, key: str, value: str, reason: str
) -> None:
    (sentence,) = fault(engine, secrets={**CANARIES, key: value})
    assert sentence == f"central-data-platform:{key} {reason}; choose a value of [A-Za-z0-9_-]"
    assert not value or value not in sentence


# --- passwords of applications ---

TODAY = date(2026, 11, 24)
WAIVED = {
    "address": "172.28.0.200",
    "passwordWaiver": {"reason": "uses its password as its port", "until": "2027-06-30"},
}
# No weak one, and one word that is found nowhere else.
STRONG = "canary-strong-1234567890"


def password_fault(
    engine: Engine, applications: Mapping[str, Any], passwords: Any, today: date = TODAY
) -> list[str]:
    """The sentences with which applications' passwords are refused, none of which shows one."""
    secrets = {**CANARIES, APPLICATION_PASSWORDS: passwords}
    configure({**PLAIN, "applications": applications}, secrets)
    error = engine.run(lambda: config.load(today)).error
    if error is None:
        return []
    assert isinstance(error, pulumi.RunError), error
    assert not [word for word in ("canary", "hunter2") if word in str(error)]
    return str(error).splitlines()


def test_strong_passwords_of_all_applications_are_accepted(engine: Engine) -> None:
    applications = {"librarian": {"redis": True}, "trading-app": {}}
    passwords = {"librarian": {"database": STRONG, "redis": STRONG}, "trading-app": {"database": STRONG}}
    assert password_fault(engine, applications, passwords) == []


LIBRARIAN = "central-data-platform:applicationPasswords.librarian"
SET = "pulumi config set --secret --path 'applicationPasswords.librarian"
CHOOSE = "choose a stronger one, such as 32 random characters of [A-Za-z0-9_-], and set it with: "


@pytest.mark.parametrize("store", ["database", "redis"])
@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        (None, "is missing; set it with: "),
        (12345678901234567890, "is no text, which a password has to be; set it again with: "),
        ({"secure": STRONG}, "is no text, which a password has to be; set it again with: "),
        ([STRONG], "is no text, which a password has to be; set it again with: "),
        ("", "is empty; choose one of [A-Za-z0-9_-] and set it with: "),
        (
            "hunter2\nhunter2-hunter2",
            "holds a control character or one beyond ASCII; choose one of [A-Za-z0-9_-] and set it with: ",
        ),
        (
            "hünter2",
            "holds a control character or one beyond ASCII; choose one of [A-Za-z0-9_-] and set it with: ",
        ),
        (
            "canary'`",
            "holds a backtick together with a single quote or a final backslash, which compose and sh read differently; "
            "choose one of [A-Za-z0-9_-] and set it with: ",
        ),
        (
            "SCRAM-SHA-256$4096:canary",
            "looks like the hash of a password, which PgBouncer would take for one; choose one of [A-Za-z0-9_-] and set it with: ",
        ),
        ("canary-15-chars", f"has fewer than 16 characters; {CHOOSE}"),
        ("canarycanarycanary", f"has fewer than 8 different characters; {CHOOSE}"),
        ("canary-12-Librarian-3", f"holds the name of its user or application; {CHOOSE}"),
    ],
)
def test_a_password_that_cannot_be_used_is_named_with_the_command_that_sets_it(
    engine: Engine, store: str, password: Any, sentence: str
) -> None:
    passwords = {"database": STRONG, "redis": STRONG, store: password}
    passwords = {name: value for name, value in passwords.items() if value is not None}
    assert password_fault(engine, {"librarian": {"redis": True}}, {"librarian": passwords}) == [
        f"{LIBRARIAN}.{store} {sentence}{SET}.{store}'"
    ]


def test_the_name_of_the_login_does_not_belong_into_its_password(engine: Engine) -> None:
    applications = {"librarian": {"user": "shelf", "redis": True}}
    mine = {"database": "canary-the-SHELF-123", "redis": "canary-the-SHELF-123"}
    # Redis' user is called like the application.
    assert [
        line.partition("; ")[0] for line in password_fault(engine, applications, {"librarian": mine})
    ] == [f"{LIBRARIAN}.database holds the name of its user or application"]


@pytest.mark.parametrize("passwords", [{}, {"librarian": {}}, {"librarian": {"redis": STRONG}}])
def test_no_password_at_all_is_a_missing_one(engine: Engine, passwords: Mapping[str, Any]) -> None:
    assert password_fault(engine, {"librarian": {}}, passwords) == [
        f"{LIBRARIAN}.database is missing; set it with: {SET}.database'"
    ]


def test_without_the_object_every_password_is_named_at_once(engine: Engine) -> None:
    applications = {"trading-app": {"redis": True}, "librarian": {}}
    assert fault(engine, {"applications": applications}) == [
        f"{LIBRARIAN}.database is missing; set it with: {SET}.database'",
        *(
            f"central-data-platform:applicationPasswords.trading-app.{store} is missing; set it with: "
            f"pulumi config set --secret --path 'applicationPasswords[\"trading-app\"].{store}'"
            for store in ("database", "redis")
        ),
    ]


def test_an_application_has_no_redis_password_without_redis(engine: Engine) -> None:
    """Nothing would hold it, and nobody would know."""
    passwords = {"librarian": {"database": STRONG}}
    assert password_fault(engine, {"librarian": {}}, passwords) == []
    (_, _, secrets) = loaded(engine)
    assert secrets.applications["librarian"].redis is None


def loaded(engine: Engine) -> tuple[Settings, ImageCatalogue, config.Secrets]:
    found: list[tuple[Settings, ImageCatalogue, config.Secrets]] = []
    assert engine.run(lambda: found.append(config.load(TODAY))).error is None
    return found[0]


def test_passwords_in_the_clear_are_refused(engine: Engine) -> None:
    plain = {"applications": {"librarian": {}}, APPLICATION_PASSWORDS: {"librarian": {"database": STRONG}}}
    (sentence,) = fault(engine, plain)
    assert sentence == (
        "central-data-platform:applicationPasswords is not encrypted; take it out of the stack's file and set each password with: "
        "pulumi config set --secret --path 'applicationPasswords.APPLICATION.database'"
    )


def test_an_application_whose_passwords_are_one_value_is_named(engine: Engine) -> None:
    assert password_fault(engine, {"librarian": {}}, {"librarian": STRONG}) == [
        f"{LIBRARIAN} is one value; remove it and set one for each store: {SET}.database'"
    ]


@pytest.mark.parametrize("passwords", [[STRONG], f'"{STRONG}"', "17"])
def test_passwords_that_are_no_object_are_named(engine: Engine, passwords: Any) -> None:
    assert password_fault(engine, {"librarian": {}}, passwords) == [
        "central-data-platform:applicationPasswords is no object; set each password with: "
        "pulumi config set --secret --path 'applicationPasswords.APPLICATION.database'"
    ]


def test_passwords_that_are_no_json_are_named_and_not_shown(engine: Engine) -> None:
    """What `pulumi config set --secret applicationPasswords` makes, without --path."""
    (sentence,) = password_fault(engine, {"librarian": {}}, STRONG)
    assert sentence.startswith("central-data-platform:applicationPasswords ")
    assert "pulumi config set --secret --path 'applicationPasswords." in sentence


def said_by(engine: Engine, monkeypatch: pytest.MonkeyPatch, level: str) -> list[str]:
    """What the program has logged on a level while it read a configuration that it takes."""
    found: list[str] = []
    monkeypatch.setattr(pulumi.log, level, found.append)
    loaded(engine)
    return found


def test_a_password_that_no_application_needs_is_mentioned(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = {name: {"database": STRONG} for name in ("librarian", "old-app", "old")}
    configure({**PLAIN, "applications": {"librarian": {}}}, {**CANARIES, APPLICATION_PASSWORDS: passwords})
    assert said_by(engine, monkeypatch, "info") == [
        "central-data-platform:applicationPasswords has old, which is not in applications; "
        "remove it with: pulumi config rm --path 'applicationPasswords.old'",
        "central-data-platform:applicationPasswords has old-app, which is not in applications; "
        "remove it with: pulumi config rm --path 'applicationPasswords[\"old-app\"]'",
    ]


# --- waivers ---

WEAK = {"trading-app": {"database": "6432"}}


def test_a_waiver_lets_a_weak_database_password_pass_with_a_warning(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure({**PLAIN, "applications": {"trading-app": WAIVED}}, {**CANARIES, APPLICATION_PASSWORDS: WEAK})
    assert said_by(engine, monkeypatch, "warn") == [
        "application trading-app may have a weak database password until 2027-06-30: uses its password as its port"
    ]


@pytest.mark.parametrize(
    ("password", "reason"),
    [("", "is empty"), ("6432\n", "holds a control character or one beyond ASCII")],
)
def test_a_waiver_does_not_let_pass_what_cannot_be_written(
    engine: Engine, password: str, reason: str
) -> None:
    (sentence,) = password_fault(engine, {"trading-app": WAIVED}, {"trading-app": {"database": password}})
    assert sentence.startswith(f"central-data-platform:applicationPasswords.trading-app.database {reason}; ")


def test_a_waiver_is_for_the_database_alone(engine: Engine) -> None:
    weak = {"trading-app": {"database": "6432", "redis": "6432"}}
    (sentence,) = password_fault(engine, {"trading-app": {**WAIVED, "redis": True}}, weak)
    assert sentence.startswith(
        "central-data-platform:applicationPasswords.trading-app.redis has fewer than 16 characters; "
    )


def test_a_waiver_holds_on_its_last_day_and_no_longer(engine: Engine) -> None:
    assert password_fault(engine, {"trading-app": WAIVED}, WEAK, date(2027, 6, 30)) == []


def test_after_its_last_day_a_waiver_holds_no_longer(engine: Engine) -> None:
    assert password_fault(engine, {"trading-app": WAIVED}, WEAK, date(2027, 7, 1)) == [
        "central-data-platform:applications.trading-app.passwordWaiver ended on 2027-06-30; take it away and set a strong password, "
        "or agree on a later date and write it"
    ]


def test_a_waiver_for_more_than_a_year_is_refused(engine: Engine) -> None:
    assert password_fault(engine, {"trading-app": WAIVED}, WEAK, date(2026, 6, 28)) == [
        "central-data-platform:applications.trading-app.passwordWaiver ends on 2027-06-30, more than a year from now; "
        "write an earlier date"
    ]


def test_today_is_looked_at_unless_a_day_is_given(engine: Engine) -> None:
    ended = {**WAIVED["passwordWaiver"], "until": "2020-01-01"}
    applications = {"trading-app": {**WAIVED, "passwordWaiver": ended}}
    configure({**PLAIN, "applications": applications}, {**CANARIES, APPLICATION_PASSWORDS: WEAK})
    assert "ended on 2020-01-01" in str(engine.run(config.load).error)


# --- plain settings ---


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ({"postgre": {}}, "central-data-platform:postgre is not a setting; did you mean postgres?"),
        (
            {"redisAdminPasword": "x"},
            "central-data-platform:redisAdminPasword is not a setting; did you mean redisAdminPassword?",
        ),
        (
            {"postgres": "{port: 5432"},
            "central-data-platform:postgres is '{port: 5432'; write an object, such as {port: 5432}",
        ),
        (
            {"postgres": "5433"},
            "central-data-platform:postgres is 5433; write an object, such as {name: value}",
        ),
        ({"host": "local"}, "central-data-platform:host is 'local'; write an object, such as {port: 5432}"),
        (
            {"postgres": {"prot": 1}},
            "central-data-platform:postgres.prot is not a setting; did you mean port?",
        ),
        ({"srvRoot": ""}, "central-data-platform:srvRoot: write an absolute path below /, such as /srv"),
    ],
)
def test_a_fault_is_one_sentence_that_names_the_key(
    engine: Engine, plain: dict[str, Any], sentence: str
) -> None:
    (said,) = fault(engine, plain)
    assert said.startswith(sentence)


def test_a_key_of_another_project_is_none_of_ours(engine: Engine) -> None:
    configure(PLAIN, CANARIES)
    pulumi.runtime.set_all_config(
        {**pulumi.runtime.config.CONFIG.get(), "docker:host": "unix:///x"},
        [f"{PROJECT}:{key}" for key in CANARIES],
    )
    assert engine.run(config.load).error is None


# --- the catalogue of images ---


def test_a_missing_catalogue_is_named(engine: Engine) -> None:
    assert fault(engine, {"imageCatalogue": "missing.json"}) == [
        "central-data-platform:imageCatalogue is 'missing.json', which cannot be read (No such file or directory)"
    ]


def test_a_folder_is_no_catalogue(engine: Engine) -> None:
    assert fault(engine, {"imageCatalogue": "components"}) == [
        "central-data-platform:imageCatalogue is 'components', which cannot be read (Is a directory)"
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_catalogue_that_is_not_json_is_named(engine: Engine, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images.json"
    path.write_bytes(content)
    (sentence,) = fault(engine, {"imageCatalogue": str(path)})
    assert sentence.startswith(f"central-data-platform:imageCatalogue is {str(path)!r}, which is not JSON (")


def _shortened(images: Any) -> None:
    images["redis"]["manifests"]["amd64"] = "sha256:123"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            _shortened,
            "redis.manifests.amd64 is 'sha256:123'; it should match pattern '^sha256:[0-9a-f]{64}$'",
        ),
        (lambda images: images.pop("redis"), "redis is missing and has no default; write it"),
    ],
)
def test_a_fault_of_the_catalogue_names_its_place(
    engine: Engine, tmp_path: Path, change: Callable[[Any], object], sentence: str
) -> None:
    images = json.loads((ROOT / "images.json").read_text(encoding="utf-8"))
    change(images)
    path = tmp_path / "images.json"
    path.write_text(json.dumps(images), encoding="utf-8")
    assert fault(engine, {"imageCatalogue": str(path)}) == [f"{path}: {sentence}"]


def test_the_pinned_images_are_built_for_both_architectures() -> None:
    raw = json.loads((ROOT / "images.json").read_text(encoding="utf-8"))
    catalogue = parse(ImageCatalogue, raw, where="images.json: ")
    for name in PLATFORM_IMAGES:
        assert set(getattr(catalogue, name).manifests) == {"amd64", "arm64"}, name


# --- Pulumi.yaml ---


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, Any]]:
    """The configuration that Pulumi.yaml declares."""
    return yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]


def test_pulumi_yaml_declares_every_key_and_no_other(declared: dict[str, dict[str, Any]]) -> None:
    plain = {to_camel(name) for name in Settings.model_fields}
    assert set(declared) == plain | {*SECRET_KEYS, *OPTIONAL_SECRET_KEYS, APPLICATION_PASSWORDS}
    assert all(key["type"] and key["description"].endswith((".", "}", "MiB.")) for key in declared.values())


def test_pulumi_yaml_flags_the_secrets(declared: dict[str, dict[str, Any]]) -> None:
    assert {name for name, key in declared.items() if key.get("secret")} == set(SECRET_KEYS)


def test_pulumi_yaml_has_the_same_defaults(engine: Engine, declared: dict[str, dict[str, Any]]) -> None:
    defaults = {name: key["default"] for name, key in declared.items() if "default" in key}
    # No settings, and without applications, off-site copies and alerts nothing.
    assert defaults.pop(APPLICATION_PASSWORDS) == {}
    assert {defaults.pop(key) for key in OPTIONAL_SECRET_KEYS} == {""}
    without = parse(Settings, PLAIN, where="")
    assert parse(Settings, {**defaults, **PLAIN}, where="") == without
    configure({**defaults, APPLICATION_PASSWORDS: {}, **PLAIN}, CANARIES)
    loaded: list[Settings] = []
    assert engine.run(lambda: loaded.append(config.load()[0])).error is None
    assert loaded == [without]
