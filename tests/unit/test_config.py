"""Reading a stack's configuration: each fault is one sentence, and no secret is shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pydantic.alias_generators import to_camel

from components import config
from components.config import SECRET_KEYS
from components.settings import PROJECT, ImageCatalogue, Settings, parse
from tests.unit.conftest import CANARIES, ROOT, stack_configuration
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
    configure(PLAIN, CANARIES)
    found: dict[str, tuple[str, bool]] = {}

    async def look(name: str, output: pulumi.Output[str]) -> None:
        found[name] = (await output.future() or "", await output.is_secret())

    def program() -> pulumi.Output[Any]:
        _, _, secrets = config.load()
        return pulumi.Output.all(
            *(
                pulumi.Output.from_input(look(key, getattr(secrets, name)))
                for key, name in zip(SECRET_KEYS, secrets.__dataclass_fields__, strict=True)
            )
        )

    assert engine.run(program).error is None
    assert found == {key: (value, True) for key, value in CANARIES.items()}


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
        [f"{PROJECT}:{key}" for key in SECRET_KEYS],
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
    for name in ImageCatalogue.model_fields:
        assert set(getattr(catalogue, name).manifests) == {"amd64", "arm64"}, name


# --- Pulumi.yaml ---


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, Any]]:
    """The configuration that Pulumi.yaml declares."""
    return yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]


def test_pulumi_yaml_declares_every_key_and_no_other(declared: dict[str, dict[str, Any]]) -> None:
    assert set(declared) == {to_camel(name) for name in Settings.model_fields} | set(SECRET_KEYS)
    assert all(key["type"] and key["description"].endswith((".", "}", "MiB.")) for key in declared.values())


def test_pulumi_yaml_flags_the_secrets(declared: dict[str, dict[str, Any]]) -> None:
    assert {name for name, key in declared.items() if key.get("secret")} == set(SECRET_KEYS)


def test_pulumi_yaml_has_the_same_defaults(engine: Engine, declared: dict[str, dict[str, Any]]) -> None:
    defaults = {name: key["default"] for name, key in declared.items() if "default" in key}
    without = parse(Settings, PLAIN, where="")
    assert parse(Settings, {**defaults, **PLAIN}, where="") == without
    configure({**defaults, **PLAIN}, CANARIES)
    loaded: list[Settings] = []
    assert engine.run(lambda: loaded.append(config.load()[0])).error is None
    assert loaded == [without]
