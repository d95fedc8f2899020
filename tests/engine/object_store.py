"""A real S3 server on loopback, as a process of its own: moto's, which checks who asks. `off_site` gives it to a platform.

As a program (`python -m tests.engine.object_store PORT`) it is the server.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine.platform import CHECKOUT, PATIENCE_SECONDS, Platform, canary, until

BUCKET = "backups"
REGION = "eu-test-1"
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def _serve(port: int) -> None:
    # Before moto is loaded: after these three questions it answers nobody whom it does not know.
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "3"
    import boto3
    from moto.server import ThreadedMotoServer

    ThreadedMotoServer("127.0.0.1", port, verbose=False).start()
    iam = boto3.client(
        "iam",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="nobody",
        aws_secret_access_key="nobody",
    )
    iam.create_user(UserName="host")
    key = iam.create_access_key(UserName="host")["AccessKey"]
    iam.put_user_policy(UserName="host", PolicyName="all", PolicyDocument=json.dumps(POLICY))
    print(f"{key['AccessKeyId']} {key['SecretAccessKey']}", flush=True)
    signal.pause()


def _credentials_file(access_key: str, secret_key: str) -> str:
    return f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"


@dataclass
class ObjectStore:
    """The running server. What it holds is gone with it, so an outage is a network that refuses."""

    port: int
    access_key: str
    secret_key: str

    @property
    def repository(self) -> str:
        """As restic names the bucket."""
        return f"s3:http://127.0.0.1:{self.port}/{BUCKET}"

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody reaches it."""
        rule = [
            "INPUT",
            "-i",
            "lo",
            "-p",
            "tcp",
            "--dport",
            str(self.port),
            "-j",
            "REJECT",
            "--reject-with",
            "tcp-reset",
        ]
        subprocess.run(["iptables", "-I", *rule], check=True)
        try:
            yield
        finally:
            subprocess.run(["iptables", "-D", *rule], check=True)

    def objects(self, folder: Path) -> list[Path]:
        """All that it holds, as files in `folder`."""
        environment = rclone(self) | {"PATH": os.environ["PATH"]}
        with tempfile.NamedTemporaryFile("w") as credentials:
            credentials.write(_credentials_file(self.access_key, self.secret_key))
            credentials.flush()
            environment |= {"AWS_SHARED_CREDENTIALS_FILE": credentials.name, "RCLONE_CONFIG": "/dev/null"}
            copy = ["rclone", "copy", f"store:{BUCKET}", str(folder)]
            subprocess.run(copy, env=environment, check=True, timeout=PATIENCE_SECONDS)
        return [path for path in folder.rglob("*") if path.is_file()]


def rclone(store: ObjectStore) -> dict[str, str]:
    """rclone's settings of a remote `store`, whose keys are in AWS's file."""
    return {
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": f"http://127.0.0.1:{store.port}",
        "RCLONE_CONFIG_STORE_REGION": REGION,
        "RCLONE_CONFIG_STORE_ENV_AUTH": "true",
    }


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.object_store", str(port)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        access_key, secret_key = process.stdout.readline().split()
        yield ObjectStore(port, access_key, secret_key)
    finally:
        process.kill()
        process.wait()


@dataclass
class OffSite:
    """A platform whose backups go to a store."""

    platform: Platform
    store: ObjectStore
    key: str = field(default_factory=canary)

    @property
    def apps(self) -> Path:
        return self.platform.srv / "apps"

    @property
    def backups(self) -> Path:
        return self.platform.srv / "backups"

    @property
    def settings(self) -> Path:
        return self.platform.srv / "config/backup"

    def start(self, script: str, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """A script as a process group of its own."""
        return subprocess.Popen(
            ["sh", str(self.apps / script), *words],
            # As by a timer: nothing but the way to Docker.
            env={"PATH": os.environ["PATH"], "DOCKER_HOST": self.platform.docker_host, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(script, *words, **environment)
        try:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            kill(process)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def must(self, script: str, *words: str, **environment: str) -> str:
        ran = self.run(script, *words, **environment)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def state(self, name: str) -> tuple[str, str]:
        """ok or fail, and the detail."""
        state, _, detail = (self.backups / "state" / name).read_text().rstrip("\n").split("\t")
        return state, detail

    def write_settings(self, **changed: str) -> None:
        """backup.env as the program has written it, with other values."""
        path = self.settings / "backup.env"
        lines = path.read_text().splitlines()
        for name, value in changed.items():
            lines = [line for line in lines if line.removeprefix("export ").partition("=")[0] != name]
            # restic and rclone read those from the environment.
            exported = "export " if name.startswith(("AWS_", "RCLONE_")) else ""
            lines.append(f"{exported}{name}='{value}'")
        path.write_text("\n".join(lines) + "\n")


def kill(process: "subprocess.Popen[str]") -> None:
    """The script and all that it has started, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
    until(lambda: not _lives(process.pid), seconds=10, what="the end of what it had started")


def _lives(group: int) -> bool:
    """Does a process of this group run?"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def off_site(platform: Platform) -> Iterator[OffSite]:
    """The platform with a store, a key and keys of the store. Settings, states, dumps and reports are put back."""
    settings, backups = platform.srv / "config/backup", platform.srv / "backups"
    written = {path: path.read_bytes() for path in settings.iterdir()}
    states = {path: path.read_bytes() for path in (backups / "state").glob("*")}
    kept = {path for name in ("dumps", "drills") for path in (backups / name).glob("*")}
    with object_store() as store:
        made = OffSite(platform, store)
        made.write_settings(OFFSITE=store.repository, AWS_DEFAULT_REGION=REGION)
        (settings / "key").write_text(f"{made.key}\n")
        (settings / "s3-credentials").write_text(_credentials_file(store.access_key, store.secret_key))
        try:
            yield made
        finally:
            for path in (backups / "state").glob("*"):
                path.unlink()
            for path, content in (written | states).items():
                path.write_bytes(content)
            for name in ("dumps", "drills"):
                for path in set((backups / name).glob("*")) - kept:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
