"""Which volumes a machine has: the record that it reads at each boot, as text."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sandbox.machine.errors import MachineError


@dataclass(frozen=True)
class Attachment:
    """A volume in a machine."""

    device: str
    """The path that OCI promises, such as /dev/oracleoci/oraclevdb."""
    number: str
    """The loop device's MAJOR:MINOR."""
    file: Path
    """The volume."""


def parse(text: str) -> list[Attachment]:
    """The record's lines, DEVICE MAJOR:MINOR FILE each."""
    fields = (line.split(" ", 2) for line in text.splitlines() if line)
    return [Attachment(device, number, Path(file)) for device, number, file in fields]


def text(attachments: Iterable[Attachment]) -> str:
    """The record as it is written."""
    return "".join(f"{a.device} {a.number} {a.file}\n" for a in attachments)


def check_device(device: str) -> None:
    """Refuse a device path that OCI would not give."""
    folder, _, name = device.rpartition("/")
    if folder != "/dev/oracleoci" or not (name.startswith("oraclevd") and name[8:].isalpha()):
        raise MachineError(
            f"{device!r} is no device path of OCI: use /dev/oracleoci/oraclevdb, or another letter"
        )
