"""What is made in OCI: who gets in, where it is, what it runs on."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from policy.model import Resource, Rule, Stack
from policy.tree import entries, known

GROUP_RULE = "oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule"
LISTS = ("oci:Core/securityList:SecurityList", "oci:Core/defaultSecurityList:DefaultSecurityList")
INSTANCE = "oci:Core/instance:Instance"
PROVIDER = "pulumi:providers:oci"

# A wider network than these (prefix length by IP version) is nobody's own: half of the internet is as open as all of it.
WIDEST = {4: 8, 6: 16}
# Ampere, as images are pinned for; components/host_settings.py has the same.
SHAPES = ("VM.Standard.A1.Flex", "VM.Standard.A2.Flex", "VM.Standard.A4.Flex")
# Oracle's commercial regions. A new one is added here, in a change that somebody looks at.
REGIONS = {
    *("af-johannesburg-1", "ap-batam-1", "ap-chuncheon-1", "ap-hyderabad-1", "ap-melbourne-1", "ap-mumbai-1"),
    *("ap-osaka-1", "ap-seoul-1", "ap-singapore-1", "ap-singapore-2", "ap-sydney-1", "ap-tokyo-1"),
    *("ca-montreal-1", "ca-toronto-1", "eu-amsterdam-1", "eu-frankfurt-1", "eu-madrid-1", "eu-madrid-3"),
    *("eu-marseille-1", "eu-milan-1", "eu-paris-1", "eu-stockholm-1", "eu-turin-1", "eu-zurich-1"),
    *("il-jerusalem-1", "me-abudhabi-1", "me-dubai-1", "me-jeddah-1", "me-riyadh-1", "mx-monterrey-1"),
    *("mx-queretaro-1", "sa-bogota-1", "sa-santiago-1", "sa-saopaulo-1", "sa-valparaiso-1", "sa-vinhedo-1"),
    *("uk-cardiff-1", "uk-london-1", "us-ashburn-1", "us-chicago-1", "us-phoenix-1", "us-sanjose-1"),
}


def open_ingress(resource: Resource, _stack: Stack) -> Iterator[str]:
    """Nobody is let in from everywhere, whatever the port."""
    for rule in _ingress(resource):
        source = rule.get("source")
        if isinstance(source, str) and _everywhere(source):
            yield (
                f"{resource.name} lets in everybody ({source}); write the networks of those who need it, such as "
                "203.0.113.7/32, in host.sshCidrs or network.clientCidrs"
            )


def _ingress(resource: Resource) -> list[Mapping[str, Any]]:
    if resource.type in LISTS:
        return entries(resource.inputs, "ingressSecurityRules")
    if resource.type == GROUP_RULE and resource.inputs.get("direction") != "EGRESS":
        return [resource.inputs]
    return []


def _everywhere(source: str) -> bool:
    try:
        network = ip_network(source, strict=False)
    except ValueError:
        # The OCID of a group, or the name of a service.
        return False
    return network.prefixlen < WIDEST[network.version]


def region(resource: Resource, _stack: Stack) -> Iterator[str]:
    """Only where somebody has decided that data may be."""
    said = resource.inputs.get("region")
    if resource.type == PROVIDER and known(said) and said not in REGIONS:
        yield (
            f"{resource.name} is for the region {said}, which is not a known one; write one such as eu-frankfurt-1 in "
            "host.region, or add it to REGIONS in policy/rules/cloud.py"
        )


def shape(resource: Resource, _stack: Stack) -> Iterator[str]:
    """Only machines for which images are pinned."""
    said = resource.inputs.get("shape")
    if resource.type == INSTANCE and known(said) and said not in SHAPES:
        yield (
            f"{resource.name} has the shape {said}, and images are pinned for Ampere (arm64); write "
            f"{', '.join(SHAPES[:-1])} or {SHAPES[-1]} in host.shape"
        )


RULES = [
    Rule(name="no-open-ingress", title="Nobody is let in from everywhere.", check=open_ingress),
    Rule(name="known-region", title="Data is in a known region.", check=region),
    Rule(name="known-shape", title="Machines are of a known shape.", check=shape),
]
