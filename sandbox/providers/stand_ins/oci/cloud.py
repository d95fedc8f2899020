"""The simulated cloud: one folder with a state file, the block volumes, and the machines behind the instances.

state.json      every resource that exists; written as a whole, by one process at a time
volumes/*.img   the block volumes
settings.json   written by tests, read at each call (see Settings)
"""

import fcntl
import json
import os
import secrets
import string
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sandbox.machine.errors import MachineError
from sandbox.providers.stand_ins.errors import ProviderError
from sandbox.providers.stand_ins.oci.service_error import ServiceError, not_found

_ID_LETTERS = string.ascii_lowercase + string.digits[2:]
_GLOBAL = {"dynamicgroup", "policy"}
"""Resources of the identity service, which every region sees."""
_OWN_PROCESS = threading.Lock()


class Machines(Protocol):
    """What the simulated cloud asks of sandbox/machine; what fails is a MachineError."""

    def create_network(self, id: str, cidr: str) -> None: ...
    def remove_network(self, id: str) -> None: ...
    def launch(
        self, instance_id: str, *, hostname: str, network_id: str, private_ip: str, metadata: dict[str, str]
    ) -> None: ...
    def state(self, instance_id: str) -> str | None: ...
    def restart(self, instance_id: str) -> None: ...
    def terminate(self, instance_id: str) -> None: ...
    def console(self, instance_id: str) -> str: ...
    def attach(self, instance_id: str, volume_file: Path, device: str) -> None: ...
    def detach(self, instance_id: str, volume_file: Path) -> None: ...
    def create_volume(self, file: Path, gib: int) -> None:
        """Or make one that is there larger."""
        ...

    def delete_volume(self, file: Path) -> None: ...
    def connect_public(self, instance_id: str, address: str) -> None: ...
    def disconnect_public(self, instance_id: str, address: str) -> None: ...


@dataclass
class Record:
    """One resource that exists."""

    type: str
    """The type in its OCID."""
    region: str
    properties: dict[str, Any]
    """What the provider reads back."""
    hidden: dict[str, Any]
    """What only the cloud knows."""


@dataclass(frozen=True)
class Settings:
    """What a test can set in settings.json."""

    home_region: str = "eu-frankfurt-1"
    newer_image: bool = False
    """Whether a newer image was published since."""
    failures: tuple[tuple[str, str], ...] = ()
    """Type in the OCID (`volumeattachment`) and the text with which each change to one fails."""


class State:
    """All resources, while the lock is held."""

    def __init__(self, region: str, records: dict[str, Record]) -> None:
        self.region = region
        self.records = records

    def new_id(self, kind: str) -> str:
        """A fresh OCID."""
        region = "" if kind in _GLOBAL else self.region
        return f"ocid1.{kind}.oc1.{region}.{''.join(secrets.choice(_ID_LETTERS) for _ in range(60))}"

    def add(
        self, resource_id: str, kind: str, properties: dict[str, Any], hidden: dict[str, Any] | None = None
    ) -> None:
        """Keep a new resource."""
        self.records[resource_id] = Record(kind, self.region, properties, hidden or {})

    def get(self, resource_id: str, kind: str) -> Record:
        """The resource, or a 404."""
        record = self.find(resource_id, kind)
        if record is None:
            raise not_found(f"{kind} {resource_id}")
        return record

    def find(self, resource_id: str, kind: str) -> Record | None:
        """The resource if it is visible from this region."""
        record = self.records.get(resource_id)
        return record if record and record.type == kind and self._visible(record) else None

    def all(self, kind: str, **properties: Any) -> dict[str, Record]:
        """The visible resources of a type with these properties, by id."""
        return {
            resource_id: record
            for resource_id, record in self.records.items()
            if record.type == kind
            and self._visible(record)
            and all(record.properties.get(name) == value for name, value in properties.items())
        }

    def _visible(self, record: Record) -> bool:
        return record.region == self.region or record.type in _GLOBAL


class Cloud:
    """One region of the simulated cloud."""

    def __init__(self, folder: Path, region: str, machines: Machines) -> None:
        self.folder = folder
        self.region = region
        self._machines = machines

    @contextmanager
    def state(self) -> Iterator[State]:
        """The state, locked; changes are kept unless an exception leaves the block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _OWN_PROCESS, (self.folder / "state.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self.folder / "state.json"
            before = file.read_text(encoding="utf-8") if file.exists() else "{}"
            state = State(self.region, {key: Record(**value) for key, value in json.loads(before).items()})
            yield state
            after = {key: vars(record) for key, record in state.records.items()}
            text = json.dumps(after, indent=1, sort_keys=True)
            if text != before:
                _write(file, text)

    @contextmanager
    def machines(self) -> Iterator[Machines]:
        """The machines; what fails there is an internal error of the service."""
        try:
            yield self._machines
        except MachineError as error:
            raise ServiceError(500, "InternalError", str(error)) from error

    def settings(self) -> Settings:
        """What a test set, now."""
        file = self.folder / "settings.json"
        given: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        try:
            failures = tuple(given.pop("failures", {}).items())
            return Settings(**given, failures=failures)
        except (TypeError, AttributeError) as error:
            raise ProviderError(f"{file}: {error}; see Settings in cloud.py of the stand-in.") from error

    def volume_file(self, volume_id: str) -> Path:
        """Where a block volume is kept."""
        return self.folder / "volumes" / f"{volume_id}.img"


def now() -> str:
    """The time as the provider writes it (Go's Time.String)."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " +0000 UTC"


def _write(file: Path, text: str) -> None:
    descriptor, draft = tempfile.mkstemp(prefix=".state.", dir=file.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    Path(draft).replace(file)
