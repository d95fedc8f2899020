"""VCN and what is in it. A subnet is a network of the machines; the rest stands in the state file alone."""

import secrets
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from sandbox.providers.stand_ins.errors import ProviderError, not_part
from sandbox.providers.stand_ins.oci import accepted, instances, kinds, security_rules
from sandbox.providers.stand_ins.oci.cloud import Cloud, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import ServiceError, conflict, invalid


class Vcn(Resource):
    """A virtual cloud network, with the ids of its default parts."""

    kind = kinds.VCN
    type = "vcn"
    title = "VCN"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """Its ranges must be valid and apart."""
        accepted.compartment(inputs["compartmentId"])
        ranges = [accepted.subnet_range(text) for text in inputs.get("cidrBlocks") or []]
        if not ranges:
            raise invalid("cidrBlocks must have at least one range.")
        for one, other in combinations(ranges, 2):
            if one.overlaps(other):
                raise invalid(f"The CIDR blocks {one} and {other} overlap.")
        if "dnsLabel" in inputs:
            accepted.dns_label(inputs["dnsLabel"])

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:
        """Default parts exist as ids only."""
        label = inputs.get("dnsLabel")
        return {
            "cidrBlock": inputs["cidrBlocks"][0],
            "defaultDhcpOptionsId": state.new_id("dhcpoptions"),
            "defaultRouteTableId": state.new_id("routetable"),
            "defaultSecurityListId": state.new_id("securitylist"),
            **({"vcnDomainName": f"{label}.oraclevcn.com".lower()} if label else {}),
        }

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """The ranges can change as long as every subnet stays inside."""
        with cloud.state() as state:
            ranges = [accepted.subnet_range(text) for text in inputs["cidrBlocks"]]
            for subnet_id, subnet in state.all("subnet", vcnId=resource_id).items():
                if not any(accepted.cidr(subnet.properties["cidrBlock"]).subnet_of(own) for own in ranges):
                    raise invalid(f"The subnet {subnet_id} is outside of the new CIDR blocks.")
        super().update(cloud, resource_id, inputs)

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """The service names a gateway only by its kind."""
        with cloud.state() as state:
            if state.all("internetgateway", vcnId=resource_id):
                raise ServiceError(
                    409, "IncorrectState", f"{resource_id} is associated with Gateway that is in use"
                )
        super().delete(cloud, resource_id)

    def users(self, state: State, resource_id: str) -> Iterator[tuple[str, str]]:
        """Everything that was made in it."""
        for part in (Subnet, RouteTable, SecurityList, NetworkSecurityGroup):
            for other_id in state.all(part.type, vcnId=resource_id):
                yield part.title, other_id


class _InVcn(Resource):
    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """Compartment and VCN must exist."""
        accepted.compartment(inputs["compartmentId"])
        state.get(inputs["vcnId"], "vcn")


class InternetGateway(_InVcn):
    """The way out of the VCN; one a VCN."""

    kind = kinds.INTERNET_GATEWAY
    type = "internetgateway"
    title = "Internet Gateway"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """The service allows one."""
        super().check(state, inputs, resource_id)
        for other in state.all(self.type, vcnId=inputs["vcnId"]).keys() - {resource_id}:
            raise ServiceError(
                400, "LimitExceeded", f"The VCN {inputs['vcnId']} already has the internet gateway {other}."
            )

    def users(self, state: State, resource_id: str) -> Iterator[tuple[str, str]]:
        """Route tables that lead to it."""
        for table_id, table in state.all("routetable").items():
            if any(rule["networkEntityId"] == resource_id for rule in table.properties["routeRules"]):
                yield RouteTable.title, table_id


class RouteTable(_InVcn):
    """Routes to internet gateways."""

    kind = kinds.ROUTE_TABLE
    type = "routetable"
    title = "Route Table"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Targets must exist in the same VCN."""
        super().check(state, inputs, resource_id)
        for rule in inputs.get("routeRules", []):
            kind = rule.get("destinationType") or "CIDR_BLOCK"
            if kind == "SERVICE_CIDR_BLOCK":
                raise ProviderError(not_part("destinationType SERVICE_CIDR_BLOCK is"))
            accepted.one_of("destinationType", kind, {"CIDR_BLOCK"})
            accepted.cidr(rule.get("destination") or "")
            gateway = state.get(rule["networkEntityId"], "internetgateway")
            if gateway.properties["vcnId"] != inputs["vcnId"]:
                raise invalid(
                    f"The gateway {rule['networkEntityId']} is not in the VCN of the route table, {inputs['vcnId']}."
                )

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """No rules unless given."""
        return {"routeRules": []}

    def users(self, state: State, resource_id: str) -> Iterator[tuple[str, str]]:
        """Subnets with it."""
        for subnet_id in state.all("subnet", routeTableId=resource_id):
            yield Subnet.title, subnet_id


class SecurityList(_InVcn):
    """Rules for whole subnets."""

    kind = kinds.SECURITY_LIST
    type = "securitylist"
    title = "Security List"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Each rule must be valid."""
        super().check(state, inputs, resource_id)
        for name, side in (("ingressSecurityRules", "source"), ("egressSecurityRules", "destination")):
            for rule in inputs.get(name, []):
                security_rules.check(state, rule, side, inputs["vcnId"], groups=False)

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """No rules unless given."""
        return {"ingressSecurityRules": [], "egressSecurityRules": []}

    def users(self, state: State, resource_id: str) -> Iterator[tuple[str, str]]:
        """Subnets with it."""
        for subnet_id, subnet in state.all("subnet").items():
            if resource_id in subnet.properties["securityListIds"]:
                yield Subnet.title, subnet_id


class Subnet(_InVcn):
    """A part of the VCN: a network of the machines."""

    kind = kinds.SUBNET
    type = "subnet"
    title = "Subnet"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Inside the VCN, apart from its neighbours, with parts of the same VCN."""
        super().check(state, inputs, resource_id)
        vcn = state.get(inputs["vcnId"], "vcn").properties
        own = accepted.subnet_range(inputs.get("cidrBlock") or "")
        if not any(own.subnet_of(accepted.cidr(text)) for text in vcn["cidrBlocks"]):
            raise invalid(f"The requested CIDR {own} is not within any of the VCN's CIDR blocks.")
        for other_id, other in state.all("subnet", vcnId=inputs["vcnId"]).items():
            if other_id != resource_id and own.overlaps(accepted.cidr(other.properties["cidrBlock"])):
                raise invalid(
                    f"The requested CIDR {own} is invalid: subnet {other_id} with CIDR "
                    f"{other.properties['cidrBlock']} overlaps with this CIDR."
                )
        self._check_label(state, inputs, resource_id, vcn)
        if "routeTableId" in inputs:
            _part_of(state, "routetable", inputs["routeTableId"], inputs["vcnId"], "defaultRouteTableId")
        for list_id in inputs.get("securityListIds", []):
            _part_of(state, "securitylist", list_id, inputs["vcnId"], "defaultSecurityListId")
        if len(inputs.get("securityListIds", [])) > 5:
            raise invalid("A subnet can have 5 security lists at most.")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:
        """The VCN's defaults, and the router's addresses."""
        vcn = state.get(inputs["vcnId"], "vcn").properties
        label, domain = inputs.get("dnsLabel"), vcn.get("vcnDomainName")
        return {
            "dhcpOptionsId": vcn["defaultDhcpOptionsId"],
            "prohibitInternetIngress": inputs.get("prohibitPublicIpOnVnic", False),
            "prohibitPublicIpOnVnic": inputs.get("prohibitInternetIngress", False),
            "routeTableId": vcn["defaultRouteTableId"],
            "securityListIds": [vcn["defaultSecurityListId"]],
            "virtualRouterIp": str(accepted.cidr(inputs["cidrBlock"])[1]),
            "virtualRouterMac": "00:00:17:00:00:01",
            **({"subnetDomainName": f"{label}.{domain}".lower()} if label and domain else {}),
        }

    def made(self, cloud: Cloud, resource_id: str) -> None:
        """Make the network."""
        with cloud.state() as state:
            block = state.get(resource_id, self.type).properties["cidrBlock"]
        with cloud.machines() as machines:
            machines.create_network(resource_id, block)

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """A network of the machines cannot change its range while one is in it."""
        with cloud.state() as state:
            before = state.get(resource_id, self.type).properties["cidrBlock"]
            used = instances.addresses(state, resource_id)
        moved = inputs["cidrBlock"] != before
        if moved:
            block = accepted.subnet_range(inputs["cidrBlock"])
            for address in used:
                if accepted.address(address) not in block:
                    raise invalid(f"The CIDR {block} does not hold {address}, which is in use in the subnet.")
            if used:
                raise ProviderError(not_part("Another CIDR for a subnet that an instance is in is"))
        with cloud.state() as state:
            self.check(state, inputs, resource_id)
        if moved:
            with cloud.machines() as machines:
                machines.remove_network(resource_id)
                machines.create_network(resource_id, inputs["cidrBlock"])
        super().update(cloud, resource_id, inputs)

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """An instance that somebody else removed is not in the way."""
        instances.forget_lost(cloud)
        super().delete(cloud, resource_id)

    def unmade(self, cloud: Cloud, resource_id: str) -> None:
        """Remove the network."""
        with cloud.machines() as machines:
            machines.remove_network(resource_id)

    def users(self, state: State, resource_id: str) -> Iterator[tuple[str, str]]:
        """The VNIC of every instance in it."""
        for instance in state.all("instance", subnetId=resource_id).values():
            yield "VNIC", instance.hidden["vnicId"]

    def _check_label(
        self, state: State, inputs: dict[str, Any], resource_id: str | None, vcn: dict[str, Any]
    ) -> None:
        label = inputs.get("dnsLabel")
        if label is None:
            return
        accepted.dns_label(label)
        if "dnsLabel" not in vcn:
            raise invalid(f"dnsLabel {label} is invalid: the VCN {inputs['vcnId']} has no DNS label.")
        for other_id, other in state.all("subnet", vcnId=inputs["vcnId"]).items():
            if other_id != resource_id and other.properties.get("dnsLabel", "").lower() == label.lower():
                raise conflict(f"The dnsLabel {label} is already used by subnet {other_id} in the VCN.")


class NetworkSecurityGroup(_InVcn):
    """A group of VNICs with rules of their own."""

    kind = kinds.NETWORK_SECURITY_GROUP
    type = "networksecuritygroup"
    title = "Network Security Group"

    def users(self, state: State, resource_id: str) -> Iterator[tuple[str, str]]:
        """VNICs in it, and rules of other groups about it."""
        for instance in state.all("instance").values():
            if resource_id in instance.properties["createVnicDetails"]["nsgIds"]:
                yield "VNIC", instance.hidden["vnicId"]
        for rule_id, rule in state.all("securityrule").items():
            peers = {rule.properties.get("source"), rule.properties.get("destination")}
            if resource_id in peers and rule.properties["networkSecurityGroupId"] != resource_id:
                yield SecurityRule.title, rule_id

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """Its own rules go with it."""
        instances.forget_lost(cloud)
        super().delete(cloud, resource_id)
        with cloud.state() as state:
            for rule_id in state.all("securityrule", networkSecurityGroupId=resource_id):
                del state.records[rule_id]


class SecurityRule(Resource):
    """One rule of a group. Its id is short, unlike all others."""

    kind = kinds.SECURITY_RULE
    type = "securityrule"
    title = "Security Rule"
    alive = None

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """Direction and peer must fit."""
        vcn_id = state.get(inputs["networkSecurityGroupId"], "networksecuritygroup").properties["vcnId"]
        accepted.one_of("direction", inputs["direction"], {"INGRESS", "EGRESS"})
        side, other = (
            ("source", "destination") if inputs["direction"] == "INGRESS" else ("destination", "source")
        )
        if inputs.get(other):
            raise invalid(f"{other} is not allowed in a security rule of direction {inputs['direction']}.")
        security_rules.check(state, inputs, side, vcn_id, groups=True)

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """A rule is valid as long as its peer exists."""
        side = "source" if inputs["direction"] == "INGRESS" else "destination"
        return {"isValid": True, "stateless": False, f"{side}Type": "CIDR_BLOCK"}

    def new_id(self, state: State, inputs: dict[str, Any]) -> str:  # noqa: ARG002
        """Six hexadecimal digits."""
        return secrets.token_hex(3).upper()


def _part_of(state: State, kind: str, part_id: str, vcn_id: str, default: str) -> None:
    if state.get(vcn_id, "vcn").properties[default] == part_id:
        return
    if state.get(part_id, kind).properties["vcnId"] != vcn_id:
        raise invalid(f"The {kind} {part_id} is not in VCN {vcn_id}.")
