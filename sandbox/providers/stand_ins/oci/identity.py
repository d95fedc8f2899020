"""Dynamic groups and policies: identity resources of the tenancy, changed in its home region only."""

import re
from typing import Any

from sandbox.providers.stand_ins.oci import accepted, kinds
from sandbox.providers.stand_ins.oci.cloud import Cloud, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import ServiceError, conflict, invalid

_STATEMENT = re.compile(r"\s*(allow|endorse|admit|define|deny)\s+\S.*", re.IGNORECASE | re.DOTALL)


class _Identity(Resource):
    alive = "ACTIVE"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Names are unique; the service knows them by letters, digits and -_. only."""
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", inputs["name"]):
            raise invalid(
                f"name {inputs['name']!r} is invalid: use letters, digits, hyphens, underscores and periods."
            )
        if not inputs["description"]:
            raise invalid("description must not be empty.")
        same = state.all(self.type, name=inputs["name"], compartmentId=inputs["compartmentId"])
        for other in same.keys() - {resource_id}:
            raise conflict(f"{self.title} with name {inputs['name']} already exists: {other}.")

    def create(self, cloud: Cloud, inputs: dict[str, Any]) -> str:
        """In the home region only."""
        _at_home(cloud)
        return super().create(cloud, inputs)

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """In the home region only."""
        _at_home(cloud)
        super().update(cloud, resource_id, inputs)

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """In the home region only."""
        _at_home(cloud)
        super().delete(cloud, resource_id)


class DynamicGroup(_Identity):
    """The instances that a rule describes, as principals."""

    kind = kinds.DYNAMIC_GROUP
    type = "dynamicgroup"
    title = "DynamicGroup"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """It belongs to the tenancy, and has a rule about instances."""
        accepted.tenancy(inputs["compartmentId"])
        super().check(state, inputs, resource_id)
        rule = inputs["matchingRule"]
        if rule.count("{") != rule.count("}") or not re.search(
            r"(instance|resource)\.[a-z.]+\s*=\s*'[^']+'", rule
        ):
            raise invalid(f"Invalid matching rule: {rule}")


class Policy(_Identity):
    """Statements about what a group may do."""

    kind = kinds.POLICY
    type = "policy"
    title = "Policy"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Statements must begin like statements, and name dynamic groups that exist."""
        accepted.compartment(inputs["compartmentId"])
        super().check(state, inputs, resource_id)
        if not inputs["statements"]:
            raise invalid("statements must have at least one statement.")
        groups = {record.properties["name"].lower() for record in state.all("dynamicgroup").values()}
        for statement in inputs["statements"]:
            if not _STATEMENT.fullmatch(statement):
                raise invalid(f"Statement '{statement}' is not parsable")
            for name in re.findall(
                r"dynamic-group\s+(?:'Default'/)?'?([A-Za-z0-9_.-]+)", statement, re.IGNORECASE
            ):
                if name.lower() not in groups and name.lower() != "id":
                    raise invalid(
                        f"Statement '{statement}' names the dynamic-group {name}, which does not exist"
                    )


def _at_home(cloud: Cloud) -> None:
    home = cloud.settings().home_region
    if cloud.region != home:
        raise ServiceError(
            403,
            "NotAllowed",
            f"Please go to your home region {home} to execute CREATE, UPDATE and DELETE operations.",
        )
