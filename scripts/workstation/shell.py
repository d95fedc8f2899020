"""Running other programs: output kept in a log, failures as one sentence that names it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.workstation.paths import LOGS, ROOT
from scripts.workstation.trouble import Trouble


def answer(
    words: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a short question; a missing program or no answer in time is an exit code like any other."""
    try:
        return subprocess.run(
            words,
            env=environment,
            cwd=cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]} is not on PATH")
    except PermissionError:
        return subprocess.CompletedProcess(words, 126, "", f"{words[0]} cannot be executed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"no answer within {timeout:.0f} s")


def logged(
    words: Sequence[str],
    *,
    log: str,
    failure: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> None:
    """Run a noisy tool with its output in .state/logs/<log>.log. Raises Trouble: `failure`, its last line, the log's path."""
    path = log_path(log)
    with path.open("w", encoding="utf-8") as output:
        try:
            process = subprocess.run(
                words,
                env=environment,
                cwd=cwd,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout,
                check=False,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise Trouble(f"{failure}: {words[0]} cannot be run ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise Trouble(f"{failure}: not done within {timeout:.0f} s; the log is {path}") from None
    if process.returncode:
        raise Trouble(f"{failure}: {last_line(path)}; the log is {path}")


def in_front(words: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
    """Run a program with our own terminal, input and output. It hears Ctrl-C itself, and we wait for how it ends."""
    sys.stdout.flush()
    # A handler, not SIG_IGN, which the program would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.run(words, env=environment, check=False).returncode
    except FileNotFoundError:
        raise Trouble(f"{words[0]} is not on PATH; install it and run the same command again") from None
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


def log_path(name: str) -> Path:
    """The file of a log, in a folder that exists."""
    LOGS.mkdir(parents=True, exist_ok=True)
    return LOGS / f"{name}.log"


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing").rstrip(".;")


def bare_debian() -> bool:
    """Whether we may install Debian's packages."""
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def require_program(program: str, package: str) -> None:
    """Have a program on PATH, from its Debian package where we may install it. Raises Trouble where we may not."""
    if shutil.which(program):
        return
    if not bare_debian():
        raise Trouble(f"{program} is not on PATH; install it (Debian, Ubuntu: sudo apt install {package})")
    logged(
        ["sh", str(ROOT / "sandbox" / "docker" / "ensure-packages.sh"), package],
        log=f"apt-{package}",
        failure=f"{program} could not be installed",
    )


def as_root(words: Sequence[str]) -> list[str]:
    """The same command as root: as it is, or by sudo, which may ask on the terminal."""
    return list(words) if os.geteuid() == 0 else ["sudo", *words]


def require_root_rights() -> None:
    """Make sure that `sudo -n` will work from here on, asking once where there is a terminal to ask on."""
    if os.geteuid() == 0 or answer(["sudo", "-n", "true"]).returncode == 0:
        return
    if shutil.which("sudo") and subprocess.run(["sudo", "-v"], check=False).returncode == 0:
        return
    raise Trouble(
        "the platform's files belong to root and sudo does not let this user in; run as root, or allow sudo for this user"
    )


def read_as_root(path: Path) -> str | None:
    """The text of a file that may be root's alone, or None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        require_root_rights()
    if answer(as_root(["test", "-e", str(path)])).returncode:
        return None
    read = answer(as_root(["cat", "--", str(path)]))
    if read.returncode:
        raise Trouble(f"{path} cannot be read: {read.stderr.strip()}")
    return read.stdout
