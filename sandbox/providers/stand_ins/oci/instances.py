"""What other resources ask about instances: their addresses, and which of them somebody else removed."""

from sandbox.providers.stand_ins.oci.cloud import Cloud, Record, State
from sandbox.providers.stand_ins.oci.service_error import not_found

PUBLIC_POOL = tuple(f"198.51.100.{host}" for host in range(10, 250))
"""Public addresses: TEST-NET-2 of RFC 5737, which is one network of the machines."""


def addresses(state: State, subnet_id: str) -> list[str]:
    """The private addresses in use in a subnet."""
    return [record.properties["privateIp"] for record in state.all("instance", subnetId=subnet_id).values()]


def with_private_ip(state: State, private_ip_id: str) -> tuple[str, Record]:
    """The instance that has a private IP, by the OCID of the latter."""
    for instance_id, record in state.all("instance").items():
        if record.hidden["privateIpId"] == private_ip_id:
            return instance_id, record
    raise not_found(f"privateip {private_ip_id}")


def public_address(state: State, record: Record) -> str:
    """The public address of an instance; empty if it has none."""
    for reserved in state.all("publicip", assignedEntityId=record.hidden["privateIpId"]).values():
        return reserved.properties["ipAddress"]
    return record.hidden["ephemeralIp"]


def unused_public_address(state: State) -> str:
    """A public address that nobody has, in any region."""
    used = {record.properties["ipAddress"] for record in state.records.values() if record.type == "publicip"}
    used |= {record.hidden["ephemeralIp"] for record in state.records.values() if record.type == "instance"}
    return next(address for address in PUBLIC_POOL if address not in used)


def forget_lost(cloud: Cloud) -> None:
    """Take instances whose machine is gone for terminated."""
    with cloud.state() as state:
        launched = [key for key, record in state.all("instance").items() if record.hidden["launched"]]
    with cloud.machines() as machines:
        lost = [instance_id for instance_id in launched if machines.state(instance_id) is None]
        for instance_id in lost:
            machines.terminate(instance_id)  # its volumes are still taken for attached there
    if lost:
        with cloud.state() as state:
            for instance_id in lost:
                forget(state, instance_id)


def forget(state: State, instance_id: str) -> None:
    """Remove a terminated instance: its volumes are detached, its reserved address stays without it."""
    record = state.records.pop(instance_id, None)
    for attachment_id in state.all("volumeattachment", instanceId=instance_id):
        del state.records[attachment_id]
    if record is not None:
        for reserved in state.all("publicip", assignedEntityId=record.hidden["privateIpId"]).values():
            unassign(reserved)


def unassign(reserved: Record) -> None:
    """A reserved address keeps its address."""
    for name in ("assignedEntityId", "privateIpId"):
        reserved.properties.pop(name, None)
    reserved.properties |= {"assignedEntityType": "", "state": "AVAILABLE"}
