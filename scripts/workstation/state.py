"""A stack's state as pulumi exports it, and the edits that a lost or an ended machine needs. Secrets stay encrypted."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from scripts.workstation.session import Session, complaint
from scripts.workstation.shell import answer, logged
from scripts.workstation.trouble import Trouble

INSTANCE = "oci:Core/instance:Instance"
ATTACHMENT = "oci:Core/volumeAttachment:VolumeAttachment"
CONSOLE_HISTORY = "oci:Core/consoleHistory:ConsoleHistory"
CONTAINER = "docker:index/container:Container"
COMMAND = "command:local:Command"
TREE = "platform-tree"

# What Docker, a command or a HostState (pulumi-python:dynamic/host:State) has made, and the providers of these.
_ON_A_HOST = (
    *("docker:", "command:", "pulumi-python:dynamic"),
    *("pulumi:providers:docker", "pulumi:providers:command", "pulumi:providers:pulumi-python"),
)

Resource = Mapping[str, Any]


def is_on_a_host(resource: Resource) -> bool:
    """Whether a resource is something that Docker or a script has made, which a lost machine takes with it."""
    return str(resource.get("type")).startswith(_ON_A_HOST)


class State:
    """One export, which edits leave as it is: they return another."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    def text(self) -> str:
        """As pulumi reads it."""
        return json.dumps(self.document)

    @property
    def resources(self) -> list[Resource]:
        """All resources, those that wait for their deletion too."""
        return list((self.document.get("deployment") or {}).get("resources") or [])

    def of_type(self, kind: str) -> list[Resource]:
        """The live resources of a type."""
        return [r for r in self.resources if r.get("type") == kind and not r.get("delete")]

    def only(self, kind: str) -> str | None:
        """The URN of the one live resource of a type, if there is one."""
        return next((str(r["urn"]) for r in self.of_type(kind)), None)

    def holds_tree(self) -> bool:
        """Whether this stack has made, or was making, the platform's folders."""
        deployment = self.document.get("deployment") or {}
        begun = [p.get("resource") or {} for p in deployment.get("pending_operations") or []]
        return any(
            r.get("type") == COMMAND and str(r.get("urn")).endswith(f"::{TREE}")
            for r in [*self.resources, *begun]
        )

    def protected_with(self, urn: str) -> list[str]:
        """Those protected resources that end with the resource `urn`, and itself."""
        return [
            str(r["urn"])
            for r in self.resources
            if r.get("protect") and (r["urn"] == urn or r.get("deletedWith") == urn)
        ]

    def with_protection(self, urns: Collection[str], protect: bool) -> "State":
        """The same, with the protection of these set or lifted."""
        return self._with_resources(
            {**r, "protect": protect} if r["urn"] in urns else r for r in self.resources
        )

    def without(self, dropped: Callable[[Resource], bool]) -> "State":
        """The same without some resources and without any mention of them, which an import would refuse."""
        kept = [r for r in self.resources if not dropped(r)]
        gone = {str(r["urn"]) for r in self.resources} - {str(r["urn"]) for r in kept}
        parents = {str(r["urn"]): r.get("parent") for r in self.resources}
        return self._with_resources(_unmentioned(r, gone, parents) for r in kept)._without_pending(gone)

    def _with_resources(self, resources: Iterable[Resource]) -> "State":
        deployment = {**self.document["deployment"], "resources": list(resources)}
        return State({**self.document, "deployment": deployment})

    def _without_pending(self, gone: Collection[str]) -> "State":
        deployment = dict(self.document["deployment"])
        pending = [p for p in deployment.get("pending_operations") or [] if not _is_pending_on(p, gone)]
        if "pending_operations" in deployment:
            deployment["pending_operations"] = pending
        return State({**self.document, "deployment": deployment})


def _is_pending_on(operation: Mapping[str, Any], gone: Collection[str]) -> bool:
    resource = operation.get("resource") or {}
    return is_on_a_host(resource) or resource.get("urn") in gone


def _unmentioned(
    resource: Resource, gone: Collection[str], parents: Mapping[str, str | None]
) -> dict[str, Any]:
    """A resource that mentions none of those that are gone; a parent's place is taken by the parent's own."""
    cleaned = dict(resource)
    for key in ("dependencies", "replaceWith"):
        if key in cleaned:
            cleaned[key] = [urn for urn in cleaned[key] or [] if urn not in gone]
    if properties := cleaned.get("propertyDependencies"):
        cleaned["propertyDependencies"] = {
            name: [urn for urn in urns or [] if urn not in gone] for name, urns in properties.items()
        }
    if cleaned.get("deletedWith") in gone:
        del cleaned["deletedWith"]
    while (parent := cleaned.get("parent")) in gone:
        cleaned["parent"] = parents[str(parent)]
    if not cleaned.get("parent"):
        cleaned.pop("parent", None)
    return cleaned


def read(session: Session) -> State:
    """The stack's state now."""
    said = answer(session.words("stack", "export"), environment=session.environment, timeout=120)
    if said.returncode:
        raise Trouble(f"the state of stack {session.stack} cannot be read: {complaint(said.stderr)}")
    return State(json.loads(said.stdout))


def write(session: Session, state: State) -> None:
    """Put an edited state in the place of the stack's. On standard input: no copy is left on a disk."""
    logged(
        session.words("stack", "import", "--non-interactive"),
        log="stack-import",
        failure=f"the state of stack {session.stack} could not be changed, and is as it was",
        environment=session.environment,
        stdin=state.text(),
    )


def containers(state: State) -> dict[str, str]:
    """The Docker ids, by container name, of the containers that the state holds."""
    return {str(r["outputs"]["name"]): str(r["id"]) for r in state.of_type(CONTAINER) if r.get("id")}
