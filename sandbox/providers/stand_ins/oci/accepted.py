"""Values that the service takes, and what it says about others."""

import ipaddress
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sandbox.providers.stand_ins.oci.service_error import invalid, not_found

_MULTI_DOMAIN = {"eu-frankfurt-1", "uk-london-1", "us-ashburn-1", "us-phoenix-1"}
"""Regions with three availability domains; the others have one."""
_OLD_DOMAIN_NAMES = {"us-phoenix-1": "PHX", "us-ashburn-1": "US-ASHBURN"}


def availability_domains(region: str) -> list[str]:
    """Their names in the simulated tenancy."""
    prefix = _OLD_DOMAIN_NAMES.get(region, region.upper())
    return [f"Uocm:{prefix}-AD-{number}" for number in range(1, 4 if region in _MULTI_DOMAIN else 2)]


def known_domain(region: str, name: str) -> None:
    """Refuse an availability domain that the region does not have."""
    if name.casefold() not in {domain.casefold() for domain in availability_domains(region)}:
        raise not_found(f"availability domain {name}")


def compartment(ocid: str) -> None:
    """Refuse what is no compartment; the root compartment is the tenancy."""
    if not re.fullmatch(r"ocid1\.(compartment|tenancy)\.oc1\.\.[a-z0-9]+", ocid):
        raise invalid(f"Invalid compartmentId {ocid}")


def tenancy(ocid: str) -> None:
    """Refuse what is no tenancy."""
    if not re.fullmatch(r"ocid1\.tenancy\.oc1\.\.[a-z0-9]+", ocid):
        raise not_found(f"tenancy {ocid}")


def cidr(text: str) -> IPv4Network:
    """A network; one whose address has host bits is refused."""
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise invalid(f"The requested CIDR {text} is invalid: {error}.") from error


def subnet_range(text: str) -> IPv4Network:
    """A network of a size that a VCN or a subnet may have."""
    network = cidr(text)
    if not 16 <= network.prefixlen <= 30:
        raise invalid(f"The requested CIDR {text} is invalid: the prefix must be between /16 and /30.")
    return network


def address(text: str) -> IPv4Address:
    """An IPv4 address."""
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise invalid(f"Invalid IP address {text}: {error}.") from error


def free_address(network: IPv4Network, taken: Iterable[str]) -> str:
    """The first address that an instance can have."""
    used = set(taken)
    for candidate in list(network)[2:-1]:
        if str(candidate) not in used:
            return str(candidate)
    raise invalid(f"The subnet {network} has no free address.")


def dns_label(text: str) -> None:
    """Refuse a label that cannot stand in a host name of the VCN."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,14}", text):
        raise invalid(
            f"dnsLabel {text} is invalid: it must begin with a letter, and have 1 to 15 letters and digits."
        )


def whole_number(name: str, text: str, least: int, most: int) -> int:
    """A number that the API takes as text."""
    if not re.fullmatch(r"\d+", text) or not least <= int(text) <= most:
        raise invalid(f"{name} {text} is invalid: it must be a whole number from {least} to {most}.")
    return int(text)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Refuse a value that is not in the list."""
    if value not in allowed:
        raise invalid(f"{name} {value!r} is invalid: it must be one of {', '.join(sorted(allowed))}.")
