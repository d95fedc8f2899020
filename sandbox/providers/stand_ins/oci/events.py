"""Rules of the Events service. The simulated cloud has no events: a rule is never met."""

import json
from typing import Any

from sandbox.providers.stand_ins.oci import accepted, kinds, notifications
from sandbox.providers.stand_ins.oci.cloud import Cloud, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import invalid

_MOST_ACTIONS = 10


class Rule(Resource):
    """What happens when an event is met; only actions that publish to a topic."""

    kind = kinds.RULE
    type = "eventrule"
    title = "Rule"
    alive = "ACTIVE"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """The condition must be JSON of the service's form, each action one on a topic that exists."""
        accepted.compartment(inputs["compartmentId"])
        if not inputs["displayName"]:
            raise invalid("displayName must not be empty.")
        _condition(inputs.get("condition"))
        actions = inputs["actions"].get("action", [])
        if not 1 <= len(actions) <= _MOST_ACTIONS:
            raise invalid(f"A rule must have 1 to {_MOST_ACTIONS} actions, not {len(actions)}.")
        for action in actions:
            accepted.one_of("actionType", action["actionType"].upper(), {"ONS"})
            notifications.topic(state, action.get("topicId"))

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """What the service chooses."""
        return {"description": "", "lifecycleMessage": ""}

    def read(self, cloud: Cloud, resource_id: str) -> dict[str, Any] | None:
        """A rule that is switched off is inactive; so is an action."""
        found = super().read(cloud, resource_id)
        if found is None:
            return None
        actions = [
            {"description": "", "lifecycleMessage": "", **action, "state": _state(action["isEnabled"])}
            for action in found["actions"]["action"]
        ]
        return found | {"state": _state(found["isEnabled"]), "actions": {"action": actions}}


def _state(enabled: bool) -> str:
    return "ACTIVE" if enabled else "INACTIVE"


def _condition(text: Any) -> None:
    try:
        condition = json.loads(text)
    except (TypeError, ValueError):
        raise invalid(f"Invalid condition: it is no JSON: {text}") from None
    if not isinstance(condition, dict) or not condition.keys() <= {"eventType", "source", "data"}:  # pyright: ignore
        raise invalid(
            f"Invalid condition: only eventType, source and data are attributes of an event: {text}"
        )
