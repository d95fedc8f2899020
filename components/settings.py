"""All that an operator may say. Plain data: no Pulumi, no I/O, no defaults hidden elsewhere.

In the stack's file the keys are camelCase (`publishAddress`), here snake_case. Sizes are MiB, times seconds unless
the name says otherwise.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar, cast, get_args, get_origin

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from components.application_settings import (
    Application,
    ApplicationName,
    ApplicationSettings,
    applications_of,
    name_faults,
)
from components.backup_settings import AlertSettings, BackupSettings, BucketOffsite, NoOffsite, Offsite
from components.host_settings import LOOPBACK, HostSettings, OciHostSettings
from components.model import Address, Model, Subnet

PROJECT = "central-data-platform"

Port = Annotated[int, Field(ge=1, le=65535)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Architecture = Literal["amd64", "arm64"]


# The kinds of an object that comes in several, by its key.
KINDS = {"host": ("local", "oci"), "offsite": ("s3", "bucket", "none")}


class SettingsError(ValueError):
    """What is wrong in the stack's configuration: one sentence a fault, each naming its key."""


class NetworkSettings(Model):
    """The bridge network; addresses above `dynamicRange` are for applications that need one of their own."""

    subnet: Subnet = IPv4Network("172.28.0.0/24")
    gateway: Address | None = None
    dynamic_range: Subnet | None = None
    # Where the ports are published: one address of the host. Without it 127.0.0.1, in OCI the private address.
    publish_address: Address | None = None
    # Who outside the bridge network may connect, always over TLS.
    client_cidrs: list[Subnet] = Field(default_factory=list[IPv4Network])

    @property
    def gateway_address(self) -> IPv4Address:
        """The gateway as said, or the subnet's first address."""
        return self.gateway or self.subnet[1]

    @property
    def container_range(self) -> IPv4Network:
        """The range that Docker gives out, or the subnet's lower half."""
        return self.dynamic_range or next(self.subnet.subnets())

    def has_free(self, address: IPv4Address) -> bool:
        """Whether an address may be given to one container: it is in the subnet, and Docker gives it to nobody."""
        return (
            address in self.subnet
            and address not in self.container_range
            and address not in (self.subnet[0], self.subnet[-1], self.gateway_address)
        )

    @property
    def pooler_address(self) -> IPv4Address:
        """PgBouncer's own: the highest that is free, so that PostgreSQL can tell it from other clients. Raises ValueError where none is."""
        address = self.subnet[-2]
        while address > self.subnet[0]:
            if self.has_free(address):
                return address
            # Below the whole of what Docker gives out: a range may have millions of addresses.
            address = self.container_range[0] - 1 if address in self.container_range else address - 1
        raise ValueError(
            f"dynamicRange {self.container_range} leaves no address of subnet {self.subnet} for PgBouncer and applications; "
            "write a smaller part of it, such as its lower half"
        )

    @model_validator(mode="after")
    def addresses_fit(self) -> Self:
        if self.subnet.prefixlen > 28:
            raise ValueError(f"subnet {self.subnet} is too small; write a prefix of /28 or shorter")
        if self.gateway_address not in self.subnet or self.gateway_address in (
            self.subnet[0],
            self.subnet[-1],
        ):
            raise ValueError(
                f"gateway {self.gateway_address} is no host's address in subnet {self.subnet}; write one, such as {self.subnet[1]}"
            )
        if not self.container_range.subnet_of(self.subnet):
            raise ValueError(
                f"dynamicRange {self.container_range} is not part of subnet {self.subnet}; write a part of it"
            )
        # Raises where no address is left.
        _ = self.pooler_address
        said = self.publish_address
        if said and (said.is_unspecified or said.is_global):
            raise ValueError(
                f"publishAddress {said} would open the databases to every network; "
                "write one private address, such as 127.0.0.1"
            )
        for network in self.client_cidrs:
            if not network.is_private or network.prefixlen < 8:
                raise ValueError(
                    f"clientCidrs holds {network}, which is more than a private network; write those of your clients, such as 10.20.2.0/24"
                )
        return self


class TlsSettings(Model):
    """Certificates of the three servers, from the platform's own authority; `names` are further names for all of them."""

    days: int = Field(default=397, ge=2, le=825)
    renew_before_days: int = Field(default=120, ge=1)
    names: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9*]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def renewal_fits(self) -> Self:
        if self.renew_before_days >= self.days:
            raise ValueError(
                f"renewBeforeDays {self.renew_before_days} is not less than days {self.days}; write less"
            )
        return self


class LocaleSettings(Model):
    """Collation of a new cluster. `builtin` does not depend on the image's C library."""

    provider: Literal["builtin", "icu"] = "builtin"
    name: str = Field(default="C.UTF-8", pattern=r"^[A-Za-z0-9_.@-]+$")


class PostgresSettings(Model):
    """PostgreSQL 17, container `postgres-db`."""

    port: Port = 5432
    memory: int = Field(default=1024, ge=256)
    shm_size: int = Field(default=256, ge=64)
    max_connections: int = Field(default=100, ge=20, le=10_000)
    locale: LocaleSettings = LocaleSettings()
    timezone: str = Field(default="UTC", pattern=r"^[A-Za-z0-9_+/-]+$")
    statement_timeout_seconds: int = Field(default=300, ge=0)
    idle_in_transaction_timeout_seconds: int = Field(default=60, ge=0)
    slow_query_milliseconds: int = Field(default=1000, ge=0)
    # How much WAL a replication slot may hold back before it is given up rather than fill the disk.
    slot_wal_limit: int = Field(default=4096, ge=64)

    @model_validator(mode="after")
    def shm_fits(self) -> Self:
        if self.shm_size > self.memory:
            raise ValueError(
                f"shmSize {self.shm_size} MiB is above memory {self.memory} MiB, of which it is a part; write less"
            )
        return self


class RedisSettings(Model):
    """Redis 7.2, container `redis-cache`."""

    port: Port = 6379
    memory: int = Field(default=512, ge=64)
    maxmemory: int = Field(default=256, ge=16)
    maxmemory_policy: Literal[
        "noeviction",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] = "noeviction"

    @model_validator(mode="after")
    def data_fits(self) -> Self:
        if self.maxmemory * 3 > self.memory * 2:
            raise ValueError(
                f"maxmemory {self.maxmemory} MiB is more than two thirds of memory {self.memory} MiB: a background save needs the rest; "
                f"write maxmemory {self.memory * 2 // 3} or less"
            )
        return self


class PgbouncerSettings(Model):
    """PgBouncer, container `pgbouncer`. A pool is one pair of user and database."""

    port: Port = 6432
    memory: int = Field(default=128, ge=32)
    pool_size: int = Field(default=20, ge=1)
    max_clients: int = Field(default=500, ge=1)


# MiB of a machine that the containers leave to Oracle Linux and Docker.
SYSTEM_MEMORY = 1024
# Left for platform_admin, backups and PgBouncer's own look-ups beside one full pool.
RESERVED_CONNECTIONS = 10


def absolute_path(path: str) -> str:
    """A folder that Docker, compose and sh read alike."""
    if not PurePosixPath(path).is_absolute() or path == "/" or ".." in PurePosixPath(path).parts:
        raise ValueError("write an absolute path below /, such as /srv")
    if re.search(r"[:$\x00-\x1f]", path):
        raise ValueError("write a path without a colon, a dollar sign or control characters")
    return str(PurePosixPath(path))


class Settings(Model):
    """One stack's plain configuration."""

    host: HostSettings
    srv_root: Annotated[str, AfterValidator(absolute_path)] = "/srv"
    image_catalogue: str = "images.json"
    network: NetworkSettings = NetworkSettings()
    tls: TlsSettings = TlsSettings()
    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    pgbouncer: PgbouncerSettings = PgbouncerSettings()
    applications: dict[ApplicationName, ApplicationSettings] = Field(
        default_factory=dict[str, ApplicationSettings]
    )
    backups: BackupSettings = BackupSettings()
    alerts: AlertSettings = AlertSettings()

    @property
    def offsite(self) -> Offsite:
        """Where backups go, as said or what is usual for such a host."""
        usual = BucketOffsite(kind="bucket") if self.in_oci else NoOffsite(kind="none")
        return self.backups.offsite or usual

    @property
    def in_oci(self) -> bool:
        """Whether the host is a machine in OCI, with a bucket of its own."""
        return isinstance(self.host, OciHostSettings)

    @property
    def application_list(self) -> list[Application]:
        """The applications in the order of their names."""
        return applications_of(self.applications)

    @property
    def publish_address(self) -> IPv4Address:
        """The one address of the host on which ports are published."""
        return self.network.publish_address or self.host.own_address

    @property
    def ports(self) -> tuple[int, int, int]:
        """What is published: PostgreSQL, Redis, PgBouncer."""
        return (self.postgres.port, self.redis.port, self.pgbouncer.port)

    @property
    def outside_clients(self) -> list[IPv4Network]:
        """The networks outside the bridge from which connections are taken, over TLS: an operator's tunnel, and clients."""
        own = [] if self.publish_address.is_loopback else [IPv4Network(self.publish_address)]
        return [*own, *self.network.client_cidrs, *self.host.grouped_clients]

    @model_validator(mode="after")
    def host_and_network_fit(self) -> Self:
        if not isinstance(self.host, OciHostSettings):
            return self
        vcn = self.host.vcn.cidr
        for network in self.network.client_cidrs:
            if not network.subnet_of(vcn):
                raise ValueError(
                    f"network.clientCidrs holds {network}, which is not in the VCN {vcn}: the databases are open inside it only; "
                    "write a part of it"
                )
        if self.network.subnet.overlaps(vcn):
            raise ValueError(
                f"network.subnet {self.network.subnet} overlaps the VCN {vcn}; write another private network for one of them"
            )
        wanted = self.postgres.memory + self.redis.memory + self.pgbouncer.memory + SYSTEM_MEMORY
        if wanted > self.host.memory_gib * 1024:
            raise ValueError(
                f"postgres.memory, redis.memory and pgbouncer.memory with {SYSTEM_MEMORY} MiB for the system are {wanted} MiB, "
                f"and host.memoryGib is {self.host.memory_gib}; write less, or a bigger machine"
            )
        if self.publish_address not in (LOOPBACK, self.host.own_address):
            raise ValueError(
                f"network.publishAddress {self.publish_address} is not the host's; leave it out for {self.host.own_address}, "
                "or write 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def backups_fit(self) -> Self:
        if isinstance(self.offsite, BucketOffsite) and not self.in_oci:
            raise ValueError(
                "backups.offsite.kind is bucket, and host.kind local has no bucket of its own; write {kind: s3, endpoint, bucket} or {kind: none}"
            )
        if self.alerts.email and not self.in_oci:
            raise ValueError(
                "alerts.email is for a host in OCI, whose Notifications send it; set the secret alertWebhook in its place"
            )
        return self

    @model_validator(mode="after")
    def parts_fit(self) -> Self:
        if len(set(self.ports)) < len(self.ports):
            raise ValueError(
                "postgres.port {}, redis.port {} and pgbouncer.port {} must differ; give each its own".format(
                    *self.ports
                )
            )
        most = self.postgres.max_connections - RESERVED_CONNECTIONS
        if self.pgbouncer.pool_size > most:
            raise ValueError(
                f"pgbouncer.poolSize {self.pgbouncer.pool_size} is above postgres.maxConnections {self.postgres.max_connections} "
                f"less {RESERVED_CONNECTIONS} kept in reserve; write {most} or less"
            )
        return self

    @model_validator(mode="after")
    def applications_fit(self) -> Self:
        applications = self.application_list
        faults = list(name_faults(applications))
        for application in applications:
            address = application.settings.address
            if address and not (self.network.has_free(address) and address != self.network.pooler_address):
                faults.append(
                    f"applications.{application.name}.address {address} cannot be an application's; write one of subnet {self.network.subnet} "
                    f"that is not in {self.network.container_range}, nor the gateway, nor PgBouncer's {self.network.pooler_address}"
                )
        wanted = sum(application.connections for application in applications)
        if wanted > self.postgres.max_connections - RESERVED_CONNECTIONS:
            faults.append(
                f"the applications' pool and directConnections add up to {wanted}, and postgres.maxConnections is {self.postgres.max_connections}, "
                f"{RESERVED_CONNECTIONS} of them kept in reserve; write less, or postgres.maxConnections {wanted + RESERVED_CONNECTIONS} or more"
            )
        if faults:
            raise ValueError("; and ".join(faults))
        return self


class Image(Model):
    """One image of the catalogue: a digest per architecture, and the tag only for people."""

    repository: str = Field(pattern=r"^[a-z0-9.:/_-]+$")
    tag: str
    index: Digest | None = None
    manifests: dict[Architecture, Digest] = Field(min_length=1)

    def reference(self, architecture: str) -> str:
        """`repository@sha256:…` for a host's architecture (Go's name for it, as Docker answers).

        Raises SettingsError where the image has no manifest for it.
        """
        for known, digest in self.manifests.items():
            if known == architecture:
                return f"{self.repository}@{digest}"
        raise SettingsError(
            f"image {self.repository}:{self.tag} has no manifest for {architecture}, only for {', '.join(self.manifests)}; "
            "choose an image that is built for the host"
        )


class ImageCatalogue(Model):
    """images.json."""

    postgres: Image
    redis: Image
    pgbouncer: Image


M = TypeVar("M", bound=Model)


def parse(model: type[M], raw: Mapping[str, Any], *, where: str, others: Sequence[str] = ()) -> M:
    """`raw` as a model. Raises SettingsError with one sentence for each fault.

    `where` goes before the key's name; `others` are names that may stand beside the model's own.
    """
    try:
        return model.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        sentences = [
            _sentence(model, cast("dict[str, Any]", fault), where, others) for fault in error.errors()
        ]
        raise SettingsError("\n".join(sentences)) from None


def _sentence(model: type[Model], fault: dict[str, Any], where: str, others: Sequence[str]) -> str:
    # A key that breaks the line would break the sentence.
    location = [part if part.isprintable() else repr(part) for part in map(str, fault["loc"])]
    # An object's kind ("local") stands in the location although no key has that name, and so does "[key]".
    named = [
        part
        for before, part in zip(["", *location], location, strict=False)
        if part not in KINDS.get(before, ()) and part != "[key]"
    ]
    key = where + ".".join(named) if named else where.rstrip(": ")
    match fault["type"]:
        case "extra_forbidden":
            known = sorted([*_keys_beside(model, location), *(others if len(location) == 1 else ())])
            close = difflib.get_close_matches(location[-1], known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(known)}"
            return f"{key} is not a setting; {hint}"
        case "missing":
            return f"{key} is missing and has no default; write it"
        case "value_error":
            return f"{key}: {fault['ctx']['error']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{key} is {fault['input']!r}; write an object, such as {{name: value}}"
        case "union_tag_not_found" | "union_tag_invalid":
            *first, last = KINDS[location[-1]]
            return f"{key}.kind is {fault['ctx'].get('tag', 'missing')}; write {', '.join(first)} or {last}"
        case _:
            message = re.sub(r"^(Input|String|Value|Dictionary) ", "it ", str(fault["msg"]))
            return f"{key} is {fault['input']!r}; {message}"


def _keys_beside(model: type[Model], location: list[str]) -> list[str]:
    """The names that may stand where a misspelt one was found."""
    candidates = [model]
    # Of an object whose keys are names that the operator chooses, such as an application's.
    named: list[type[Model]] = []
    for part in location[:-1]:
        if named:
            candidates, named = named, []
            continue
        tagged = [
            m
            for m in candidates
            if "kind" in m.model_fields and part in get_args(m.model_fields["kind"].annotation)
        ]
        if tagged:
            candidates = tagged
            continue
        fields = (f for m in candidates for n, f in m.model_fields.items() if to_camel(n) == part)
        annotation = next(fields).annotation
        models = [
            m for m in get_args(annotation) or (annotation,) if isinstance(m, type) and issubclass(m, Model)
        ]
        candidates, named = ([], models) if get_origin(annotation) is dict else (models, [])
    return [to_camel(name) for name in candidates[0].model_fields]
