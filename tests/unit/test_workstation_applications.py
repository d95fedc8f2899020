"""Applications at the workstation: their passwords generated, rotated and read back, and what is left of them deleted."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.application_settings import weakness
from scripts.workstation import (
    applications,
    drop_application,
    encryption,
    import_secrets,
    passwords,
    prepare,
    rotate,
    secret_values,
    stack_file,
)
from scripts.workstation.config_file import ConfigFile
from scripts.workstation.engine import Engine
from scripts.workstation.session import Session
from scripts.workstation.target import Here
from scripts.workstation.trouble import Trouble
from tests.unit.test_workstation_stack import own_stack

SETTINGS = """\
# Who changes what here.
config:
  central-data-platform:srvRoot: /srv
  central-data-platform:applications:
    librarian: {redis: true, pool: 20} # the catalogue
    trading-app:
      address: 172.28.0.200
      passwordWaiver: {reason: uses its password as its port, until: 2027-06-30}
"""
LIBRARIAN = ("applicationPasswords", "librarian", "database")
LIBRARIAN_REDIS = ("applicationPasswords", "librarian", "redis")
TRADING = ("applicationPasswords", "trading-app", "database")


class FakePulumi:
    """A pulumi that encrypts by turning a value round, at the path that it is told, and writes the file anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "pulumi"
        self.program.write_text(
            f"""#!{sys.executable}
import re, sys, yaml
words, folder = sys.argv[1:], {str(folder)!r}
with open(f"{{folder}}/calls", "a") as calls:
    calls.write(" ".join(words) + "\\n")
assert words[:3] == ["config", "set", "--secret"], words
project, _, key = words[3].partition(":")
path = re.findall(r'[^].["]+', key) if "--path" in words else [key]
if path[-1] == open(f"{{folder}}/refused").read():
    sys.exit("warning: a new version is there\\nerror: incorrect passphrase")
name = words[words.index("--config-file") + 1]
document = yaml.safe_load(open(name).read())
at = document["config"]
path[0] = f"{{project}}:{{path[0]}}"
for part in path[:-1]:
    at[part] = at.get(part) or {{}}
    at = at[part]
at[path[-1]] = {{"secure": sys.stdin.read()[::-1]}}
assert document.setdefault("encryptionsalt", "v1:salt") == "v1:salt"
open(name, "w").write(yaml.safe_dump(document))
"""
        )
        self.program.chmod(0o755)
        self.refuse("")

    def refuse(self, key: str) -> None:
        """Fail for secrets whose last key is this one."""
        (self.folder / "refused").write_text(key)

    @property
    def session(self) -> Session:
        return Session(stack="prod", environment=dict(os.environ), executable=str(self.program))

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def pulumi(tmp_path: Path) -> FakePulumi:
    folder = tmp_path / "bin"
    folder.mkdir()
    return FakePulumi(folder)


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    folder = tmp_path / "checkout"
    folder.mkdir()
    path = folder / "Pulumi.prod.yaml"
    path.write_text(SETTINGS)
    path.chmod(0o640)
    return ConfigFile(path=path)


@pytest.fixture
def prod(config: ConfigFile, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch) -> ConfigFile:
    """The selected stack: one of the user's own backend, with this file and this pulumi."""
    for name in ("NAME", "STORE", "CONFIRM", "FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STACK", "prod")
    monkeypatch.setattr(stack_file, "of_stack", lambda _: config)
    monkeypatch.setattr(prepare, "session", lambda _: pulumi.session)
    return config


def plain(config: ConfigFile, *path: str) -> str:
    """A secret as it was before the fake encrypted it."""
    return config.value(*path)["secure"][::-1]


def rewrite(config: ConfigFile, **changes: Any) -> None:
    """Change bare keys of a file by hand; None takes one out."""
    document = yaml.safe_load(config.path.read_text())
    for key, value in changes.items():
        document["config"][f"central-data-platform:{key}"] = value
        if value is None:
            del document["config"][f"central-data-platform:{key}"]
    config.path.write_text(yaml.safe_dump(document))


# Encrypting


def test_secrets_are_set_at_their_paths_and_comments_stay(config: ConfigFile, pulumi: FakePulumi) -> None:
    values = {
        ("postgresPassword",): "canary-one",
        LIBRARIAN: "canary-two",
        TRADING: "canary-three",
        LIBRARIAN_REDIS: "canary-four",
    }
    encryption.set_secrets(config, pulumi.session, values)
    assert {path: plain(config, *path) for path in values} == values
    # All else is as a person wrote it: pulumi would make a date and a time of `until`, in a form of its own.
    text = config.path.read_text()
    assert text.startswith(SETTINGS)
    assert text.endswith("\nencryptionsalt: v1:salt\n")
    assert config.settings().keys() == {"srvRoot", "applications"}
    assert config.path.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in config.path.parent.iterdir()] == ["Pulumi.prod.yaml"]
    # By pulumi's own paths, one call for each, and no value on a command line.
    said = "\n".join(pulumi.calls())
    assert len(pulumi.calls()) == 4
    assert "--secret central-data-platform:postgresPassword --stack" in said
    assert "--secret central-data-platform:applicationPasswords.librarian.database --path" in said
    assert '--secret central-data-platform:applicationPasswords["trading-app"].database --path' in said
    assert "canary" not in said


@pytest.mark.parametrize("refused", ["postgresPassword", "redis"])
def test_all_secrets_are_set_or_none(config: ConfigFile, pulumi: FakePulumi, refused: str) -> None:
    pulumi.refuse(refused)
    values = {("postgresPassword",): "canary-one", LIBRARIAN: "canary-two", LIBRARIAN_REDIS: "canary-three"}
    with pytest.raises(
        Trouble, match=rf"{refused} of stack prod could not be set: error: incorrect passphrase; nothing was"
    ):
        encryption.set_secrets(config, pulumi.session, values)
    assert config.path.read_text() == SETTINGS
    assert [path.name for path in config.path.parent.iterdir()] == ["Pulumi.prod.yaml"]


def test_what_is_there_already_is_set_anew(config: ConfigFile, pulumi: FakePulumi) -> None:
    for value in ("first", "second"):
        encryption.set_secrets(
            config, pulumi.session, {LIBRARIAN_REDIS: value, LIBRARIAN: value, TRADING: value}
        )
    assert {plain(config, *path) for path in (LIBRARIAN, LIBRARIAN_REDIS, TRADING)} == {"second"}


def test_passwords_are_no_settings(config: ConfigFile) -> None:
    rewrite(config, applicationPasswords={"librarian": {"database": {"secure": "v1:x"}, "redis": "plain"}})
    assert config.settings().keys() == {"srvRoot", "applications"}
    assert config.has_secret(*LIBRARIAN)
    assert not config.has_secret(*LIBRARIAN_REDIS)
    assert not config.has_secret("applicationPasswords")
    assert config.value(*TRADING) is None
    assert not config.has_secret("srvRoot", "x")


def test_a_value_is_taken_out_and_comments_stay(config: ConfigFile) -> None:
    config.remove("applications", "trading-app")
    assert config.path.read_text() == "\n".join(SETTINGS.splitlines()[:5]).replace(
        "    librarian: {redis: true, pool: 20} # the catalogue",
        "    librarian: {redis: true, pool: 20} # the catalogue\n",
    )
    assert config.path.stat().st_mode & 0o777 == 0o640


# What is missing


def test_an_account_for_each_store_that_an_application_has(config: ConfigFile) -> None:
    rewrite(
        config,
        applications={
            "a": {"redis": {"allow": ["scan"]}},
            "b": {"redis": False},
            "c": {},
            # What the program refuses by a sentence of its own gets no password.
            "Not-A-Name": {"redis": True},
            "d": {"pol": 20},
            "e": None,
        },
        applicationPasswords={"a": {"database": {"secure": "v1:x"}}, "c": {"database": None}},
    )
    found = [(application.name, store) for application, store in applications.missing(config)]
    assert found == [("a", "redis"), ("b", "database"), ("c", "database")]


def test_a_password_in_the_clear_is_left_to_the_program_s_refusal(config: ConfigFile) -> None:
    rewrite(config, applicationPasswords={"librarian": {"database": "typed-by-hand"}})
    missing = [(application.name, store) for application, store in applications.missing(config)]
    assert missing == [("librarian", "redis"), ("trading-app", "database")]


@pytest.mark.parametrize("said", [None, [], "librarian"])
def test_settings_without_applications_miss_nothing(config: ConfigFile, said: Any) -> None:
    rewrite(config, applications=said)
    assert applications.missing(config) == []
    assert applications.missing(ConfigFile(path=config.path.with_name("none.yaml"))) == []


def test_passwords_that_are_one_secret_are_refused(config: ConfigFile) -> None:
    rewrite(config, applicationPasswords={"secure": "v1:x"})
    with pytest.raises(Trouble, match=r"is encrypted as a whole; remove it"):
        applications.missing(config)


def test_a_generated_password_is_one_that_the_program_accepts(config: ConfigFile) -> None:
    rewrite(config, applications={"a": {"user": "z"}})
    (application,) = applications.named_in(config)
    for _ in range(20):
        password = applications.strong_password(application)
        assert not {"a", "A", "z", "Z"} & set(password)
        assert weakness(password, [application.name, application.login]) is None


def test_the_own_stack_generates_all_that_it_lacks(tmp_path: Path, pulumi: FakePulumi) -> None:
    own = own_stack(tmp_path)
    own.make_folders()
    own.config.change_settings(
        {"applications": yaml.safe_load(SETTINGS)["config"]["central-data-platform:applications"]}
    )
    made = own.generate_secrets(pulumi.session)
    assert set(made) == {(key,) for key in secret_values.LENGTHS} | {LIBRARIAN, LIBRARIAN_REDIS, TRADING}
    assert all(own.config.has_secret(*path) for path in made)
    assert own.generate_secrets(pulumi.session) == []
    own.config.change_settings({"applications": {"librarian": {"redis": True}, "new": {}}})
    assert own.generate_secrets(pulumi.session) == [("applicationPasswords", "new", "database")]


def test_secrets_are_named_for_a_person() -> None:
    said = applications.described([("saltKey",), LIBRARIAN, TRADING, LIBRARIAN_REDIS])
    assert said == "saltKey, librarian (database, redis), trading-app (database)"


# make passwords


def test_make_passwords_generates_what_is_missing_once(
    prod: ConfigFile, pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert passwords.main() == 0
    assert capsys.readouterr().out == (
        f"generated, and encrypted in {prod.path}: librarian (database, redis), trading-app (database); "
        "next: make preview STACK=prod, then make up STACK=prod\n"
    )
    kept = prod.path.read_text()
    assert len({plain(prod, *path) for path in (LIBRARIAN, LIBRARIAN_REDIS, TRADING)}) == 3
    # The platform's own are for make up, make init-prod or make import-secrets.
    assert not prod.has_secret("postgresPassword")
    assert passwords.main() == 0
    assert "nothing to do: the applications of stack prod have all" in capsys.readouterr().out
    assert prod.path.read_text() == kept
    assert len(pulumi.calls()) == 3


def test_make_passwords_without_applications(prod: ConfigFile, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(prod, applications=None)
    assert passwords.main() == 0
    assert f"({prod.path}) name no applications" in capsys.readouterr().out


@pytest.mark.parametrize("main", [passwords.main, rotate.main, import_secrets.main])
def test_a_stack_of_the_user_s_without_a_file_is_told_so(main: Any, prod: ConfigFile) -> None:
    prod.path.unlink()
    with pytest.raises(Trouble, match=r"Pulumi\.prod\.yaml is not there; .*make init-prod STACK=prod"):
        main()


def test_one_command_at_a_time_changes_an_own_stack_s_file(
    tmp_path: Path, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_stack(tmp_path)
    own.make_folders()
    monkeypatch.setattr(prepare, "own_stack", lambda: own)
    monkeypatch.setattr(prepare, "for_secrets", lambda *_: pulumi.session)
    with stack_file.for_secrets("rotate") as (found, session):
        assert (found.path, session.executable) == (own.config.path, str(pulumi.program))
        with pytest.raises(Trouble, match="make rotate"), stack_file.held("passwords"):
            pass


# make rotate


def rotated(monkeypatch: pytest.MonkeyPatch, **words: str) -> None:
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    assert rotate.main() == 0


def test_both_stores_of_an_application_are_rotated(
    prod: ConfigFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passwords.main()
    before = {path: plain(prod, *path) for path in (LIBRARIAN, LIBRARIAN_REDIS, TRADING)}
    rotated(monkeypatch, NAME="librarian")
    after = {path: plain(prod, *path) for path in before}
    assert [path for path in before if before[path] != after[path]] == [LIBRARIAN, LIBRARIAN_REDIS]
    assert capsys.readouterr().out.endswith(
        f"new, and encrypted in {prod.path}: librarian (database, redis); next: make up STACK=prod\n"
    )


def test_one_store_is_rotated(prod: ConfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords.main()
    before = {path: plain(prod, *path) for path in (LIBRARIAN, LIBRARIAN_REDIS)}
    rotated(monkeypatch, NAME="librarian", STORE="redis")
    assert plain(prod, *LIBRARIAN) == before[LIBRARIAN]
    assert plain(prod, *LIBRARIAN_REDIS) != before[LIBRARIAN_REDIS]


def test_a_secret_of_the_platform_is_rotated(
    prod: ConfigFile, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {("postgresPassword",): "old", ("redisAdminPassword",): "old"}
    encryption.set_secrets(prod, pulumi.session, old)
    rotated(monkeypatch, NAME="postgresPassword")
    assert len(plain(prod, "postgresPassword")) == secret_values.LENGTHS["postgresPassword"]
    assert plain(prod, "redisAdminPassword") == "old"


def test_a_strong_password_makes_the_waiver_superfluous(
    prod: ConfigFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rotated(monkeypatch, NAME="trading-app")
    assert f"passwordWaiver can go from applications.trading-app in {prod.path}" in capsys.readouterr().out
    assert len(plain(prod, *TRADING)) == applications.PASSWORD_LENGTH
    rotated(monkeypatch, NAME="librarian")
    assert "passwordWaiver" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            {},
            r"^NAME is missing; .*librarian, trading-app, postgresPassword, pgbouncerAuthPassword, redisAdmin",
        ),
        (
            {"NAME": "libarian"},
            r"^libarian is neither an application of .*Pulumi\.prod\.yaml .* one of: librarian,",
        ),
        ({"NAME": "saltKey"}, r"docker restart redis-cache \(docs/manual\.md\)"),
        ({"NAME": "librarian", "STORE": "disk"}, r"no password for STORE=disk; it has database and redis$"),
        ({"NAME": "trading-app", "STORE": "redis"}, r"no password for STORE=redis; it has database$"),
        ({"NAME": "postgresPassword", "STORE": "redis"}, r"^STORE is for an application's passwords"),
        # A platform whose secrets are lost has to be read back before anything of it is changed.
        ({"NAME": "postgresPassword"}, r"^postgresPassword is not set yet .* make import-secrets"),
    ],
)
def test_what_cannot_be_rotated_is_said(
    prod: ConfigFile, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, words: dict[str, str], said: str
) -> None:
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Trouble, match=said):
        rotate.main()
    assert pulumi.calls() == []
    assert prod.path.read_text() == SETTINGS


# make import-secrets

PLATFORM_ENV = """\
POSTGRES_PASSWORD='one'
PGBOUNCER_AUTH_PASSWORD='two'
REDIS_ADMIN_PASSWORD='three'
APP_LIBRARIAN_DB_PASSWORD='four'
APP_TRADING_APP_DB_PASSWORD='6432'
APP_OLD_DB_PASSWORD='five'
APP_TRADING_APP_REDIS_PASSWORD='six'
"""


def test_passwords_of_applications_are_read_back(
    prod: ConfigFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FILE", "-")
    monkeypatch.setattr(sys, "stdin", io.StringIO(PLATFORM_ENV))
    assert import_secrets.main() == 0
    assert plain(prod, "postgresPassword") == "one"
    assert plain(prod, *LIBRARIAN) == "four"
    assert plain(prod, *TRADING) == "6432"
    assert prod.has_secret("saltKey")
    assert not prod.has_secret("applicationPasswords", "old", "database")
    assert not prod.has_secret("applicationPasswords", "trading-app", "redis")
    assert capsys.readouterr().out.splitlines() == [
        "read from standard input: postgresPassword, pgbouncerAuthPassword, redisAdminPassword, librarian (database), trading-app (database)",
        f"left out, since central-data-platform:applications in {prod.path} names no application that has them: "
        "APP_OLD_DB_PASSWORD, APP_TRADING_APP_REDIS_PASSWORD; write its entry there and run make import-secrets again "
        "before make up, which takes them out of platform.env",
        "not there: librarian (redis); make passwords STACK=prod generates them",
        "the secrets of stack prod are set; next: make preview STACK=prod, then make up STACK=prod",
    ]


def test_a_file_without_the_platform_s_own_secrets_sets_nothing(
    prod: ConfigFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "platform.env").write_text("APP_LIBRARIAN_DB_PASSWORD='four'\n")
    monkeypatch.setenv("FILE", str(tmp_path / "platform.env"))
    with pytest.raises(
        Trouble, match="has no POSTGRES_PASSWORD, PGBOUNCER_AUTH_PASSWORD, REDIS_ADMIN_PASSWORD"
    ):
        import_secrets.main()
    assert prod.path.read_text() == SETTINGS


# make drop-application


class FakeHost(Here):
    """A host that runs its scripts here, as whoever we are."""

    def run_as_root(self, command: Any) -> int:
        return subprocess.run(command, check=False).returncode


@pytest.fixture
def host(prod: ConfigFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose drop-application.sh writes down its words; `prod` has a password of an application that is gone."""
    apps = tmp_path / "srv" / "apps"
    apps.mkdir(parents=True)
    script = apps / "drop-application.sh"
    script.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\nexit "$(cat {tmp_path}/code)"\n')
    script.chmod(0o755)
    (tmp_path / "code").write_text("0")
    found = FakeHost(stack="prod", srv_root=tmp_path / "srv", engine=Engine(socket="unix:///nowhere.sock"))
    monkeypatch.setattr(drop_application.target, "find", lambda: found)
    rewrite(
        prod, applicationPasswords={name: {"database": {"secure": "v1:x"}} for name in ("old", "librarian")}
    )
    monkeypatch.setenv("NAME", "old")
    monkeypatch.setenv("CONFIRM", "old")
    return tmp_path


def test_what_is_left_of_an_application_is_deleted(
    host: Path, prod: ConfigFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drop_application.main() == 0
    assert (host / "asked").read_text() == "old --yes\n"
    assert prod.value("applicationPasswords", "old") is None
    assert prod.has_secret(*LIBRARIAN)
    said = capsys.readouterr().out
    for named in (
        "the database of application old",
        "its roles",
        "(old:*)",
        "its passwords in",
        "/srv/apps/old stay",
    ):
        assert named in said
    assert said.endswith("Application old is gone from stack prod.\n")


def test_a_script_that_refuses_is_the_last_word(host: Path, prod: ConfigFile) -> None:
    (host / "code").write_text("3")
    assert drop_application.main() == 3
    assert prod.value("applicationPasswords", "old") is not None


def test_a_host_without_the_script_is_told_so(host: Path) -> None:
    (host / "srv/apps/drop-application.sh").unlink()
    with pytest.raises(Trouble, match=r"drop-application\.sh is not there, .* make up STACK=prod first"):
        drop_application.main()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"NAME": ""}, r"^NAME is missing"),
        (
            {"NAME": "librarian", "CONFIRM": "librarian"},
            r"^application librarian is in the settings; take its entry out",
        ),
        ({"NAME": "old; rm -rf /"}, r"cannot be an application's name"),
        ({"NAME": "postgres-stack"}, r"name of the platform"),
        ({"CONFIRM": "prod"}, r"that was not the application's name, old"),
        ({"CONFIRM": ""}, r"say make drop-application NAME=old STACK=prod CONFIRM=old"),
    ],
)
def test_nothing_is_deleted_without_a_name_that_is_gone_and_an_answer(
    host: Path, prod: ConfigFile, monkeypatch: pytest.MonkeyPatch, words: dict[str, str], said: str
) -> None:
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(Trouble, match=said):
        drop_application.main()
    assert not (host / "asked").exists()
    assert prod.value("applicationPasswords", "old") is not None
