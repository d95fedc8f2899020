"""make init-prod: what it asks, refuses, proposes and writes; a file keeps its comments, and an end in the middle changes nothing."""

import io
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.workstation import backend, init_prod, prepare, secret_values, yaml_edit
from scripts.workstation.answers import FromFile, Typed, settled
from scripts.workstation.config_file import ConfigFile
from scripts.workstation.draft import Draft
from scripts.workstation.questions import QUESTIONS, Question
from scripts.workstation.session import Session
from scripts.workstation.trouble import Trouble

HOST = ("config", "central-data-platform:host")
KEY = "ssh-ed25519 " + "A" * 43 + "CxYz0123456789abcdefghijk"
COMMITTED = """\
# The OCI machine.
config:
  central-data-platform:host:
    kind: oci
    region: eu-frankfurt-1
    tenancy: ocid1.tenancy.oc1..replace-me
    # Within Always Free.
    ocpus: 2
    sshCidrs: [192.0.2.1/32]
    sshPublicKey: ssh-ed25519 AAAAreplace/me/replace/me/replace/me/replace/me/replace/me/replace/me
  central-data-platform:srvRoot: /srv
  # Nobody yet.
  central-data-platform:network: {clientCidrs: []}
"""


# Editing YAML as text


@pytest.mark.parametrize(
    ("text", "path", "value", "after"),
    [
        ("a: 1 # one\nb: 2\n", ["a"], 3, "a: 3 # one\nb: 2\n"),
        ("a:\n  b: 1\n  # end\nc: 2\n", ["a", "d"], "x", "a:\n  b: 1\n  d: x\n  # end\nc: 2\n"),
        ("a: {b: 1} # flow\n", ["a", "c"], [1], "a: {b: 1, c: [1]} # flow\n"),
        ("a:\n  - 1 # one\n  - 2\n# after\nb: 1\n", ["a"], [3], "a: [3]\n# after\nb: 1\n"),
        ("a:\n", ["a", "b"], True, "a: {b: true}\n"),
        ("", ["a", "b"], 1, "a:\n  b: 1\n"),
        ("a: 1", ["b"], 2, "a: 1\nb: 2\n"),
        ("a: 1\nb: 2\n", ["a"], "x: y # z", "a: 'x: y # z'\nb: 2\n"),
    ],
)
def test_a_value_is_set_and_all_else_stays(text: str, path: list[str], value: Any, after: str) -> None:
    edited = yaml_edit.set_value(text, path, value)
    assert edited == after
    found = yaml.safe_load(edited)
    for key in path:
        found = found[key]
    assert found == value
    assert yaml_edit.set_value(edited, path, value) == edited


@pytest.mark.parametrize(
    ("text", "path", "after"),
    [
        ("a: 1\n# two\nb: 2\n", ["a"], "# two\nb: 2\n"),
        ("a:\n  b: 1\n  c:\n    - 1\n    - 2\nd: 3\n", ["a", "c"], "a:\n  b: 1\nd: 3\n"),
        ("a: {b: 1, c: 2}\n", ["a", "b"], "a: {c: 2}\n"),
        ("a:\n  b: 1\nc: 2\n", ["a", "b"], "a: {}\nc: 2\n"),
        ("a: 1\n", ["b"], "a: 1\n"),
        ("a: 1\n", ["a", "b"], "a: 1\n"),
    ],
)
def test_a_key_is_removed_and_all_else_stays(text: str, path: list[str], after: str) -> None:
    assert yaml_edit.remove(text, path) == after


# Questions and rules


class Script:
    """Answers by name, several in a row for one that is asked again; the proposal for the rest."""

    def __init__(self, answers: Mapping[str, Any], *, patient: bool = False) -> None:
        self.patient = patient
        self.proposals: dict[str, str] = {}
        self._answers = {
            name: [said] if isinstance(said, str) else list(said) for name, said in answers.items()
        }

    def answer(self, question: Question, proposal: str) -> str:
        """The next one."""
        self.proposals.setdefault(question.name, proposal)
        left = self._answers.get(question.name)
        return settled(left.pop(0) if left else "", proposal)

    def secret(self, key: str) -> str | None:
        """The next one."""
        left = self._answers.get(key)
        return left.pop(0) if left else None

    def agree(self, text: str) -> bool:
        """Always."""
        return bool(text)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys and profiles of this machine's user."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("INIT_FILE", raising=False)
    return folder


@pytest.fixture
def key(home: Path) -> Path:
    path = home / "id.pub"
    path.write_text(f"{KEY} me@laptop\n")
    return path


def enough(key: Path, **more: Any) -> dict[str, Any]:
    return {
        "region": "eu-zurich-1",
        "tenancy": "ocid1.tenancy.oc1..aaaa",
        "compartment": "ocid1.compartment.oc1..bbbb",
        "sshCidrs": "203.0.113.9",
        "sshPublicKeyFile": str(key),
        **more,
    }


def asked(answers: Script, settings: Mapping[str, Any] | None = None) -> Draft:
    draft = Draft({} if settings is None else settings)
    init_prod.ask(draft, answers)
    return draft


def test_few_answers_make_settings_that_the_program_takes(key: Path) -> None:
    draft = asked(Script(enough(key)))
    host = draft.settings["host"]
    assert draft.faults() == []
    assert host["sshPublicKey"] == KEY
    assert (host["shape"], host["ocpus"], host["memoryGib"]) == ("VM.Standard.A1.Flex", 2, 12)
    assert "sshOpenToAll" not in host
    assert "sshKeyFile" not in host


@pytest.mark.parametrize(
    ("name", "said", "sentence"),
    [
        ("region", "Frankfurt", "host.region is 'Frankfurt'"),
        ("tenancy", "ocid1.compartment.oc1..x", "host.tenancy"),
        ("compartment", "mine", "host.compartment"),
        ("availabilityDomain", "4", "less than or equal to 3"),
        ("availabilityDomain", "one", "write a whole number"),
        ("shape", "VM.Standard.E4.Flex", "not an Ampere"),
        ("memoryGib", "1000", "host.memoryGib"),
        ("memoryGib", "200", "does not fit ocpus 2"),
        ("dataVolumeGib", "10", "host.dataVolumeGib"),
        ("sshCidrs", "203.0.113.9/24", "sshCidrs"),
        ("sshCidrs", "0.0.0.0/0", "write it out: 0.0.0.0/0 open to all"),
        ("sshCidrs", "192.0.2.1/32 0.0.0.0/0", "write it out"),
        ("sshPublicKeyFile", "/nonexistent.pub", "cannot be read"),
        ("sshKeyFile", "/nonexistent", "cannot be read"),
        ("publicAddress", "perhaps", "write yes or no"),
        ("jumpHost", "nobody", "host.jumpHost"),
        ("clientCidrs", "192.168.1.0/24", "not in the VCN"),
    ],
)
def test_a_wrong_answer_is_refused_at_its_question(key: Path, name: str, said: str, sentence: str) -> None:
    with pytest.raises(Trouble, match=f"^{name}: ") as refused:
        asked(Script(enough(key) | {name: said}))
    assert sentence in str(refused.value)
    assert "nothing was written" in str(refused.value)


def test_on_a_terminal_the_question_is_asked_again(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = Script(enough(key, ocpus=["many", "4"], memoryGib=["300", "24"]), patient=True)
    draft = asked(answers)
    assert (draft.value(("host", "ocpus")), draft.value(("host", "memoryGib"))) == (4, 24)
    said = capsys.readouterr().out
    assert "write a whole number" in said
    assert "does not fit ocpus 4" in said


def test_more_cores_wait_for_their_memory(key: Path) -> None:
    """16 cores and the proposed 12 GiB do not fit; the question about memory comes after."""
    draft = asked(Script(enough(key, ocpus="16", memoryGib="32")))
    assert draft.faults() == []


def test_no_public_address_needs_a_jump_host(key: Path) -> None:
    with pytest.raises(Trouble, match=r"^jumpHost: .*no jumpHost"):
        asked(Script(enough(key, publicAddress="no")))
    draft = asked(Script(enough(key, publicAddress="no", jumpHost="me@bastion")))
    assert draft.value(("host", "jumpHost")) == "me@bastion"


def test_open_to_all_is_written_out_and_taken_back(key: Path) -> None:
    draft = asked(Script(enough(key, sshCidrs="0.0.0.0/0 open to all")))
    assert draft.settings["host"]["sshOpenToAll"] is True
    answers = Script({"sshPublicKeyFile": "keep"})
    again = asked(answers, draft.settings)
    assert answers.proposals["sshCidrs"] == "0.0.0.0/0 open to all"
    assert again.settings == draft.settings
    closed = asked(Script({"sshPublicKeyFile": "keep", "sshCidrs": "203.0.113.9/32"}), draft.settings)
    assert "sshOpenToAll" not in closed.settings["host"]


def test_nothing_open_is_proposed(key: Path) -> None:
    answers = Script(enough(key))
    committed = yaml.safe_load(COMMITTED)["config"]
    asked(answers, {name.partition(":")[2]: value for name, value in committed.items()})
    assert answers.proposals["sshCidrs"] == ""
    assert answers.proposals["clientCidrs"] == ""


def test_a_private_key_is_never_taken_for_a_public_one(home: Path, key: Path) -> None:
    private = home / "id"
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n")
    private.chmod(0o644)
    with pytest.raises(Trouble, match="is a private key, which must not leave this machine"):
        asked(Script(enough(key, sshPublicKeyFile=str(private))))
    with pytest.raises(Trouble, match="chmod 600"):
        asked(Script(enough(key, sshKeyFile=str(private))))
    with pytest.raises(Trouble, match="is no private key"):
        asked(Script(enough(key, sshKeyFile=str(key))))
    private.chmod(0o600)
    draft = asked(Script(enough(key, sshKeyFile="~/id")))
    assert draft.value(("host", "sshKeyFile")) == str(private)


def test_oci_s_own_configuration_proposes(home: Path, key: Path) -> None:
    (home / ".oci").mkdir()
    (home / ".oci/config").write_text(
        "[DEFAULT]\nregion=eu-zurich-1\ntenancy=ocid1.tenancy.oc1..one\nkey_file=/secret\n"
        "[work]\nregion=us-ashburn-1\ntenancy=ocid1.tenancy.oc1..two\n"
    )
    answers = Script(enough(key) | {"region": "", "tenancy": "", "profile": "work"})
    draft = asked(answers)
    assert draft.value(("host", "profile")) == "work"
    assert answers.proposals["region"] == "us-ashburn-1"
    assert draft.value(("host", "tenancy")) == "ocid1.tenancy.oc1..two"
    with pytest.raises(Trouble, match="has no profile other; write one of DEFAULT, work"):
        asked(Script(enough(key, profile="other")))
    # The committed file's region is only an example until somebody has said a tenancy.
    fresh = Script(enough(key, region=""))
    asked(fresh, {"host": {"kind": "oci", "region": "eu-frankfurt-1"}})
    assert fresh.proposals["region"] == "eu-zurich-1"


# Where answers come from


def test_lines_on_standard_input_that_end_too_early(
    key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\neu-zurich-1\n"))
    with pytest.raises(Trouble, match="the answers end before homeRegion; nothing was written"):
        init_prod.ask(Draft({}), Typed())
    assert "Always Free" in capsys.readouterr().out
    assert key.exists()


def test_a_file_of_answers(tmp_path: Path, key: Path) -> None:
    path = tmp_path / "answers.yaml"
    said = enough(
        key, sshCidrs=["203.0.113.9/32", "198.18.0.0/24"], publicAddress=True, ocpus=4, memoryGib=24
    )
    path.write_text(yaml.safe_dump(said))
    draft = Draft({})
    init_prod.ask(draft, FromFile(path, QUESTIONS))
    assert draft.value(("host", "sshCidrs")) == ["203.0.113.9/32", "198.18.0.0/24"]
    assert draft.value(("host", "publicAddress")) is True
    path.write_text("postgresPassword: hunter2\n")
    with pytest.raises(Trouble, match="answers postgresPassword, which is not asked") as refused:
        FromFile(path, QUESTIONS)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(Trouble, match="is no file"):
        FromFile(tmp_path / "none.yaml", QUESTIONS)


# The whole command


class FakePulumi:
    """A pulumi that knows one file backend, and encrypts by marking."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "pulumi"
        self.program.write_text(
            f"""#!{sys.executable}
import os, sys
words, folder = sys.argv[1:], {str(folder)!r}
with open(f"{{folder}}/calls", "a") as calls:
    calls.write(" ".join(words) + "\\n")
made = f"{{folder}}/made"
if words[0] == "whoami":
    print('{{"user": "me", "url": "file:///backend"}}')
elif words[:2] == ["stack", "output"] and not os.path.exists(made):
    sys.exit("error: no stack named 'prod' found")
elif words[:2] == ["stack", "output"]:
    print("{{}}")
elif words[:2] == ["stack", "init"]:
    open(made, "w").close()
elif words[:2] == ["config", "set"]:
    if os.path.exists(f"{{folder}}/refuse"):
        sys.exit("error: incorrect passphrase")
    value = sys.stdin.read()
    with open(words[words.index("--config-file") + 1], "a") as file:
        file.write(f"  {{words[3]}}: {{{{secure: v1:{{len(value)}}}}}}\\n")
"""
        )
        self.program.chmod(0o755)

    def calls(self) -> str:
        path = self.folder / "calls"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    made = FakePulumi(tmp_path)
    session = Session(stack="prod", environment=dict(os.environ), executable=str(made.program))
    config = ConfigFile(path=tmp_path / "Pulumi.prod.yaml")
    monkeypatch.setattr(prepare, "session", lambda _: session)
    monkeypatch.setattr(init_prod, "of_stack", lambda _: config)
    monkeypatch.setattr("scripts.workstation.shell.LOGS", tmp_path / "logs")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/passphrase")
    monkeypatch.setenv("STACK", "local")
    return made


def run(answers: Mapping[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    path = folder / "answers.yaml"
    path.write_text(yaml.safe_dump(dict(answers)))
    monkeypatch.setenv("INIT_FILE", str(path))
    return init_prod.main()


def test_the_first_run_writes_settings_stack_and_secrets(
    pulumi: FakePulumi, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pulumi.folder / "Pulumi.prod.yaml"
    path.write_text(COMMITTED)
    assert run(enough(key, clientCidrs=["10.20.2.0/24"]), pulumi.folder, monkeypatch) == 0
    text = path.read_text()
    for comment in ("# The OCI machine.", "# Within Always Free.", "# Nobody yet."):
        assert comment in text
    assert "replace" not in text
    config = ConfigFile(path=path)
    assert config.settings()["network"] == {"clientCidrs": ["10.20.2.0/24"]}
    assert all(config.has_secret(secret) for secret in secret_values.LENGTHS)
    assert "stack init prod --no-select --non-interactive" in pulumi.calls()
    assert "make preview STACK=prod" in capsys.readouterr().out
    # Nothing of what pulumi was told on its command line is a secret, and nothing was brought up.
    assert all(len(word) < 100 for word in pulumi.calls().split())
    assert " up " not in pulumi.calls()


def test_a_second_run_proposes_what_is_there_and_keeps_the_secrets(
    pulumi: FakePulumi, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pulumi.folder / "Pulumi.prod.yaml"
    run(enough(key), pulumi.folder, monkeypatch)
    before = path.read_text()
    assert run({}, pulumi.folder, monkeypatch) == 0
    assert path.read_text() == before
    assert pulumi.calls().count("config set") == len(secret_values.LENGTHS)
    assert pulumi.calls().count("stack init") == 1
    assert "its secrets were there already" in capsys.readouterr().out


def test_a_refused_answer_leaves_the_file_as_it_was(
    pulumi: FakePulumi, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pulumi.folder / "Pulumi.prod.yaml"
    path.write_text(COMMITTED)
    with pytest.raises(Trouble, match=r"^clientCidrs"):
        run(enough(key, clientCidrs="8.8.8.0/24"), pulumi.folder, monkeypatch)
    assert path.read_text() == COMMITTED
    assert "stack init" not in pulumi.calls()


def test_a_run_that_ends_before_the_secrets_is_completed_by_the_next(
    pulumi: FakePulumi, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pulumi.folder / "refuse").touch()
    with pytest.raises(
        Trouble,
        match="the secret postgresPassword of stack prod could not be set: error: incorrect passphrase",
    ):
        run(enough(key), pulumi.folder, monkeypatch)
    config = ConfigFile(path=pulumi.folder / "Pulumi.prod.yaml")
    assert not [path for path in pulumi.folder.iterdir() if ".new" in path.name]
    assert not config.has_secret("postgresPassword")
    (pulumi.folder / "refuse").unlink()
    run({}, pulumi.folder, monkeypatch)
    assert all(config.has_secret(secret) for secret in secret_values.LENGTHS)


def test_a_machine_that_is_too_small_for_its_containers_is_refused(
    pulumi: FakePulumi, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pulumi.folder / "Pulumi.prod.yaml").write_text(
        COMMITTED + "  central-data-platform:postgres: {memory: 12288, shmSize: 1024}\n"
    )
    with pytest.raises(Trouble, match=r"^memoryGib: .*postgres\.memory"):
        run(enough(key), pulumi.folder, monkeypatch)
    assert run(enough(key, memoryGib=24), pulumi.folder, monkeypatch) == 0


def test_typed_secrets_are_checked_and_others_generated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = Script({"postgresPassword": ["it's `bad`", "good-enough"]}, patient=True)
    values = init_prod.typed_or_generated(ConfigFile(path=tmp_path / "none.yaml"), answers)
    assert values["postgresPassword"] == "good-enough"
    assert {k: len(v) for k, v in values.items() if k != "postgresPassword"} == {
        k: n for k, n in secret_values.LENGTHS.items() if k != "postgresPassword"
    }
    said = capsys.readouterr().out
    assert "postgresPassword" in said
    assert "bad" not in said


def test_a_new_file_can_be_committed_and_an_old_one_keeps_its_mode(tmp_path: Path, key: Path) -> None:
    config = ConfigFile(path=tmp_path / "Pulumi.prod.yaml")
    draft = asked(Script(enough(key)))
    init_prod.write(config, draft)
    assert stat.S_IMODE(config.path.stat().st_mode) == 0o644
    assert Draft(config.settings()).faults() == []
    config.path.chmod(0o600)
    init_prod.write(config, draft)
    assert stat.S_IMODE(config.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("document", "url", "needed"),
    [
        ({}, "file:///x", True),
        ({}, "s3://bucket", True),
        ({}, "https://api.pulumi.com/me", False),
        ({"secretsprovider": "awskms://x"}, "s3://bucket", False),
        ({"encryptionsalt": "v1"}, "https://api.pulumi.com/me", True),
    ],
)
def test_a_passphrase_is_asked_for_where_one_encrypts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: dict[str, str], url: str, needed: bool
) -> None:
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "pulumi"
    program.write_text(f'#!/bin/sh\necho \'{{"url": "{url}"}}\'\n')
    program.chmod(0o755)
    session = Session(stack="prod", environment=dict(os.environ), executable=str(program))
    if needed:
        with pytest.raises(Trouble, match="PULUMI_CONFIG_PASSPHRASE_FILE=FILE"):
            backend.require(session, document)
    else:
        assert backend.require(session, document) == url


def test_prod_sim_needs_no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "prod-sim")
    with pytest.raises(Trouble, match="make up STACK=prod-sim makes it"):
        init_prod.main()
