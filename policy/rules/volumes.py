"""Where data is: on a volume that is protected and backed up, below srvRoot."""

from collections.abc import Iterator, Sequence

from policy.model import Resource, Rule, Stack, StackRule
from policy.rules.containers import CONTAINER
from policy.tree import entries

VOLUME = "oci:Core/volume:Volume"
ASSIGNMENT = "oci:Core/volumeBackupPolicyAssignment:VolumeBackupPolicyAssignment"
DOCKER_VOLUME = "docker:index/volume:Volume"


def protected(resource: Resource, _stack: Stack) -> Iterator[str]:
    """No `destroy` and no replacement takes data along."""
    if resource.type == VOLUME and not resource.protected:
        yield f"{resource.name} holds data and is not protected; write ResourceOptions(protect=True, retain_on_delete=True)"


def below_srv_root(resource: Resource, stack: Stack) -> Iterator[str]:
    """No backup sees what is in a volume of Docker."""
    instead = f"write host_path with a folder below {stack.srv_root}"
    if resource.type == DOCKER_VOLUME:
        yield f"{resource.name} is a volume of Docker, which no backup sees; {instead} in the container's volumes"
    elif resource.type == CONTAINER:
        for volume in entries(resource.inputs, "volumes"):
            if not volume.get("hostPath"):
                yield f"{resource.name} keeps {volume.get('containerPath')} in a volume of Docker, which no backup sees; {instead}"


def backed_up(resources: Sequence[Resource], _stack: Stack) -> Iterator[tuple[Resource, str]]:
    """A volume is lost with its disk unless something copies it."""
    assigned = {
        urn
        for resource in resources
        if resource.type == ASSIGNMENT
        for urn in resource.needs.get("assetId", ())
    }
    for resource in resources:
        if resource.type == VOLUME and resource.urn not in assigned:
            yield (
                resource,
                f"{resource.name} holds data and has no backups; write a VolumeBackupPolicyAssignment with asset_id of the volume",
            )


RULES = [
    Rule(name="volume-protected", title="Volumes with data are protected.", check=protected),
    Rule(name="volume-below-srv-root", title="Data is where backups see it.", check=below_srv_root),
]
STACK_RULES = [StackRule(name="volume-backed-up", title="Volumes with data are backed up.", check=backed_up)]
