"""Reserved public addresses."""

from typing import Any

from sandbox.providers.stand_ins.errors import ProviderError, not_part
from sandbox.providers.stand_ins.oci import accepted, instances, kinds
from sandbox.providers.stand_ins.oci.cloud import Cloud, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import conflict, invalid


class PublicIp(Resource):
    """A public address that outlives the instance it is assigned to."""

    kind = kinds.PUBLIC_IP
    type = "publicip"
    title = "Public IP"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """The private IP must exist, may be public, and must not have another public address."""
        accepted.compartment(inputs["compartmentId"])
        accepted.one_of("lifetime", inputs["lifetime"], {"RESERVED", "EPHEMERAL"})
        if inputs["lifetime"] != "RESERVED":
            raise ProviderError(not_part("lifetime EPHEMERAL is"))
        private_ip_id = inputs.get("privateIpId")
        if not private_ip_id:
            return
        _, instance = instances.with_private_ip(state, private_ip_id)
        subnet_id = instance.properties["subnetId"]
        if state.get(subnet_id, "subnet").properties["prohibitPublicIpOnVnic"]:
            raise invalid(f"The subnet {subnet_id} does not allow public IPs on VNICs.")
        others = state.all(self.type, assignedEntityId=private_ip_id).keys() - {resource_id}
        if others or instance.hidden["ephemeralIp"]:
            raise conflict(f"The private IP {private_ip_id} already has a public IP.")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """An address of the pool."""
        return {
            "assignedEntityType": "",
            "ipAddress": instances.unused_public_address(state),
            "scope": "REGION",
        }

    def create(self, cloud: Cloud, inputs: dict[str, Any]) -> str:
        """The instance must still be there."""
        instances.forget_lost(cloud)
        return super().create(cloud, inputs)

    def made(self, cloud: Cloud, resource_id: str) -> None:
        """Assign it, if it is to be."""
        with cloud.state() as state:
            private_ip_id = state.get(resource_id, self.type).properties.get("privateIpId")
        if private_ip_id:
            self._assign(cloud, resource_id, private_ip_id)

    def read(self, cloud: Cloud, resource_id: str) -> dict[str, Any] | None:
        """It is unassigned when its instance is gone."""
        instances.forget_lost(cloud)
        return super().read(cloud, resource_id)

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """It can move to another private IP, or to none."""
        instances.forget_lost(cloud)
        with cloud.state() as state:
            before = state.get(resource_id, self.type).properties.get("privateIpId", "")
            self.check(state, inputs, resource_id)
        after = inputs.get("privateIpId", "")
        if before and before != after:
            self.unmade(cloud, resource_id)
        super().update(cloud, resource_id, inputs)
        if after and before != after:
            self._assign(cloud, resource_id, after)

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """Give the address back."""
        instances.forget_lost(cloud)
        super().delete(cloud, resource_id)

    def unmade(self, cloud: Cloud, resource_id: str) -> None:
        """Unassign it."""
        with cloud.state() as state:
            reserved = state.get(resource_id, self.type).properties
            private_ip_id = reserved.get("assignedEntityId")
            if not private_ip_id:
                return
            instance_id, _ = instances.with_private_ip(state, private_ip_id)
        with cloud.machines() as machines:
            machines.disconnect_public(instance_id, reserved["ipAddress"])
        with cloud.state() as state:
            instances.unassign(state.get(resource_id, self.type))

    def _assign(self, cloud: Cloud, resource_id: str, private_ip_id: str) -> None:
        with cloud.state() as state:
            instance_id, _ = instances.with_private_ip(state, private_ip_id)
            address = state.get(resource_id, self.type).properties["ipAddress"]
        with cloud.machines() as machines:
            machines.connect_public(instance_id, address)
        with cloud.state() as state:
            state.get(resource_id, self.type).properties |= {
                "assignedEntityId": private_ip_id,
                "assignedEntityType": "PRIVATE_IP",
                "state": "ASSIGNED",
            }
