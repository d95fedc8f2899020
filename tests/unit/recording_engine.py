"""A stand-in for the Pulumi engine: it keeps what a program registers, and answers as the providers would."""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import pulumi
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs
from pulumi.runtime.settings import get_root_resource, reset_options
from pulumi.runtime.stack import Stack

from components.settings import PROJECT

# The key by which the engine's protocol tells a special object, and the mark of a secret one.
SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


PUBLIC_ADDRESS = "198.51.100.9"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostHostHostHostHostHostHostHostHostHostHos"
# The authority's certificate, as the host prints it before a line about each server's.
CA_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
# What OCI answers to the program's questions.
CLOUD: dict[str, dict[str, Any]] = {
    "oci:Identity/getAvailabilityDomains:getAvailabilityDomains": {
        "availabilityDomains": [
            {"name": f"Uocm:EU-FRANKFURT-1-AD-{n}", "id": "", "compartmentId": ""} for n in (3, 1, 2)
        ]
    },
    "oci:Core/getImages:getImages": {
        "images": [
            {"displayName": "Oracle-Linux-10-Minimal-aarch64-2026.11.30-0", "id": "ocid1.image.oc1..minimal"},
            {"displayName": "Oracle-Linux-10.1-aarch64-2026.10.31-0", "id": "ocid1.image.oc1..newest"},
            {"displayName": "Oracle-Linux-10.0-aarch64-2026.06.30-0", "id": "ocid1.image.oc1..older"},
        ]
    },
    "oci:Core/getPrivateIps:getPrivateIps": {"privateIps": [{"id": "ocid1.privateip.oc1..one"}]},
    "oci:Core/getConsoleHistoryData:getConsoleHistoryData": {
        "data": f"boot\n-----BEGIN SSH HOST KEY KEYS-----\r\n{HOST_KEY} root@db\r\n-----END SSH HOST KEY KEYS-----\r\n"
    },
    "oci:ObjectStorage/getNamespace:getNamespace": {"namespace": "frexample"},
}


def revealed(value: Any) -> Any:
    """A value of the protocol with its secrets unwrapped."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return revealed(value["value"])
        return {key: revealed(item) for key, item in value.items()}
    return [revealed(item) for item in value] if isinstance(value, list) else value


def texts(value: Any, *, bare: bool) -> Iterator[str]:
    """Every string in a value of the protocol, keys too; with `bare` only those outside of secrets."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            if not bare:
                yield from texts(value["value"], bare=bare)
            return
        for key, item in value.items():
            yield key
            yield from texts(item, bare=bare)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, bare=bare)
    elif isinstance(value, str):
        yield value


def is_secret(value: Any) -> bool:
    """Whether a value of the protocol is a secret as a whole or in a part."""
    return list(texts(value, bare=True)) != list(texts(value, bare=False))


@dataclass(frozen=True)
class Registration:
    """One resource as the program has registered it. `raw` keeps secrets wrapped, `inputs` does not."""

    urn: str
    request: Any

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def type(self) -> str:
        return self.request.type

    @property
    def parent(self) -> str:
        """The parent's name."""
        return self.request.parent.rpartition("::")[2]

    @cached_property
    def raw(self) -> dict[str, Any]:
        return cast("dict[str, Any]", MessageToDict(self.request.object))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        return revealed(self.raw)


@dataclass(frozen=True)
class WrittenFile:
    """One file of a list for write-files.sh. `resource` is the name of the one that writes it."""

    resource: str
    mode: str
    owner: str
    text: str


def files_of(stdin: str) -> Iterator[tuple[str, str, str, str]]:
    """Path, mode, owner and text of each file of a list for write-files.sh."""
    left = stdin.encode()
    while left != b"end\n":
        head, left = left.split(b"\n", 1)
        kind, mode, owner, size, path = head.decode().split(" ", 4)
        assert kind == "file"
        yield path, mode, owner, left[: int(size)].decode()
        left = left[int(size) + 1 :]


def _is_file_list(stdin: str) -> bool:
    """Whether it is one for write-files.sh: other lists name files too, in other words."""
    return re.match(r"file 0\d{3} \d+:\d+ \d+ /.*\n", stdin) is not None


@dataclass
class Recording:
    """All that one run of a program has asked of the engine."""

    registrations: list[Registration] = field(default_factory=list)
    # By URN: what components have published.
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    invokes: list[MockCallArgs] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None

    def __getitem__(self, name: str) -> Registration:
        """The one resource of a name."""
        (found,) = [r for r in self.registrations if r.name == name]
        return found

    def of_type(self, token: str) -> list[Registration]:
        return [r for r in self.registrations if r.type == token]

    @property
    def commands(self) -> list[Registration]:
        return self.of_type("command:local:Command")

    @property
    def host_states(self) -> list[Registration]:
        return self.of_type("pulumi-python:dynamic/host:State")

    @property
    def files(self) -> dict[str, WrittenFile]:
        """What write-files.sh writes, by its path."""
        return {
            path: WrittenFile(r.name, mode, owner, text)
            for r in self.host_states
            if _is_file_list(r.inputs["stdin"])
            for path, mode, owner, text in files_of(r.inputs["stdin"])
        }

    @property
    def scripted(self) -> list[Registration]:
        """All that runs a script of ours on the host."""
        return [*self.commands, *self.host_states]

    @property
    def containers(self) -> list[Registration]:
        return self.of_type("docker:index/container:Container")

    @property
    def components(self) -> list[Registration]:
        return [r for r in self.registrations if not r.request.custom]

    def waits_for(self, name: str) -> set[str]:
        """The names of all resources that must be done before this one, however many steps away."""
        by_urn = {r.urn: r for r in self.registrations}
        found: set[str] = set()
        waiting = list(self[name].request.dependencies)
        while waiting:
            urn = waiting.pop()
            if urn in by_urn and by_urn[urn].name not in found:
                found.add(by_urn[urn].name)
                waiting += by_urn[urn].request.dependencies
        return found


class Engine(pulumi.runtime.Mocks):
    """Records, and answers with the inputs plus the outputs that the program reads."""

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture
        self.recording = Recording()
        self.cloud = dict(CLOUD)
        self.monitor = _Monitor(self)

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        outputs: dict[str, Any] = {}
        match args.typ:
            case "docker:index/remoteImage:RemoteImage":
                outputs = {"imageId": image_id(args.inputs["name"]), "repoDigest": args.inputs["name"]}
            case "command:local:Command" if args.name == "host-architecture":
                outputs = {"stdout": self.architecture, "stderr": ""}
            case "command:local:Command" if args.name == "platform-tls-certificates":
                outputs = {"stdout": f"{CA_CERTIFICATE}# postgres-db 01\n", "stderr": ""}
            case "command:local:Command":
                outputs = {"stdout": f"stdout of {args.name}\n", "stderr": ""}
            case "oci:Core/publicIp:PublicIp":
                outputs = {"ipAddress": PUBLIC_ADDRESS}
        return f"{args.name}-id", args.inputs | outputs

    def call(self, args: MockCallArgs) -> dict[str, Any]:  # type: ignore[override]
        answers: dict[str, dict[str, Any]] = {
            "command:local:run": {"stdout": self.architecture},
            **self.cloud,
        }
        assert args.token in answers, f"unexpected invoke {args.token}"
        self.recording.invokes.append(args)
        return answers[args.token]

    def run(self, program: Callable[[], object]) -> Recording:
        """Run a program to its end. A fault of it is kept in the recording."""

        def with_exports() -> pulumi.Output[None]:
            program()
            root = cast("Stack", get_root_resource())
            return pulumi.Output.all(**root.outputs).apply(self.recording.exports.update)

        try:
            pulumi.runtime.test(with_exports)()
        except Exception as error:
            self.recording.error = error
        return self.recording


class _Monitor(MockMonitor):
    """Keeps the raw requests: they show secrets, protect, parents and dependencies."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._recording = engine.recording

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            self._recording.registrations.append(Registration(response.urn, request))
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self._recording.outputs[request.urn] = cast("dict[str, Any]", MessageToDict(request.outputs))
        return super().RegisterResourceOutputs(request)


def image_id(reference: str) -> str:
    """The id that the stand-in gives an image."""
    return "sha256:" + hashlib.sha256(reference.encode()).hexdigest()


@contextmanager
def open_engine(*, stack: str = "local", architecture: str = "amd64") -> Iterator[Engine]:
    """One event loop and one root stack: both would outlive a test."""
    # As Pulumi's own language host does: a run that fails leaves futures that nobody looks at.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    engine = Engine(architecture)
    pulumi.runtime.set_mocks(engine, PROJECT, stack, preview=False, monitor=engine.monitor)
    try:
        yield engine
    finally:
        pulumi.runtime.set_all_config({}, [])
        reset_options()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.set_event_loop(None)


def configure(plain: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
    """Give the program a stack's configuration, as the engine hands it over: text, objects as JSON.

    An object with a secret anywhere in it is secret as a whole, and its secrets stand in its JSON in the clear.
    """
    values, encrypted = (
        {
            f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in said.items()
        }
        for said in (plain, secrets)
    )
    pulumi.runtime.set_all_config(values | encrypted, list(encrypted))
