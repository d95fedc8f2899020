"""A clean clone of this checkout, as a user has it, that runs make."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.engine.platform import CHECKOUT, PATIENCE_SECONDS


@dataclass
class Clone:
    """`environment` names the tests' Docker engine, and nothing of the tests' own stacks."""

    folder: Path
    environment: dict[str, str]

    def sh(self, text: str, *, stdin: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        """A line as a user types it."""
        with subprocess.Popen(
            ["sh", "-euc", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, error = process.communicate(stdin, timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                # With all that it has started: a pulumi left behind holds the stack's lock.
                os.killpg(process.pid, signal.SIGKILL)
                out, error = process.communicate()
                raise AssertionError(
                    f"{text}: not done within {PATIENCE_SECONDS} s\n{out}\n{error}"
                ) from None
        ran = subprocess.CompletedProcess(text, process.returncode, out, error)
        assert not check or ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        return ran


def clean_clone(folder: Path, docker_host: str) -> Clone:
    """A clone in a folder that does not exist yet, with its virtual environment made."""
    subprocess.run(["git", "clone", "--quiet", CHECKOUT, folder], check=True)
    # What is not committed yet is what we want to know about.
    listed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    # A folder of the tests' own: the default for root is /srv, where a platform may live that `make destroy` would delete.
    settings = folder / "Pulumi.local.yaml"
    own = f"srvRoot: {folder.parent / 'srv'}"
    settings.write_text(settings.read_text().replace("srvRoot: /srv", own))
    assert own in settings.read_text()
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "add", "--all"], cwd=folder, check=True
    )
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PULUMI_", "CDP_STATE", "VIRTUAL_ENV", "MAKE", "MFLAGS"))
    }
    clone = Clone(folder, {**environment, "DOCKER_HOST": docker_host})
    # The one step that needs a package registry, which the tests' network namespace does not reach.
    outside = os.environ.get("CDP_TEST_OUTSIDE", "/proc/self/ns/net")
    clone.sh(f"nsenter --net={outside} make venv")
    return clone
