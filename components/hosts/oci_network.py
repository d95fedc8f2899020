"""The virtual cloud network: one subnet, one way out, and in only what is listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_oci import core

from components.host_settings import EVERYWHERE, OciHostSettings
from components.settings import PROJECT

TCP = "6"


@dataclass(frozen=True, kw_only=True)
class CloudNetworkArgs:
    """`client_networks` and the settings' groups may reach `database_ports`, and nobody else."""

    settings: OciHostSettings
    client_networks: Sequence[IPv4Network]
    database_ports: Sequence[int]


class CloudNetwork(pulumi.ComponentResource):
    """Protected but for its rules: applications may be in the VCN too. `subnet_id` is where the instance goes, `group_id` the security group that lets SSH and clients in."""

    subnet_id: pulumi.Output[str]
    group_id: pulumi.Output[str]

    def __init__(self, name: str, args: CloudNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"{PROJECT}:hosts:CloudNetwork", name, {}, opts)
        settings = args.settings
        mine = pulumi.ResourceOptions(parent=self, protect=True)
        vcn = core.Vcn(
            f"{name}-vcn",
            compartment_id=settings.compartment,
            cidr_blocks=[str(settings.vcn.cidr)],
            display_name=PROJECT,
            dns_label="platform",
            opts=mine,
        )
        routes = core.RouteTable(
            f"{name}-routes",
            compartment_id=settings.compartment,
            vcn_id=vcn.id,
            display_name=PROJECT,
            route_rules=[
                {
                    "destination": str(EVERYWHERE),
                    "destination_type": "CIDR_BLOCK",
                    "network_entity_id": self._way_out(name, settings, vcn),
                    "description": "packages, images, Object Storage",
                }
            ],
            opts=mine,
        )
        # The VCN's own list lets SSH in from everywhere; this one lets nothing through, the group's rules decide.
        nothing = core.SecurityList(
            f"{name}-nothing",
            compartment_id=settings.compartment,
            vcn_id=vcn.id,
            display_name=f"{PROJECT}: see the security group",
            ingress_security_rules=[],
            egress_security_rules=[],
            opts=mine,
        )
        subnet = core.Subnet(
            f"{name}-subnet",
            compartment_id=settings.compartment,
            vcn_id=vcn.id,
            cidr_block=str(settings.vcn.subnet),
            display_name=PROJECT,
            dns_label="data",
            route_table_id=routes.id,
            security_list_ids=[nothing.id],
            prohibit_public_ip_on_vnic=not settings.public_address,
            opts=mine,
        )
        self.subnet_id = subnet.id
        group = core.NetworkSecurityGroup(
            f"{name}-group",
            compartment_id=settings.compartment,
            vcn_id=vcn.id,
            display_name=PROJECT,
            opts=mine,
        )
        self.group_id = group.id
        core.NetworkSecurityGroupSecurityRule(
            f"{name}-out",
            network_security_group_id=group.id,
            direction="EGRESS",
            protocol="all",
            destination=str(EVERYWHERE),
            destination_type="CIDR_BLOCK",
            description="packages, images, Object Storage",
            opts=pulumi.ResourceOptions(parent=self),
        )
        for cidr in settings.ssh_cidrs:
            self._let_in(f"{name}-ssh-{cidr}", "SSH", str(cidr), 22)
        for port in args.database_ports:
            for cidr in args.client_networks:
                self._let_in(f"{name}-{port}-{cidr}", "clients, over TLS", str(cidr), port)
            for client_group in settings.client_groups:
                self._let_in(f"{name}-{port}-{client_group}", "clients, over TLS", client_group, port)
        self.register_outputs({"subnetId": self.subnet_id, "groupId": self.group_id})

    def _way_out(self, name: str, settings: OciHostSettings, vcn: core.Vcn) -> pulumi.Output[str]:
        mine = pulumi.ResourceOptions(parent=self, protect=True)
        if settings.public_address:
            gateway = core.InternetGateway(
                f"{name}-internet",
                compartment_id=settings.compartment,
                vcn_id=vcn.id,
                display_name=PROJECT,
                opts=mine,
            )
        else:
            gateway = core.NatGateway(
                f"{name}-nat",
                compartment_id=settings.compartment,
                vcn_id=vcn.id,
                display_name=PROJECT,
                opts=mine,
            )
        return gateway.id

    def _let_in(self, name: str, who: str, source: str, port: int) -> None:
        is_group = source.startswith("ocid1.")
        core.NetworkSecurityGroupSecurityRule(
            name,
            network_security_group_id=self.group_id,
            direction="INGRESS",
            protocol=TCP,
            source=source,
            source_type="NETWORK_SECURITY_GROUP" if is_group else "CIDR_BLOCK",
            tcp_options={"destination_port_range": {"min": port, "max": port}},
            description=who,
            opts=pulumi.ResourceOptions(parent=self),
        )
