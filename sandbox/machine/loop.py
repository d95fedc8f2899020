"""Loop devices of the workstation: what makes a block device of a volume's file. Needs root."""

import json
import time
from pathlib import Path

from sandbox.machine.docker import reason, run
from sandbox.machine.errors import MachineError

RELEASE_SECONDS = 20


def number_of(file: Path) -> str | None:
    """MAJOR:MINOR of the loop device that has a file, None where none has."""
    return _devices().get(str(file))


def attach(file: Path) -> str:
    """Give a file a loop device, the one it has if there is one; returns its MAJOR:MINOR."""
    if not file.is_file():
        raise MachineError(f"there is no volume {file}: create it before it is attached")
    if (found := number_of(file)) is None:
        _losetup("--find", str(file))
        found = number_of(file)
    if found is None:
        raise MachineError(f"the loop device of {file} went away at once: look what else here detaches it")
    return found


def detach(file: Path) -> None:
    """Take a file's loop device away, and wait for that; one that is still mounted goes with the machine that has it mounted."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while (found := number_of(file)) is not None:
        # In use it goes with its last user: a removed container's mounts take a moment.
        try:
            _losetup("--detach", _node(found))
        except MachineError:
            # Another call that saw the same machine gone may have been quicker.
            if number_of(file) is not None:
                raise
        # As in OCI, which knows nothing of mounts.
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def grow(file: Path) -> None:
    """Let a file's loop device, if it has one, see that the file has grown."""
    if (found := number_of(file)) is not None:
        _losetup("--set-capacity", _node(found))


def under(folder: Path) -> list[Path]:
    """The files in a folder that have a loop device."""
    return [Path(file) for file in _devices() if Path(file).is_relative_to(folder)]


def _devices() -> dict[str, str]:
    listed = _losetup("--list", "--json", "--output", "BACK-FILE,MAJ:MIN")
    devices = json.loads(listed)["loopdevices"] if listed.strip() else []
    return {device["back-file"]: device["maj:min"].strip() for device in devices if device["back-file"]}


def _node(number: str) -> str:
    return f"/dev/{Path(f'/sys/dev/block/{number}').resolve().name}"


def _losetup(*words: str) -> str:
    result = run("losetup", *words)
    if result.returncode:
        raise MachineError(f"losetup {' '.join(words)} failed (only root can use it): {reason(result)}")
    return result.stdout
