"""A host for scripts/host, as processes: folders with awkward names, and stand-ins that only note what they are asked."""

import os
import shlex
import stat
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts" / "host"


@dataclass
class Host:
    """A folder with stand-ins first on PATH. Each appends its words to a log and then runs what a test has written for it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> Path:
        return self.folder / "bin"

    @property
    def srv(self) -> Path:
        return self.folder / 'it\'s the "srv" folder'

    def stand_in(self, name: str, script: str = "") -> None:
        path = self.commands / name
        path.parent.mkdir(exist_ok=True)
        log = shlex.quote(str(self.folder / f"{name}.log"))
        note = f"{{ printf '%s\\0' \"$@\"; printf '\\1'; }} >>{log}"
        path.write_text(f"#!/bin/sh\n{note}\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """What a stand-in was asked, and forgets it."""
        log = self.folder / f"{name}.log"
        noted = log.read_text(encoding="utf-8") if log.exists() else ""
        log.unlink(missing_ok=True)
        return [call.split("\0")[:-1] for call in noted.split("\1")[:-1]]

    def start(self, script: str | Path, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            # A test run in the background ignores SIGINT, and so would all that it starts.
            ["env", "--default-signal", "sh", str(SCRIPTS / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "LC_ALL": "C",
                **self.environment,
                "PATH": f"{self.commands}{os.pathsep}{os.environ['PATH']}",
            },
            start_new_session=True,
        )

    def run(self, script: str | Path, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        process = self.start(script, *arguments)
        out, err = process.communicate(stdin, timeout=20)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def must(self, script: str | Path, *arguments: str, stdin: str = "") -> str:
        """Standard output of a script that must do well and say nothing on standard error."""
        ran = self.run(script, *arguments, stdin=stdin)
        assert not ran.returncode, ran.stderr
        assert ran.stderr == ""
        return ran.stdout

    def refused(self, script: str | Path, *arguments: str, stdin: str = "") -> str:
        """The one sentence with which a script refuses."""
        ran = self.run(script, *arguments, stdin=stdin)
        assert ran.returncode == 1
        (sentence,) = ran.stderr.splitlines()
        return sentence


def wait_for(path: Path) -> None:
    for _ in range(2000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not come")


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def listing(folder: Path) -> dict[str, tuple[str, float]]:
    """Everything below a folder, with mode and time of change."""
    return {str(p.relative_to(folder)): (mode(p), p.stat().st_mtime) for p in sorted(folder.rglob("*"))}
