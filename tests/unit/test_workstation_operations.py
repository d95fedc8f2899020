"""make down, destroy, recover-host and trust-host: what is asked, what is edited, what pulumi is told, and what is left alone."""

import io
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts.workstation import (
    ask,
    containers,
    destroy,
    down,
    placeholders,
    plugins,
    prepare,
    recover_host,
    run_pulumi,
    trust_host,
    up,
)
from scripts.workstation.choices import Choices
from scripts.workstation.config_file import ConfigFile
from scripts.workstation.engine import Engine
from scripts.workstation.paths import ROOT
from scripts.workstation.prepare import Ready
from scripts.workstation.progress import Progress
from scripts.workstation.session import POLICY_PACK, Session
from scripts.workstation.srv_root import MARKER
from scripts.workstation.stack import LOCAL, OwnStack
from scripts.workstation.trouble import Trouble
from tests.unit.test_workstation_state import (
    CONTAINER,
    HISTORY,
    INSTANCE,
    TREE,
    VOLUME,
    document,
    resource,
)

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKv0v1Q7oO1gT0b2S3yUqZ4n5w6x7y8z9A0B1C2D3E4F"


class FakePulumi:
    """A pulumi on a folder: its state and outputs are files, and each call is written down."""

    def __init__(self, folder: Path, ssh: Path) -> None:
        self.folder = folder
        self.program = folder / "pulumi"
        self.state = folder / "state.json"
        self.state.write_text(json.dumps(document()))
        self.outputs = {
            "srvRoot": "/srv",
            "sshCommand": [str(ssh), f"-oKnownHostsCommand=/bin/echo %H {HOST_KEY}", "opc@x"],
        }
        (folder / "outputs").write_text(json.dumps(self.outputs))
        self.ends("0")

    def ends(self, code: str, *, doing: str = ":", preview: str = "0") -> None:
        """How `up` and `destroy` end, and what they do before; how a preview ends."""
        self.program.write_text(
            f"""#!/bin/sh
echo "$@" >>{self.folder}/calls
case "$1 $2" in
  "stack export") cat {self.state} ;;
  "stack import") cat >{self.state} ;;
  "stack output") cat {self.folder}/outputs ;;
  "preview "*) echo "error: no such shape"; exit {preview} ;;
  "up "* | "destroy "*) {doing}; exit {code} ;;
esac
"""
        )
        self.program.chmod(0o755)

    def session(self) -> Session:
        return Session(stack="prod", environment=dict(os.environ), executable=str(self.program))

    def calls(self) -> list[str]:
        """The words, without the policy pack that goes with each."""
        path = self.folder / "calls"
        said = path.read_text() if path.exists() else ""
        return said.replace(f" --policy-pack {POLICY_PACK}", "").splitlines()

    def resources(self) -> dict[str, Mapping[str, Any]]:
        found = json.loads(self.state.read_text())["deployment"]["resources"]
        return {r["urn"]: r for r in found}


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/asked\n')
    ssh.chmod(0o755)
    made = FakePulumi(tmp_path, ssh)
    monkeypatch.setenv("STACK", "prod")
    monkeypatch.setenv("CONFIRM", "prod")
    monkeypatch.setattr(prepare, "session", lambda _own: made.session())
    monkeypatch.setattr(prepare, "users_session_for_changes", made.session)
    monkeypatch.setattr("scripts.workstation.shell.LOGS", tmp_path / "logs")
    monkeypatch.setattr(recover_host, "STATE", tmp_path / "state")
    return made


# make recover-host


def test_recover_host_forgets_the_machine_s_things_and_replaces_it(
    pulumi: FakePulumi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recover_host.main() == 0
    assert set(pulumi.resources()) & {TREE, CONTAINER} == set()
    assert pulumi.resources()[INSTANCE]["protect"] is False
    assert pulumi.resources()[VOLUME]["protect"] is True
    assert pulumi.calls()[-1] == f"up --yes --replace {INSTANCE} --stack prod"
    (copy,) = (tmp_path / "state" / "prod").iterdir()
    assert json.loads(copy.read_text()) == document()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert str(copy) in capsys.readouterr().out
    # The old machine was asked to let its data go, by the text of the script.
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("-oKnownHostsCommand")
    assert "release-data.sh" in asked
    assert "umount" in asked


def test_a_machine_that_does_not_answer_does_not_hold_it_up(
    pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(pulumi.outputs["sshCommand"][0]).write_text("#!/bin/sh\necho 'No route to host' >&2; exit 255\n")
    assert recover_host.main() == 0
    assert "No route to host); going on without" in capsys.readouterr().out


def test_oci_is_asked_before_anything_is_given_up(pulumi: FakePulumi) -> None:
    assert recover_host.main() == 0
    (asked,) = [call for call in pulumi.calls() if call.startswith("refresh ")]
    # Only the machine and its disk: a question about anything on the machine would go to the machine.
    assert f"--target {INSTANCE}" in asked
    assert CONTAINER not in asked
    order = [call.split()[0] for call in pulumi.calls() if not call.startswith("stack ")]
    assert [word for word in order if word in ("refresh", "preview", "up")] == ["refresh", "preview", "up"]


def test_a_new_machine_that_could_not_be_made_leaves_the_old_one(pulumi: FakePulumi, tmp_path: Path) -> None:
    pulumi.ends("0", preview="1")
    with pytest.raises(Trouble, match="the old one stays as it is: error: no such shape"):
        recover_host.main()
    assert json.loads(pulumi.state.read_text()) == document()
    assert not [call for call in pulumi.calls() if call.startswith("up ")]
    # Nor was the machine asked to stop anything.
    assert not (tmp_path / "asked").exists()


def test_a_fixed_host_key_is_refused(
    pulumi: FakePulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "Pulumi.prod.yaml"
    path.write_text(f"config: {{'central-data-platform:host': {{kind: oci, hostKey: {HOST_KEY}}}}}\n")
    monkeypatch.setattr(recover_host.config_file, "of_stack", lambda _name: ConfigFile(path=path))
    with pytest.raises(Trouble, match=r"host\.hostKey in Pulumi\.prod\.yaml is the key of the old machine"):
        recover_host.main()
    assert json.loads(pulumi.state.read_text()) == document()


def test_an_interrupted_recover_host_is_run_again(pulumi: FakePulumi) -> None:
    pulumi.ends("255")
    assert recover_host.main() == 255
    assert recover_host.main() == 255
    pulumi.ends("0")
    assert recover_host.main() == 0
    assert pulumi.calls()[-1].startswith(f"up --yes --replace {INSTANCE}")


def test_a_state_that_lost_the_machine_itself_gets_a_plain_up(pulumi: FakePulumi) -> None:
    before = document()
    kept = [r for r in before["deployment"]["resources"] if r["urn"] != INSTANCE]
    before["deployment"]["resources"] = [r for r in kept if INSTANCE not in json.dumps(r)]
    pulumi.state.write_text(json.dumps(before))
    assert recover_host.main() == 0
    assert pulumi.calls()[-1] == "up --yes --stack prod"


def test_nothing_is_touched_without_the_name(pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIRM", "yes")
    with pytest.raises(Trouble, match="nothing was done"):
        recover_host.main()
    assert json.loads(pulumi.state.read_text()) == document()
    assert not [call for call in pulumi.calls() if not call.startswith("stack export")]


@pytest.mark.parametrize("main", [recover_host.main, trust_host.main])
def test_a_stack_without_a_machine_in_oci_is_told_so(main: Any, pulumi: FakePulumi) -> None:
    pulumi.state.write_text(json.dumps({"deployment": {"resources": [resource(TREE)]}}))
    with pytest.raises(Trouble, match="stack prod has no machine in OCI"):
        main()


@pytest.mark.parametrize("main", [recover_host.main, trust_host.main])
def test_the_local_stack_is_told_so_too(main: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "local")
    with pytest.raises(Trouble, match="stack local has no machine in OCI"):
        main()


# make trust-host


def test_trust_host_shows_the_old_key_and_reads_the_console_again(
    pulumi: FakePulumi, capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.outputs["sshCommand"][1] = f"KnownHostsCommand=/bin/echo %H {HOST_KEY}"
    (pulumi.folder / "outputs").write_text(json.dumps(pulumi.outputs))
    assert trust_host.main() == 0
    assert pulumi.calls()[-1] == f"up --yes --replace {HISTORY} --stack prod"
    (pulumi.folder / "key.pub").write_text(HOST_KEY)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", pulumi.folder / "key.pub"], capture_output=True, text=True, check=True
    )
    assert f"ssh-ed25519 {shown.stdout.split()[1]}" in capsys.readouterr().out


def test_a_key_from_the_settings_is_changed_there(
    pulumi: FakePulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "Pulumi.prod.yaml"
    path.write_text(f"config:\n  central-data-platform:host: {{kind: oci, hostKey: {HOST_KEY}}}\n")
    monkeypatch.setattr(trust_host.config_file, "of_stack", lambda _: ConfigFile(path=path))
    with pytest.raises(Trouble, match=r"host\.hostKey in Pulumi\.prod\.yaml"):
        trust_host.main()
    assert not [call for call in pulumi.calls() if call.startswith("up")]


# make down


def test_down_lifts_the_protection_of_the_machine_and_of_nothing_else(pulumi: FakePulumi) -> None:
    pulumi.ends("0", doing=f"cp {pulumi.state} {pulumi.folder}/during")
    assert down.main() == 0
    during = {
        r["urn"]: r for r in json.loads((pulumi.folder / "during").read_text())["deployment"]["resources"]
    }
    assert [urn for urn, r in during.items() if r.get("protect")] == [VOLUME]
    assert "destroy --exclude-protected --stack prod" in pulumi.calls()


def test_a_down_that_was_declined_protects_the_machine_again(pulumi: FakePulumi) -> None:
    pulumi.ends("1")
    assert down.main() == 1
    assert [urn for urn, r in pulumi.resources().items() if r.get("protect")] == [VOLUME, INSTANCE, TREE]


def test_down_of_a_stack_on_the_user_s_own_machine_edits_nothing(pulumi: FakePulumi) -> None:
    pulumi.state.write_text(json.dumps({"deployment": {"resources": [resource(TREE, protect=True)]}}))
    assert down.main() == 0
    assert not [call for call in pulumi.calls() if call.startswith("stack import")]


# make destroy: whose /srv it is


def ready(folder: Path) -> Ready:
    own = OwnStack(
        name="local",
        folder=folder / "local",
        backend=folder / "backend",
        home=folder / "home",
        choices=Choices(folder / "choices.json"),
        lock=folder / "lock",
        committed=folder / "committed.yaml",
    )
    own.make_folders()
    stacks = own.backend / ".pulumi/stacks/central-data-platform"
    stacks.mkdir(parents=True)
    (stacks / "local.json").touch()
    srv = folder / "srv"
    srv.mkdir()
    (srv / MARKER).write_text("local\n")
    program = folder / "pulumi"
    program.write_text(f"#!/bin/sh\ncat {folder}/exported\n")
    program.chmod(0o755)
    session = Session(stack="local", environment=dict(os.environ), executable=str(program))
    engine = Engine(socket="unix:///nowhere.sock")
    return Ready(own=own, session=session, engine=engine, settings={"srvRoot": str(srv)})


@pytest.mark.parametrize(
    ("resources", "owner", "owned"),
    [
        ([resource(TREE)], "local", True),
        # Another checkout's stack of the same name has made it.
        ([], "local", False),
        ([resource(TREE)], "prod", False),
    ],
)
def test_srv_is_ours_where_this_backend_s_state_says_so(
    tmp_path: Path, resources: list[Any], owner: str, owned: bool
) -> None:
    made = ready(tmp_path)
    (made.srv_root / MARKER).write_text(f"{owner}\n")
    (tmp_path / "exported").write_text(json.dumps({"deployment": {"resources": resources}}))
    assert destroy.owns_srv_root(made) is owned
    said = destroy.what_goes(made, owned=owned)
    assert ("with all data and backups" in said) is owned
    assert ("no files" in said) is not owned


def test_a_destroy_that_was_cut_off_goes_on_with_the_files(tmp_path: Path) -> None:
    made = ready(tmp_path)
    (tmp_path / "exported").write_text(json.dumps({"deployment": {"resources": []}}))
    assert not destroy.owns_srv_root(made)
    destroy.begun(made.own).touch()
    assert destroy.owns_srv_root(made)


def test_destroy_is_not_for_a_user_s_own_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "prod")
    with pytest.raises(Trouble, match="pulumi destroy --stack prod"):
        destroy.main()


def test_asking_needs_a_terminal_or_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFIRM", raising=False)
    with pytest.raises(Trouble, match="make destroy CONFIRM=local"):
        ask.confirm("local", "delete it", command="make destroy")
    monkeypatch.setenv("CONFIRM", "local")
    ask.confirm("local", "delete it", command="make destroy")


# make up


def docker(health: Mapping[str, str], log: str = "") -> containers.Docker:
    def answer(*words: str) -> "subprocess.CompletedProcess[str]":
        if words[0] == "logs":
            return subprocess.CompletedProcess(words, 0, "", log)
        found = health.get(words[-1], "running healthy")
        return subprocess.CompletedProcess(
            words, 1 if found == "gone" else 0, "" if found == "gone" else found, ""
        )

    return answer


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ({}, None),
        (
            {"pgbouncer": "running unhealthy"},
            "the container pgbouncer is unhealthy; its last line is: FATAL: no",
        ),
        ({"redis-cache": "exited unhealthy"}, "the container redis-cache is exited"),
        ({"postgres-db": "gone"}, "the container postgres-db is not there"),
        ({"postgres-db": "running starting"}, "the container postgres-db is starting"),
    ],
)
def test_a_container_that_is_not_well_is_named(health: dict[str, str], said: str | None) -> None:
    found = containers.fault(docker(health, "x\nFATAL: no\n"), patience=0)
    if said is None:
        assert found is None
    else:
        assert said in str(found)


def test_success_is_not_printed_over_an_unhealthy_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ready(tmp_path)
    monkeypatch.setattr(type(made.own), "generate_secrets", lambda *_: [])
    monkeypatch.setattr(up, "require_root_rights", lambda: None)
    monkeypatch.setattr(up, "_lost", lambda _: [])
    monkeypatch.setattr(up.run_pulumi, "followed", lambda *_, **__: None)
    monkeypatch.setattr(up.run_pulumi, "outputs", lambda _: {"srvRoot": str(made.srv_root)})
    monkeypatch.setattr(
        up, "_docker", lambda *_: docker({"pgbouncer": "running unhealthy"}, "server certificate expired")
    )
    with pytest.raises(Trouble, match="pgbouncer is unhealthy; its last line is: server certificate expired"):
        up.bring_up(made, Progress(3))
    assert "try next" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "lost", "told"),
    [
        ([], [], ""),
        (["--refresh"], [], " --refresh"),
        ([], ["redis-cache"], " --refresh"),
        (["--refresh"], ["redis-cache"], " --refresh"),
    ],
)
def test_up_hands_further_words_to_pulumi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], lost: list[str], told: str
) -> None:
    made = ready(tmp_path)
    told_words: list[str] = []
    monkeypatch.setattr(prepare, "own_stack", lambda: made.own)
    monkeypatch.setattr(prepare, "for_changes", lambda *_: made)
    monkeypatch.setattr(type(made.own), "generate_secrets", lambda *_: [])
    monkeypatch.setattr(up, "require_root_rights", lambda: None)
    monkeypatch.setattr(up, "_lost", lambda _: lost)
    monkeypatch.setattr(up.run_pulumi, "followed", lambda _, words, **__: told_words.extend(words))
    monkeypatch.setattr(up.run_pulumi, "outputs", lambda _: {})
    monkeypatch.setattr(up, "_docker", lambda *_: docker({}))
    monkeypatch.setattr("sys.argv", ["up", *options])
    assert up.main() == 0
    said = f"up --skip-preview{told} --stack local --policy-pack {POLICY_PACK}"
    assert " ".join(told_words[1:]) == said


def test_up_of_a_user_s_own_stack_hands_them_on_too(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["up", "--refresh"])
    assert up.main() == 0
    assert pulumi.calls() == ["up --refresh --stack prod"]


@pytest.mark.parametrize(("what", "said"), [("up", 1), ("destroy", 0)])
def test_an_application_is_kept_by_an_up_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, said: int
) -> None:
    monkeypatch.setattr("scripts.workstation.shell.LOGS", tmp_path / "logs")
    kind = "central-data-platform:components:Application"
    step = {"op": "delete", "urn": f"urn:pulumi:local::p::{kind}::platform-application-old", "type": kind}
    event = json.dumps({"resOutputsEvent": {"metadata": step}})
    made = ready(tmp_path)
    Path(made.session.executable).write_text(f"#!/bin/sh\necho '{event}'\n")
    stream = io.StringIO()
    with Progress(1, stream).step(what) as shown:
        run_pulumi.followed(made.session, made.session.words(what), step=shown, what=what)
    assert stream.getvalue().count("make drop-application NAME=old") == said


@pytest.mark.parametrize(
    ("line", "run"),
    [
        ("up ARGS=--refresh", "scripts.workstation.up --refresh"),
        ("passwords", "scripts.workstation.passwords"),
        ("rotate", "scripts.workstation.rotate"),
        ("drop-application", "scripts.workstation.drop_application"),
    ],
)
def test_the_makefile_runs_it(line: str, run: str) -> None:
    said = subprocess.run(
        ["make", "--dry-run", *line.split()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f".venv/bin/python -m {run}" in said.stdout


def test_the_makefile_hands_every_variable_on() -> None:
    exported = next(
        line.split()[1:]
        for line in (ROOT / "Makefile").read_text().splitlines()
        if line.startswith("export ")
    )
    read = {
        name
        for path in (ROOT / "scripts/workstation").glob("*.py")
        for name in re.findall(r'os\.environ(?:\.get\(|\[)"([A-Z_]+)"', path.read_text())
    }
    others = ("PATH", "NO_COLOR")
    ours = {n for n in read if n not in others and not n.startswith(("CDP_", "DOCKER_", "PULUMI_"))}
    assert ours <= set(exported)
    assert {"STACK", "NAME", "STORE"} <= ours


def test_placeholders_are_named_by_their_keys(tmp_path: Path) -> None:
    fresh = tmp_path / "Pulumi.prod.yaml"
    fresh.write_text(
        "config:\n  central-data-platform:host: {kind: oci, tenancy: ocid1.tenancy.oc1..replace-me, sshCidrs: [192.0.2.1/32]}\n"
    )
    with pytest.raises(Trouble, match=r"host\.tenancy, host\.sshCidrs; run make init-prod STACK=prod"):
        placeholders.require_none(ConfigFile(path=fresh), "prod")
    path = tmp_path / "Pulumi.mine.yaml"
    path.write_text(
        "# replace-me\nconfig:\n  central-data-platform:host: {kind: oci, tenancy: ocid1.tenancy.oc1..aaaa}\n"
    )
    placeholders.require_none(ConfigFile(path=path), "mine")
    placeholders.require_none(ConfigFile(path=tmp_path / "none.yaml"), "mine")


# prod-sim


def test_published_plugins_are_linked_into_a_home_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "user"))
    name = f"resource-docker-v{plugins.version_of('docker')}"
    theirs = tmp_path / "user/plugins" / name
    theirs.mkdir(parents=True)
    (theirs / "pulumi-resource-docker").write_text("published")
    for _ in range(2):
        plugins.link(tmp_path / "home", "docker")
    mine = tmp_path / "home/plugins" / name
    assert not mine.is_symlink()
    assert (mine / "pulumi-resource-docker").read_text() == "published"


def test_a_stack_made_here_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "prod-sim")
    assert prepare.suffix() == " STACK=prod-sim"
    found = prepare.own_stack()
    assert found is not None
    assert "make tunnel STACK=prod-sim" in up.closing(found, {})
    assert "simulated" in up.closing(found, {})
    monkeypatch.setenv("STACK", "local")
    assert prepare.suffix() == ""
    assert "make tunnel" not in up.closing(LOCAL, {})
    monkeypatch.setenv("STACK", "prod")
    assert prepare.own_stack() is None
