"""What all resource types of the simulated cloud have in common."""

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.providers.stand_ins.kind import Kind
from sandbox.providers.stand_ins.oci.cloud import Cloud, State, now
from sandbox.providers.stand_ins.oci.service_error import ServiceError, still_references

_MAPS = {"freeformTags", "metadata"}
"""Inputs whose keys are the program's own: a new value replaces the old one as a whole."""


class Resource:
    """A resource type that lives in the state file alone; the others extend it."""

    kind: Kind
    type: str
    """The type in the OCID."""
    title: str
    """How the service calls it in its messages."""
    alive: str | None = "AVAILABLE"
    """The lifecycle state of one that can be used; None for types that have none."""

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Refuse what the service would refuse; `resource_id` is None for a new one."""

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """What the service chooses when the program says nothing, and what only it knows."""
        return {}

    def hidden(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """What the service keeps for itself."""
        return {}

    def users(self, state: State, resource_id: str) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """What is in the way of its deletion: title and id."""
        yield from ()

    def new_id(self, state: State, inputs: dict[str, Any]) -> str:  # noqa: ARG002
        """The id of a new resource."""
        return state.new_id(self.type)

    def create(self, cloud: Cloud, inputs: dict[str, Any]) -> str:
        """Make it; what fails leaves nothing behind."""
        with cloud.state() as state:
            resource_id = self._add(state, inputs)
        try:
            self.made(cloud, resource_id)
        except ServiceError:
            with cloud.state() as state:
                state.records.pop(resource_id, None)
            raise
        return resource_id

    def made(self, cloud: Cloud, resource_id: str) -> None:
        """What has to happen outside the state file, once it is in there."""

    def unmade(self, cloud: Cloud, resource_id: str) -> None:
        """What has to be undone outside the state file, before it leaves there."""

    def read(self, cloud: Cloud, resource_id: str) -> dict[str, Any] | None:
        """All properties; None if it is gone."""
        with cloud.state() as state:
            record = state.find(resource_id, self.type)
            return record and dict(record.properties)

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """Take over inputs that can change in place."""
        with cloud.state() as state:
            record = state.get(resource_id, self.type)
            self.check(state, inputs, resource_id)
            record.properties = _overlaid(record.properties, inputs)

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """Remove it unless something uses it."""
        with cloud.state() as state:
            state.get(resource_id, self.type)
            for other, other_id in self.users(state, resource_id):
                raise still_references(self.title, resource_id, other, other_id)
        self.unmade(cloud, resource_id)
        with cloud.state() as state:
            state.records.pop(resource_id, None)

    def _add(self, state: State, inputs: dict[str, Any]) -> str:
        self.check(state, inputs, None)
        resource_id = self.new_id(state, inputs)
        created = now()
        chosen: dict[str, Any] = {"timeCreated": created}
        if self.alive:
            chosen["state"] = self.alive
        if "displayName" in self.kind.chosen:
            chosen["displayName"] = self.type + "".join(filter(str.isdigit, created))[:14]
        if "freeformTags" in self.kind.chosen:
            chosen["freeformTags"] = {}
        chosen |= self.computed(state, inputs)
        state.add(resource_id, self.type, _overlaid(chosen, inputs), self.hidden(state, inputs))
        return resource_id


def _overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`; objects are merged, lists and maps of the user's replaced."""
    result = dict(base)
    for name, value in over.items():
        kept = result.get(name)
        if name not in _MAPS and isinstance(kept, Mapping) and isinstance(value, Mapping):
            result[name] = _overlaid(kept, value)
        else:
            result[name] = value
    return result
