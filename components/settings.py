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
from components.monitoring_settings import MonitoringSettings
from components.native_parameters import (
    KernelParameters,
    PgbouncerParameters,
    PostgresParameters,
    RedisParameters,
)
from components.tuning import (
    RESERVED_CONNECTIONS,
    WAL_MEMORY,
    Disk,
    Machine,
    Profile,
    Said,
    kernel_parameters,
    pgbouncer_parameters,
    postgres_parameters,
    redis_parameters,
    sizes,
)
from components.tuning_faults import machine_faults, pgbouncer_faults, postgres_faults, redis_faults

PROJECT = "central-data-platform"

Port = Annotated[int, Field(ge=1, le=65535)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Architecture = Literal["amd64", "arm64"]

# The default of what follows from the machine: inside Settings it is always a number.
FROM_SHAPE: Any = None


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
    def server_addresses(self) -> tuple[IPv4Address, IPv4Address, IPv4Address]:
        """PgBouncer's, PostgreSQL's and Redis' own, the highest that are free. Raises ValueError where there are no three.

        PostgreSQL can tell PgBouncer from other clients by it. And nobody has to ask where a server is after it was stopped: Docker
        says a name's address for 600 s, and c-ares from 1.31 on, by which PgBouncer asks, believes that whatever dns_max_ttl says.
        """
        found: list[IPv4Address] = []
        address = self.subnet[-2]
        while address > self.subnet[0] and len(found) < 3:
            if self.has_free(address):
                found.append(address)
            # Below the whole of what Docker gives out: a range may have millions of addresses.
            address = self.container_range[0] - 1 if address in self.container_range else address - 1
        if len(found) < 3:
            raise ValueError(
                f"dynamicRange {self.container_range} leaves fewer than three addresses of subnet {self.subnet} for the servers; "
                "write a smaller part of it, such as its lower half"
            )
        return found[0], found[1], found[2]

    @property
    def pooler_address(self) -> IPv4Address:
        """PgBouncer's."""
        return self.server_addresses[0]

    @property
    def postgres_address(self) -> IPv4Address:
        """PostgreSQL's."""
        return self.server_addresses[1]

    @property
    def redis_address(self) -> IPv4Address:
        """Redis'."""
        return self.server_addresses[2]

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
        # Raises where too few are left.
        _ = self.server_addresses
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
    memory: int = Field(default=FROM_SHAPE, ge=256)
    shm_size: int = Field(default=FROM_SHAPE, ge=64)
    max_connections: int = Field(default=FROM_SHAPE, ge=20, le=10_000)
    locale: LocaleSettings = LocaleSettings()
    timezone: str = Field(default="UTC", pattern=r"^[A-Za-z0-9_+/-]+$")
    statement_timeout_seconds: int = Field(default=300, ge=0)
    idle_in_transaction_timeout_seconds: int = Field(default=60, ge=0)
    slow_query_milliseconds: int = Field(default=1000, ge=0)
    # How much WAL a replication slot may hold back before it is given up rather than fill the disk.
    slot_wal_limit: int = Field(default=4096, ge=64)
    # Further ones by PostgreSQL's names; inside Settings those that follow from the machine too.
    parameters: PostgresParameters = Field(default_factory=dict[str, str])


class RedisSettings(Model):
    """Redis 7.2, container `redis-cache`."""

    port: Port = 6379
    memory: int = Field(default=FROM_SHAPE, ge=64)
    maxmemory: int = Field(default=FROM_SHAPE, ge=16)
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
    # As those of PostgreSQL.
    parameters: RedisParameters = Field(default_factory=dict[str, str])


class PgbouncerSettings(Model):
    """PgBouncer, container `pgbouncer`. A pool is one pair of user and database."""

    port: Port = 6432
    memory: int = Field(default=FROM_SHAPE, ge=32)
    pool_size: int = Field(default=FROM_SHAPE, ge=1)
    max_clients: int = Field(default=FROM_SHAPE, ge=1)
    # How long transactions have to end before PostgreSQL's container is replaced; what then, where one has not. Clients that wait
    # longer than query_wait_timeout see an error.
    pause_seconds: int = Field(default=10, ge=1, le=20)
    when_busy: Literal["refuse", "cut"] = "refuse"
    # As those of PostgreSQL.
    parameters: PgbouncerParameters = Field(default_factory=dict[str, str])


class TuningSettings(Model):
    """What the machine is for. What its shape does not say: docs/tuning.md has the rules."""

    profile: Profile = "oltp"
    # Of the data; without it what the host has.
    disk: Disk | None = None
    # Memory of the machine that the containers leave to the system, Docker and backups.
    system_memory: int = Field(default=FROM_SHAPE, ge=128)
    # Of a machine that is the platform's own, in OCI.
    kernel: KernelParameters = Field(default_factory=dict[str, str])


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
    tuning: TuningSettings = TuningSettings()
    applications: dict[ApplicationName, ApplicationSettings] = Field(
        default_factory=dict[str, ApplicationSettings]
    )
    backups: BackupSettings = BackupSettings()
    alerts: AlertSettings = AlertSettings()
    monitoring: MonitoringSettings = MonitoringSettings()

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

    @property
    def machine(self) -> Machine:
        """The host as tuning looks at it."""
        return Machine(
            cpus=self.host.cpus,
            memory=self.host.memory_gib * 1024,
            disk=self.tuning.disk or self.host.disk,
            disk_gib=self.host.disk_gib,
            profile=self.tuning.profile,
            tenants=self.further_memory,
        )

    @property
    def further_memory(self) -> dict[str, int]:
        """Memory limits of the containers beside the three."""
        further = {"the WAL receiver": WAL_MEMORY}
        if self.monitoring.enabled:
            further["monitoring"] = self.monitoring.total_memory
        return further

    # The first of all: the others look at numbers that are there.
    @model_validator(mode="after")
    def follow_the_shape(self) -> Self:
        said = Said(
            system=self.tuning.system_memory,
            postgres=self.postgres.memory,
            shm=self.postgres.shm_size,
            redis=self.redis.memory,
            maxmemory=self.redis.maxmemory,
            pgbouncer=self.pgbouncer.memory,
            max_connections=self.postgres.max_connections,
            pool_size=self.pgbouncer.pool_size,
            max_clients=self.pgbouncer.max_clients,
        )
        limits = sizes(self.machine, said)
        try:
            postgres = postgres_parameters(self.machine, limits, self.postgres.parameters)
        except ValueError as fault:
            raise ValueError(f"postgres.parameters.{fault}") from None
        redis = redis_parameters(self.machine, limits) | self.redis.parameters
        if self.tuning.kernel and not self.in_oci:
            raise ValueError(
                "tuning.kernel is for a host in OCI: the kernel of this machine is not the platform's; leave it out, and set it with sysctl yourself"
            )
        kernel = kernel_parameters(self.machine) | self.tuning.kernel if self.in_oci else {}
        faults = [
            *(machine_faults(self.machine, limits, kernel) if self.host.shape_is_known else ()),
            *postgres_faults(self.machine, limits, postgres),
            *redis_faults(limits, redis),
            *pgbouncer_faults(limits),
        ]
        if faults:
            raise ValueError("; and ".join(faults))
        self._fill(
            postgres={
                "memory": limits.postgres,
                "shm_size": limits.shm,
                "max_connections": limits.max_connections,
                "parameters": postgres,
            },
            redis={"memory": limits.redis, "maxmemory": limits.maxmemory, "parameters": redis},
            pgbouncer={
                "memory": limits.pgbouncer,
                "pool_size": limits.pool_size,
                "max_clients": limits.max_clients,
                "parameters": pgbouncer_parameters(limits) | self.pgbouncer.parameters,
            },
            tuning={"system_memory": limits.system, "kernel": kernel},
        )
        return self

    def _fill(self, **sections: Mapping[str, Any]) -> None:
        """Nothing of it changes after that, as for everybody else."""
        for name, values in sections.items():
            object.__setattr__(self, name, getattr(self, name).model_copy(update=values))

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
    def monitoring_fits(self) -> Self:
        for key, port in self.monitoring.ports.items():
            if port in self.ports:
                raise ValueError(
                    f"monitoring.{key} {port} is one of the databases' ports {self.ports}; write another"
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
        return self

    @model_validator(mode="after")
    def applications_fit(self) -> Self:
        applications = self.application_list
        faults = list(name_faults(applications))
        taken = self.network.server_addresses
        for application in applications:
            address = application.settings.address
            if address and not (self.network.has_free(address) and address not in taken):
                faults.append(
                    f"applications.{application.name}.address {address} cannot be an application's; write one of subnet {self.network.subnet} "
                    f"that is not in {self.network.container_range}, nor the gateway, nor the servers' {', '.join(map(str, taken))}"
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


# What every stack runs, by their names in the catalogue.
PLATFORM_IMAGES = ("postgres", "redis", "pgbouncer")


class Signature(Model):
    """The publisher's public key, a file below the catalogue's folder: an image that it has not signed is not pinned."""

    key: str = Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*\.pub$")


class Image(Model):
    """One image of the catalogue: a digest per architecture, and the tag only for people."""

    repository: str = Field(pattern=r"^[a-z0-9.:/_-]+$")
    tag: str
    index: Digest | None = None
    # Empty for an image of monitoring that nobody has pinned yet.
    manifests: dict[Architecture, Digest]
    signature: Signature | None = None

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
    # Those of monitoring may be missing, or not pinned: then it cannot be turned on.
    prometheus: Image | None = None
    node_exporter: Image | None = Field(default=None, alias="node-exporter")
    postgres_exporter: Image | None = Field(default=None, alias="postgres-exporter")
    pgbouncer_exporter: Image | None = Field(default=None, alias="pgbouncer-exporter")
    redis_exporter: Image | None = Field(default=None, alias="redis-exporter")
    grafana: Image | None = None

    @model_validator(mode="after")
    def platform_is_pinned(self) -> Self:
        for name in PLATFORM_IMAGES:
            if not self.named(name).manifests:
                raise ValueError(f"{name} has no digest under manifests; run make pin-images")
        return self

    def named(self, name: str) -> Image:
        """The image of a name in the catalogue, such as node-exporter. Raises SettingsError where it is not there."""
        image = cast("Image | None", getattr(self, name.replace("-", "_")))
        if image is None:
            raise SettingsError(f"there is no image {name} in the catalogue; take it over from images.json")
        return image

    def unpinned(self, names: Sequence[str]) -> list[str]:
        """Those of the names that have no digest here."""
        found = {name: cast("Image | None", getattr(self, name.replace("-", "_"))) for name in names}
        return [name for name, image in found.items() if image is None or not image.manifests]


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
    return [field.alias or to_camel(name) for name, field in candidates[0].model_fields.items()]
