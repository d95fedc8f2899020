"""Rules of security lists and network security groups, as the service takes them."""

from typing import Any

from sandbox.providers.stand_ins.errors import ProviderError, not_part
from sandbox.providers.stand_ins.oci import accepted
from sandbox.providers.stand_ins.oci.cloud import State
from sandbox.providers.stand_ins.oci.service_error import invalid

_TCP, _UDP = "6", "17"
_ICMP = {"1", "58"}


def check(state: State, rule: dict[str, Any], side: str, vcn_id: str, groups: bool) -> None:
    """Refuse a rule; `side` is source or destination, `groups` whether a group can stand there."""
    _protocol(rule["protocol"])
    _peer(state, rule.get(side), rule.get(f"{side}Type") or "CIDR_BLOCK", side, vcn_id, groups)
    for options, protocols in (("tcpOptions", {_TCP}), ("udpOptions", {_UDP}), ("icmpOptions", _ICMP)):
        if rule.get(options) is not None and rule["protocol"] not in protocols:
            raise invalid(f"{options} is not allowed for protocol {rule['protocol']}.")
    for options in ("tcpOptions", "udpOptions"):
        given = rule.get(options) or {}
        for name in ("sourcePortRange", "destinationPortRange"):
            if given.get(name):
                _ports(given[name])
        if "min" in given or "max" in given:
            _ports(given)


def group_of(state: State, group_id: str, vcn_id: str) -> None:
    """Refuse a network security group that does not exist in the VCN."""
    if state.get(group_id, "networksecuritygroup").properties["vcnId"] != vcn_id:
        raise invalid(f"The network security group {group_id} is not in VCN {vcn_id}.")


def _protocol(text: str) -> None:
    if text != "all":
        accepted.whole_number("protocol", text, 0, 255)


def _peer(state: State, peer: str | None, kind: str, side: str, vcn_id: str, groups: bool) -> None:
    if not peer:
        raise invalid(f"{side} must be given in a security rule of this direction.")
    accepted.one_of(f"{side}Type", kind, {"CIDR_BLOCK", "SERVICE_CIDR_BLOCK", "NETWORK_SECURITY_GROUP"})
    if kind == "CIDR_BLOCK":
        accepted.cidr(peer)
    elif kind == "SERVICE_CIDR_BLOCK":
        raise ProviderError(not_part(f"{side}Type SERVICE_CIDR_BLOCK is"))
    elif not groups:
        raise invalid(f"{side}Type {kind} is not allowed in a security list.")
    else:
        group_of(state, peer, vcn_id)


def _ports(given: dict[str, Any]) -> None:
    low, high = given.get("min"), given.get("max")
    if low is None or high is None or not 1 <= low <= high <= 65535:
        raise invalid(f"The port range {low} to {high} is invalid: min and max must be 1 to 65535, in order.")
