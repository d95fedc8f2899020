"""What an operator may say about the host. Plain data, like settings.py, whose parts it is.

Limits of OCI are those of its documentation (Compute shapes, Block Volume, VCN); sizes carry their unit in the name.
"""

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from components.model import Address, Model, Subnet
from components.tuning import Disk

# What the platform's images are pinned for; every other shape of OCI is x86.
ARM_SHAPES = ("VM.Standard.A1.Flex", "VM.Standard.A2.Flex", "VM.Standard.A4.Flex")
EVERYWHERE = IPv4Network("0.0.0.0/0")
LOOPBACK = IPv4Address("127.0.0.1")


def ocid(kind: str) -> str:
    """A pattern for the OCID of a kind of resource, such as `compartment`."""
    return rf"^ocid1\.{kind}\.[a-z0-9-]+\.[a-z0-9-]*\.\S+$"


def arm_shape(shape: str) -> str:
    """A flexible shape with Ampere processors."""
    if shape not in ARM_SHAPES:
        raise ValueError(
            f"{shape} is not an Ampere (arm64) flexible shape, and the platform's images are pinned for arm64; "
            f"write {', '.join(ARM_SHAPES[:-1])} or {ARM_SHAPES[-1]}"
        )
    return shape


def public_key(text: str) -> str:
    """One line as in a .pub file; its comment is dropped, since what a person writes there changes without meaning."""
    words = text.split()
    if len(words) < 2 or not re.fullmatch(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521))", words[0]):
        raise ValueError("write the line of a public key's .pub file, such as: ssh-ed25519 AAAA…")
    if not re.fullmatch(r"[A-Za-z0-9+/]{60,}={0,2}", words[1]):
        raise ValueError("that is not the whole line of a .pub file; copy it without line breaks")
    return f"{words[0]} {words[1]}"


PublicKey = Annotated[str, AfterValidator(public_key)]


class LocalHostSettings(Model):
    """This machine's Docker."""

    kind: Literal["local"]
    socket: str = Field(default="unix:///var/run/docker.sock", pattern=r"^unix:///\S+$")
    # The platform's files belong to root; a workstation's user reaches them by `sudo -n`.
    sudo: bool = False
    # What of this machine the platform may count on, since a preview measures nothing; the disk is that of srvRoot.
    cpus: int = Field(default=2, ge=1, le=1024)
    memory_gib: int = Field(default=3, ge=1, le=32_768)
    disk_gib: int = Field(default=20, ge=5)

    @property
    def shape_is_known(self) -> bool:
        """Whether the memory has been said, so that numbers can be held against it."""
        return "memory_gib" in self.model_fields_set

    @property
    def disk(self) -> Disk:
        """What a workstation usually has."""
        return "ssd"

    @property
    def own_address(self) -> IPv4Address:
        """Where ports are published unless the settings say otherwise."""
        return LOOPBACK

    @property
    def grouped_clients(self) -> list[IPv4Network]:
        """Networks of clients that are named by a group: there are none here."""
        return []


class VcnSettings(Model):
    """The virtual cloud network and the one subnet that the host is in."""

    cidr: Subnet = IPv4Network("10.20.0.0/16")
    subnet: Subnet = IPv4Network("10.20.1.0/24")

    @model_validator(mode="after")
    def subnet_fits(self) -> Self:
        if not 16 <= self.cidr.prefixlen <= 30 or not self.cidr.is_private:
            raise ValueError(
                f"cidr {self.cidr} is no network for a VCN; write a private one of /16 to /30, such as 10.20.0.0/16"
            )
        if not self.subnet.subnet_of(self.cidr):
            raise ValueError(f"subnet {self.subnet} is not part of cidr {self.cidr}; write a part of it")
        if self.subnet.prefixlen > 30:
            raise ValueError(
                f"subnet {self.subnet} has no address for a host, of which OCI keeps three; write a prefix of /30 or shorter"
            )
        return self


class OciHostSettings(Model):
    """An Oracle Linux 10 aarch64 instance in OCI. The defaults fit into OCI's Always Free limits."""

    kind: Literal["oci"]
    region: str = Field(pattern=r"^[a-z]{2,4}-[a-z]+-\d+$")
    # Where the tenancy's identity resources are kept, if it is another region.
    home_region: str | None = Field(default=None, pattern=r"^[a-z]{2,4}-[a-z]+-\d+$")
    # The profile of ~/.oci/config on the workstation.
    profile: str | None = None
    tenancy: str = Field(pattern=ocid("tenancy"))
    compartment: str = Field(pattern=ocid("(compartment|tenancy)"))
    availability_domain: int = Field(default=1, ge=1, le=3)

    shape: Annotated[str, AfterValidator(arm_shape)] = ARM_SHAPES[0]
    ocpus: int = Field(default=2, ge=1, le=80)
    memory_gib: int = Field(default=12, ge=2, le=946)
    boot_volume_gib: int = Field(default=50, ge=50, le=32_768)
    data_volume_gib: int = Field(default=100, ge=50, le=32_768)
    # Its performance: lower cost, balanced, higher. More needs several paths to the volume.
    data_volume_vpus: Literal[0, 10, 20] = 10
    # A volume that exists, to use in place of a new one.
    data_volume_id: str | None = Field(default=None, pattern=ocid("volume"))

    # Without a version, the newest when it is installed first; either is locked until the setting changes.
    docker_version: str | None = Field(default=None, pattern=r"^\d+\.\d+\.\d+$")
    compose_version: str | None = Field(default=None, pattern=r"^\d+\.\d+\.\d+$")

    ssh_cidrs: list[Subnet] = Field(min_length=1)
    ssh_open_to_all: bool = False
    ssh_public_key: PublicKey
    # Further keys that may log in: of colleagues, or the next one while a key is being changed.
    more_ssh_public_keys: list[PublicKey] = Field(default_factory=list)
    # The private key's file on the workstation; without it, what the agent and ~/.ssh/config offer.
    ssh_key_file: str | None = Field(default=None, pattern=r'^[^"\x00-\x1f]+$')
    # The host's own public key, instead of what the instance's console says.
    host_key: PublicKey | None = None
    jump_host: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+@[A-Za-z0-9.:_\[\]-]+$")

    public_address: bool = True
    vcn: VcnSettings = VcnSettings()
    private_address: Address | None = None
    # Network security groups whose members may reach the databases.
    client_groups: list[Annotated[str, Field(pattern=ocid("networksecuritygroup"))]] = Field(
        default_factory=list
    )

    @property
    def cpus(self) -> int:
        """Processors as Linux counts them: one for an OCPU of A1, two of the later ones (OCI documentation, Compute Shapes)."""
        return self.ocpus * (1 if self.shape == ARM_SHAPES[0] else 2)

    @property
    def shape_is_known(self) -> bool:
        """The machine is made as it is said."""
        return True

    @property
    def disk(self) -> Disk:
        """A block volume is reached over the network; the one of lower cost is as slow as a hard disk."""
        return "network" if self.data_volume_vpus else "hdd"

    @property
    def disk_gib(self) -> int:
        """The data volume's size."""
        return self.data_volume_gib

    @property
    def ssh_public_keys(self) -> list[str]:
        """All keys that may log in."""
        return [self.ssh_public_key, *self.more_ssh_public_keys]

    @property
    def own_address(self) -> IPv4Address:
        """The host's private address as said, or the subnet's tenth; of a small one, the last that a host may have."""
        return self.private_address or self.vcn.subnet[min(10, self.vcn.subnet.num_addresses - 2)]

    @property
    def grouped_clients(self) -> list[IPv4Network]:
        """Where the members of `clientGroups` may be: only OCI knows their addresses, all of them in the VCN."""
        return [self.vcn.cidr] if self.client_groups else []

    @field_validator("ssh_cidrs", mode="after")
    @classmethod
    def each_once(cls, networks: list[IPv4Network]) -> list[IPv4Network]:
        if len(set(networks)) < len(networks):
            raise ValueError("a network stands there twice; write each once")
        return networks

    @model_validator(mode="after")
    def parts_fit(self) -> Self:
        if EVERYWHERE in self.ssh_cidrs and not self.ssh_open_to_all:
            raise ValueError(
                "sshCidrs holds 0.0.0.0/0, which lets every address on the internet try to log in; "
                "write your own networks, such as 203.0.113.7/32, or say sshOpenToAll: true"
            )
        # OCI keeps the first two addresses of a subnet and the last one for itself.
        if self.own_address not in list(self.vcn.subnet.hosts())[1:]:
            raise ValueError(
                f"privateAddress {self.own_address} is no host's address in vcn.subnet {self.vcn.subnet}; "
                f"write one from {self.vcn.subnet[2]} on"
            )
        if not self.public_address and not self.jump_host:
            raise ValueError(
                "publicAddress is false and there is no jumpHost, so nobody would reach the host; "
                "write jumpHost: user@host, or publicAddress: true"
            )
        if not self.ocpus <= self.memory_gib <= 64 * self.ocpus:
            raise ValueError(
                f"memoryGib {self.memory_gib} does not fit ocpus {self.ocpus}; write {self.ocpus} to {64 * self.ocpus}"
            )
        return self


HostSettings = Annotated[LocalHostSettings | OciHostSettings, Field(discriminator="kind")]
