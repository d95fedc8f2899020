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
from typing import Any

from tests.engine.backups import Scripts
from tests.engine.platform import CHECKOUT, PATIENCE_SECONDS, Platform, canary

BUCKET = "backups"
REGION = "eu-test-1"
# What each user of the server may do: a host with its backups, and somebody who only looks.
USERS = {"host": ["s3:*"], "reader": ["s3:Get*", "s3:List*", "s3:Head*"]}


def _serve(port: int) -> None:
    # Before moto is loaded: after these three questions for each user it answers nobody whom it does not know.
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = str(3 * len(USERS))
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
    keys = [_made_user(iam, name, actions) for name, actions in USERS.items()]
    print(" ".join(word for key in keys for word in key), flush=True)
    signal.pause()


def _made_user(iam: Any, name: str, actions: list[str]) -> tuple[str, str]:
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
    return key["AccessKeyId"], key["SecretAccessKey"]


def _credentials_file(access_key: str, secret_key: str) -> str:
    return f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"


@dataclass
class ObjectStore:
    """The running server. What it holds is gone with it, so an outage is a network that refuses."""

    port: int
    access_key: str
    secret_key: str
    # Of a user who may only read.
    reader_access_key: str
    reader_secret_key: str

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
        yield ObjectStore(port, *process.stdout.readline().split())
    finally:
        process.kill()
        process.wait()


@dataclass
class OffSite(Scripts):
    """A platform whose backups go to a store."""

    store: ObjectStore
    key: str = field(default_factory=canary)


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
