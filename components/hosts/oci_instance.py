"""The machine itself, with its address."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_oci import core, identity

from components.host_settings import OciHostSettings
from components.hosts.oci_network import CloudNetwork
from components.render.machine import cloud_config
from components.settings import PROJECT

IMAGE_NAME = re.compile(r"Oracle-Linux-10(\.\d+)?-aarch64-")


@dataclass(frozen=True, kw_only=True)
class CloudInstanceArgs:
    """`availability_domain` is a name as the tenancy has it."""

    settings: OciHostSettings
    network: CloudNetwork
    availability_domain: pulumi.Output[str]


class CloudInstance(pulumi.ComponentResource):
    """`address` is where SSH answers: the reserved public address, or the private one."""

    instance: core.Instance
    address: pulumi.Output[str]

    def __init__(
        self, name: str, args: CloudInstanceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(f"{PROJECT}:hosts:CloudInstance", name, {}, opts)
        settings = args.settings
        private_address = str(settings.own_address)
        self.instance = core.Instance(
            f"{name}-instance",
            compartment_id=settings.compartment,
            availability_domain=args.availability_domain,
            display_name=PROJECT,
            shape=settings.shape,
            shape_config={"ocpus": settings.ocpus, "memory_in_gbs": settings.memory_gib},
            source_details={
                "source_type": "image",
                "source_id": self._newest_image(settings),
                "boot_volume_size_in_gbs": str(settings.boot_volume_gib),
            },
            create_vnic_details={
                "subnet_id": args.network.subnet_id,
                "private_ip": private_address,
                "hostname_label": "db",
                # The address comes from the reservation below, which outlives the machine.
                "assign_public_ip": "false",
                "nsg_ids": [args.network.group_id],
            },
            metadata={
                "ssh_authorized_keys": "\n".join(settings.ssh_public_keys),
                "user_data": base64.b64encode(cloud_config().encode()).decode(),
            },
            instance_options={"are_legacy_imds_endpoints_disabled": True},
            is_pv_encryption_in_transit_enabled=True,
            preserve_boot_volume=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                # A machine is replaced by `make recover-host` and by nothing else: what is on it has to follow.
                protect=True,
                # Two machines cannot have one volume and one private address.
                delete_before_replace=True,
                # A newer image is for the next machine. A change of metadata would replace this one; the key of a machine
                # that runs is changed by authorize-key.sh.
                ignore_changes=["sourceDetails.sourceId", "metadata"],
            ),
        )
        self.address = pulumi.Output.from_input(private_address)
        if settings.public_address:
            private = core.get_private_ips_output(
                subnet_id=args.network.subnet_id,
                ip_address=private_address,
                opts=pulumi.InvokeOutputOptions(parent=self, depends_on=[self.instance]),
            )
            self.address = core.PublicIp(
                f"{name}-address",
                compartment_id=settings.compartment,
                lifetime="RESERVED",
                display_name=PROJECT,
                private_ip_id=private.private_ips.apply(lambda found: the_one([ip.id for ip in found])),
                opts=pulumi.ResourceOptions(parent=self),
            ).ip_address
        self.register_outputs({"address": self.address})

    def _newest_image(self, settings: OciHostSettings) -> pulumi.Output[str]:
        found = core.get_images_output(
            compartment_id=settings.tenancy,
            operating_system="Oracle Linux",
            operating_system_version="10",
            shape=settings.shape,
            state="AVAILABLE",
            sort_by="TIMECREATED",
            sort_order="DESC",
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        return found.images.apply(lambda images: newest([(i.display_name, i.id) for i in images]))


def the_one(private_addresses: Sequence[str]) -> str:
    """The OCID of the machine's private address. Ends the run with one sentence where there is none."""
    if private_addresses:
        return private_addresses[0]
    raise pulumi.RunError(
        "the instance's private address is not there any more, so the instance is gone; run make recover-host, which makes it again"
    )


def newest(images: Sequence[tuple[str, str]]) -> str:
    """The OCID of the first full platform image; they come newest first. Ends the run with one sentence where there is none."""
    for display_name, identity_of in images:
        if IMAGE_NAME.match(display_name):
            return identity_of
    raise pulumi.RunError(
        "this region has no Oracle Linux 10 image for aarch64 and central-data-platform:host.shape; choose another shape or region"
    )


def availability_domain(
    settings: OciHostSettings, parent: pulumi.Resource, provider: pulumi.ProviderResource
) -> pulumi.Output[str]:
    """The tenancy's own name for the numbered availability domain. Ends the run with one sentence where there is none."""

    def named(names: Sequence[str]) -> str:
        if settings.availability_domain <= len(names):
            return names[settings.availability_domain - 1]
        raise pulumi.RunError(
            f"central-data-platform:host.availabilityDomain is {settings.availability_domain}, and {settings.region} has {len(names)}; "
            f"write 1 to {len(names)}"
        )

    return identity.get_availability_domains_output(
        compartment_id=settings.tenancy, opts=pulumi.InvokeOutputOptions(parent=parent, provider=provider)
    ).availability_domains.apply(lambda domains: named(sorted(domain.name for domain in domains)))
