"""State in a bucket: a real S3 server on loopback, the real CLI, and the commands of docs/state.md."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from scripts.workstation import run_pulumi
from scripts.workstation.session import Session
from scripts.workstation.trouble import Trouble
from tests.engine.object_store import REGION, ObjectStore, object_store
from tests.engine.platform import CHECKOUT, PATIENCE_SECONDS, PROJECT, canary
from tests.waiting import until

pytestmark = pytest.mark.late

DOCUMENT = CHECKOUT / "docs/state.md"
BUCKET = "platform-state"
STACK = "prod"
STATE = f".pulumi/stacks/{PROJECT}/{STACK}.json"
# A command that can be made to wait, and a secret as input and as output.
PROGRAM = """
import pulumi
from pulumi_command import local

config = pulumi.Config()
password = config.require_secret("postgresPassword")
made = local.Command(
    config.require("name"),
    create=f"cat >{config.require('folder')}/made; sleep {config.require('seconds')}",
    stdin=password,
    logging=local.Logging.NONE,
)
pulumi.export("password", password)
"""


@dataclass
class Team:
    """Two who share a stack: who may change it, and who may only look."""

    store: ObjectStore
    folder: Path
    password: str

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def url(self) -> str:
        """As docs/state.md writes it, with this server's address."""
        (documented,) = set(re.findall(r"'(s3://[^']+)'", DOCUMENT.read_text()))
        endpoint = re.search(r"endpoint=([^&]+)", documented)
        assert endpoint
        address = documented.replace(endpoint[1], f"http://127.0.0.1:{self.store.port}")
        return address.replace("eu-frankfurt-1", REGION)

    def environment(self, *, reader: bool = False) -> dict[str, str]:
        store = self.store
        access, secret = (
            (store.reader_access_key, store.reader_secret_key)
            if reader
            else (store.access_key, store.secret_key)
        )
        return {
            **os.environ,
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "PULUMI_CONFIG_PASSPHRASE": "tests",
            # A login is written down here, and not for the user of this machine.
            "PULUMI_CREDENTIALS_PATH": str(self.folder),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def run(
        self, *words: str, reader: bool = False, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["pulumi", "--non-interactive", *words],
            cwd=self.project,
            env=self.environment(reader=reader),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def must(self, *words: str, reader: bool = False, stdin: str | None = None) -> str:
        ran = self.run(*words, reader=reader, stdin=stdin)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def documented(self, command: str, *unasked: str) -> str:
        """A command of docs/state.md, as it stands there; `unasked` are the options with which it asks nobody."""
        assert f"$ {command}" in DOCUMENT.read_text(), command
        return self.must(*shlex.split(command)[1:], *unasked)

    def up(self, *words: str) -> str:
        return self.must("up", "--yes", "--skip-preview", "--stack", STACK, *words)

    def set(self, **settings: str) -> None:
        """Plain settings, without a call of the CLI for each."""
        path = self.project / f"Pulumi.{STACK}.yaml"
        document = yaml.safe_load(path.read_text())
        document["config"] = {
            **document.get("config", {}),
            **{f"{PROJECT}:{k}": v for k, v in settings.items()},
        }
        path.write_text(yaml.safe_dump(document))

    @contextmanager
    def slow(self) -> Iterator[None]:
        """The command as one that takes a minute."""
        self.set(seconds="60")
        try:
            yield
        finally:
            self.set(seconds="0")

    def begin(self) -> "subprocess.Popen[bytes]":
        """An `up` that is at work in its command, with its lock held."""
        (self.folder / "made").unlink(missing_ok=True)
        process = subprocess.Popen(
            ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview", "--stack", STACK],
            cwd=self.project,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until((self.folder / "made").exists, seconds=60, what="the command of an up")
        return process

    def make_up(self) -> int:
        """pulumi as `make up STACK=prod` runs it."""
        words = ["pulumi", "up", "--cwd", str(self.project), "--stack", STACK, "--yes", "--non-interactive"]
        return run_pulumi.attached(Session(stack=STACK, environment=self.environment()), words)

    def secret(self) -> str:
        """The output that is a secret, in the clear."""
        return self.must("stack", "output", "--show-secrets", "--stack", STACK, "password").strip()


def _client(store: ObjectStore) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{store.port}",
        region_name=REGION,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _objects(store: ObjectStore) -> dict[str, bytes]:
    client = _client(store)
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def _locks(store: ObjectStore) -> list[str]:
    return [key for key in _objects(store) if key.startswith(".pulumi/locks/")]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A bucket with versions, a login by the documented address, and a stack in it that is up."""
    folder = tmp_path_factory.mktemp("team")
    with object_store() as store:
        client = _client(store)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        made = Team(store, folder, canary())
        made.project.mkdir()
        (made.project / "__main__.py").write_text(PROGRAM)
        (made.project / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
        made.must("login", made.url)
        made.must("stack", "init", "--no-select", STACK)
        made.must("config", "set", "--stack", STACK, "--secret", "postgresPassword", stdin=made.password)
        made.set(folder=str(folder), seconds="0", name="first")
        made.up()
        yield made


def _state(content: bytes) -> dict[str, Any]:
    return json.loads(content)["checkpoint"].get("latest") or {}


def _names(state: dict[str, Any]) -> set[str]:
    return {resource["urn"].rpartition("::")[2] for resource in state["resources"]}


def test_state_is_in_the_bucket_with_encrypted_secrets_alone(team: Team) -> None:
    address = json.loads(team.must("whoami", "--json"))["url"]
    assert address.startswith(f"s3://{BUCKET}?")
    objects = _objects(team.store)
    state = _state(objects[STATE])
    assert "first" in _names(state)
    assert state["secrets_providers"]["type"] == "passphrase"
    assert [key for key, content in objects.items() if team.password.encode() in content] == []
    assert _locks(team.store) == []


def test_a_key_that_may_only_read_previews_and_changes_nothing(team: Team) -> None:
    before = _objects(team.store)
    with team.slow():
        said = team.must("preview", "--stack", STACK, reader=True)
        assert re.search(r"1 to (update|replace)|1 replacement", said), said
        refused = team.run("up", "--yes", "--skip-preview", "--stack", STACK, reader=True)
    assert refused.returncode
    assert re.search("AccessDenied|Forbidden|403", refused.stderr), refused.stderr
    assert _objects(team.store) == before


def test_a_lock_names_its_holder_and_one_that_is_left_goes_by_the_documented_commands(team: Team) -> None:
    # Something new: a creation that nobody has seen the end of is the hardest case.
    team.set(name="second")
    with team.slow():
        holder = team.begin()
        try:
            with pytest.raises(Trouble) as trouble:
                team.make_up()
        finally:
            _kill(holder)
    sentence = str(trouble.value)
    assert sentence.startswith("the state of stack prod is locked: ")
    assert f"on {socket.gethostname()} (pid {holder.pid}) since 20" in sentence
    assert "pulumi cancel --stack prod" in sentence
    assert len(_locks(team.store)) == 1
    team.documented("pulumi cancel --stack prod", "--yes")
    assert _locks(team.store) == []
    assert _state(_objects(team.store)[STATE])["pending_operations"]
    team.documented("pulumi refresh --clear-pending-creates --stack prod", "--yes", "--skip-preview")
    team.up()
    state = _state(_objects(team.store)[STATE])
    assert not state.get("pending_operations")
    assert "second" in _names(state)
    assert "first" not in _names(state)


def test_an_older_state_comes_back_from_the_versions_of_the_bucket(team: Team) -> None:
    client = _client(team.store)
    listed = client.list_object_versions(Bucket=BUCKET, Prefix=STATE)["Versions"]
    versions = [found["VersionId"] for found in listed if found["Key"] == STATE]
    contents = [
        client.get_object(Bucket=BUCKET, Key=STATE, VersionId=version)["Body"].read() for version in versions
    ]
    assert contents[0] == _objects(team.store)[STATE]
    (old, *_) = [
        content
        for content in contents
        if _state(content).get("resources") and _state(content) != _state(contents[0])
    ]
    client.put_object(Bucket=BUCKET, Key=STATE, Body=old)
    try:
        exported = json.loads(team.must("stack", "export", "--stack", STACK))["deployment"]
        assert exported["resources"] == _state(old)["resources"]
    finally:
        client.put_object(Bucket=BUCKET, Key=STATE, Body=contents[0])


def test_a_stack_moves_to_another_backend_with_its_secrets(team: Team) -> None:
    file = team.project / "state.json"
    try:
        team.documented("pulumi stack export --stack prod --file state.json")
        before = json.loads(file.read_text())["deployment"]["resources"]
        assert team.password not in file.read_text()
        (team.folder / "elsewhere").mkdir()
        team.must("login", f"file://{team.folder}/elsewhere")
        team.documented("pulumi stack init prod --no-select")
        team.documented("pulumi stack import --stack prod --file state.json")
        team.up("--expect-no-changes")
        after = json.loads(team.must("stack", "export", "--stack", STACK))["deployment"]["resources"]
        assert [resource["urn"] for resource in after] == [resource["urn"] for resource in before]
        assert team.secret() == team.password
    finally:
        team.must("login", team.url)
