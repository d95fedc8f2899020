"""What each resource of the program is to a person: the one table that `make preview` takes its words from."""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto


class Kind(Enum):
    """What a change of a part means."""

    # Nothing by itself: components, providers, what only prepares another part.
    BOOKKEEPING = auto()
    CONTAINER = auto()
    # Files on the host, written together.
    FILES = auto()
    # A running service takes something over, and no connection is dropped.
    RELOAD = auto()
    # Clients of the pooler wait while PostgreSQL's container is replaced.
    HOLD = auto()
    # A script on the host that is safe to run again.
    SCRIPT = auto()
    # A password of the platform's own.
    PASSWORD = auto()
    APPLICATION = auto()
    ACCOUNT = auto()
    # An application's password, with the files that it stands in.
    CONNECTION = auto()
    # Docker's network, on which all containers are.
    NETWORK = auto()
    # Something in OCI.
    CLOUD = auto()
    # The machine itself.
    MACHINE = auto()


@dataclass(frozen=True, kw_only=True)
class Part:
    """`words` name it in a sentence. `service` is the container that it belongs to, `application` the application."""

    kind: Kind
    words: str
    service: str | None = None
    application: str | None = None
    # What is lost with it, for what holds data or carries what does: completes "is deleted: …".
    lost: str | None = None
    # OCI asks money for it, or for more of it.
    costs: bool = False


# Containers as people call what runs in them, in the order in which they are spoken of.
SERVICES = {
    "postgres-db": "PostgreSQL",
    "pgbouncer": "PgBouncer",
    "redis-cache": "Redis",
    "postgres-wal": "the WAL receiver",
}
# Under which name a container's image is in images.json; one of monitoring has the same name there.
IMAGES = {
    "postgres-db": "postgres",
    "pgbouncer": "pgbouncer",
    "redis-cache": "redis",
    "postgres-wal": "postgres",
}
_OF_SERVICE = {
    "postgres": "postgres-db",
    "pgbouncer": "pgbouncer",
    "redis": "redis-cache",
    "backups-wal": "postgres-wal",
}

_STAYS = "what is on the host stays there"
_STATE, _COMMAND = "pulumi-python:dynamic/host:State", "command:local:Command"
_NAME = "[a-z][a-z0-9-]*"


@dataclass(frozen=True, kw_only=True)
class _Row:
    kind_of_resource: re.Pattern[str]
    name: re.Pattern[str]
    part: Part


def _row(
    token: str, name: str, kind: Kind, words: str, *, lost: str | None = None, costs: bool = False
) -> _Row:
    part = Part(kind=kind, words=words, lost=lost, costs=costs)
    return _Row(kind_of_resource=re.compile(token), name=re.compile(name), part=part)


# By type and name, both whole. A group (…) of the name goes where {1} stands; `service` and `application` are groups too.
# The first row that fits counts.
# fmt: off
_ROWS = (
    _row("pulumi:.*", ".*", Kind.BOOKKEEPING, "pulumi's own"),
    _row("central-data-platform:components:Application", f"platform-application-(?P<application>{_NAME})", Kind.APPLICATION, "application {application}"),
    _row("central-data-platform:(components|hosts):.*", ".*", Kind.BOOKKEEPING, "a group of resources"),
    # Containers.
    _row("docker:index/container:Container", f"platform-monitoring-({_NAME})-container", Kind.CONTAINER, "container {1}"),
    _row("docker:index/remoteImage:RemoteImage", f"platform-monitoring-{_NAME}-image", Kind.BOOKKEEPING, "image"),
    _row(_COMMAND, f"platform-monitoring-{_NAME}-hash", Kind.BOOKKEEPING, "docker compose's hash"),
    _row("docker:index/container:Container", f"platform-(?P<service>{_NAME})-container", Kind.CONTAINER, "container"),
    _row("docker:index/remoteImage:RemoteImage", f"platform-(?P<service>{_NAME})-image", Kind.BOOKKEEPING, "image"),
    _row("docker:index/network:Network", "platform-network-bridge", Kind.NETWORK, "the Docker network", lost="every container and application on it is cut off"),
    _row(_COMMAND, f"platform-(?P<service>{_NAME})-hash", Kind.BOOKKEEPING, "docker compose's hash"),
    _row(_COMMAND, "platform-images", Kind.SCRIPT, "the look at the images"),
    _row(_COMMAND, "platform-network-room", Kind.SCRIPT, "the look for other containers on a network that is made again"),
    _row(_COMMAND, "platform-versions", Kind.SCRIPT, "the look at the data's versions"),
    # What holds data.
    _row(_COMMAND, "platform-tree", Kind.SCRIPT, "the platform's folders", lost=_STAYS),
    _row(_COMMAND, "platform-postgres-cluster", Kind.SCRIPT, "PostgreSQL's cluster (made only where there is none)", lost=_STAYS),
    # Files.
    _row(_STATE, "platform-(?P<service>postgres|pgbouncer|redis)-files", Kind.FILES, "configuration of {service}"),
    _row(_STATE, "platform-(?P<service>redis)-users", Kind.FILES, "config/redis/users.acl"),
    _row(_STATE, "platform-secrets-file", Kind.FILES, "config/platform.env"),
    _row(_STATE, "platform-compose", Kind.FILES, "docker-compose.yml"),
    _row(_STATE, "platform-waivers", Kind.FILES, "the list of waivers"),
    _row(_STATE, "platform-scripts", Kind.FILES, "scripts in apps/"),
    _row(_STATE, "platform-backups-scripts", Kind.FILES, "backup scripts"),
    _row(_STATE, "platform-backups-settings", Kind.FILES, "settings of backups"),
    _row(_STATE, "platform-monitoring-files", Kind.FILES, "rules, dashboards and settings of monitoring"),
    _row(_STATE, "platform-monitoring-keys", Kind.FILES, "config/monitoring/: passwords of monitoring"),
    _row(_STATE, "platform-backups-keys", Kind.FILES, "config/backup/: keys of backups and alerts"),
    # What a running service takes over.
    _row(_STATE, "platform-(?P<service>postgres|pgbouncer)-running", Kind.RELOAD, "configuration"),
    _row(_COMMAND, "platform-(?P<service>redis)-reload", Kind.RELOAD, "users and certificate"),
    _row(_COMMAND, "platform-(?P<service>postgres|pgbouncer)-certificate", Kind.RELOAD, "certificate"),
    _row(_COMMAND, "platform-(?P<service>postgres)-hold", Kind.HOLD, "clients of the pooler wait"),
    # Roles and passwords.
    _row(_COMMAND, "platform-postgres-roles", Kind.SCRIPT, "the platform's own roles"),
    _row(_STATE, "platform-(?P<service>postgres)-password", Kind.PASSWORD, "platform_admin"),
    _row(_STATE, "platform-(?P<service>pgbouncer)-password", Kind.PASSWORD, "pgbouncer_auth"),
    _row(_STATE, "platform-postgres-former-logins", Kind.SCRIPT, "PostgreSQL's list of logins"),
    _row(_STATE, "platform-redis-settled", Kind.SCRIPT, "Redis' list of users"),
    _row(_STATE, f"platform-application-(?P<application>{_NAME})-account", Kind.ACCOUNT, "account of {application}"),
    _row(_STATE, f"platform-application-(?P<application>{_NAME})-password", Kind.CONNECTION, "password and files of {application}"),
    # Scripts.
    _row(_STATE, "platform-machine", Kind.SCRIPT, "what the machine has outside srvRoot"),
    _row(_COMMAND, "platform-tls-certificates", Kind.SCRIPT, "the servers' certificates"),
    _row(_COMMAND, "platform-backups-install-timers", Kind.SCRIPT, "timers of backups"),
    _row(_COMMAND, "platform-backups-install-backup-tools", Kind.SCRIPT, "programs for backups"),
    _row(_COMMAND, "platform-monitoring-tree", Kind.SCRIPT, "monitoring's folders"),
    _row(_COMMAND, "platform-monitoring-password", Kind.SCRIPT, "the password of Grafana's admin"),
    _row(_COMMAND, "host-(architecture|booted)", Kind.BOOKKEEPING, "a question to the machine"),
    _row(_COMMAND, "host-attach-data", Kind.SCRIPT, "the mount of /srv, and its size"),
    _row(_COMMAND, "host-grow-root", Kind.SCRIPT, "the size of the root file system"),
    _row(_COMMAND, "host-authorize-key", Kind.SCRIPT, "who may log in over ssh"),
    _row(_COMMAND, "host-install-docker", Kind.SCRIPT, "Docker's packages (containers go on)"),
    _row(_COMMAND, "host-configure-(.*)", Kind.SCRIPT, "the machine's {1} settings"),
    _row(_COMMAND, "host-label-tree", Kind.SCRIPT, "SELinux labels"),
    # OCI.
    _row("oci:Core/instance:Instance", "host-machine-instance", Kind.MACHINE, "the machine", lost="everything on it but /srv", costs=True),
    _row("oci:Core/volume:Volume", "host-data-volume", Kind.CLOUD, "the data volume of /srv", lost="all data of the platform", costs=True),
    _row("oci:Core/volumeAttachment:VolumeAttachment", "host-attachment", Kind.CLOUD, "the data volume's attachment to the machine", lost="/srv is away until it is attached again"),
    _row("oci:Core/volumeBackupPolicy:VolumeBackupPolicy", "host-data-backups", Kind.CLOUD, "the schedule of the volume's daily backups", costs=True),
    _row("oci:Core/volumeBackupPolicyAssignment:VolumeBackupPolicyAssignment", "host-data-backed-up", Kind.CLOUD, "the volume's daily backup", lost="no further backups of the volume are made"),
    _row("oci:ObjectStorage/bucket:Bucket", "host-backups-bucket", Kind.CLOUD, "the bucket with the off-site backups", lost="the off-site backups", costs=True),
    _row("oci:ObjectStorage/objectLifecyclePolicy:ObjectLifecyclePolicy", "host-backups-lifecycle", Kind.CLOUD, "the bucket's rules for old versions"),
    _row("oci:Core/publicIp:PublicIp", "host-machine-address", Kind.CLOUD, "the reserved public address", lost="OCI gives that address to others; ssh has to go to another one", costs=True),
    _row("oci:Core/vcn:Vcn", "host-network-vcn", Kind.CLOUD, "the cloud network (VCN)", lost="everything in it is cut off"),
    _row("oci:Core/subnet:Subnet", "host-network-subnet", Kind.CLOUD, "the subnet", lost="everything in it is cut off"),
    _row("oci:Core/(internetGateway:InternetGateway|natGateway:NatGateway)", "host-network-(internet|nat)", Kind.CLOUD, "the network's way out", lost="the machine reaches nothing outside"),
    _row("oci:Core/routeTable:RouteTable", "host-network-routes", Kind.CLOUD, "the network's routes", lost="the machine reaches nothing outside"),
    _row("oci:Core/securityList:SecurityList", "host-network-nothing", Kind.CLOUD, "the subnet's empty list of rules"),
    _row("oci:Core/networkSecurityGroup:NetworkSecurityGroup", "host-network-group", Kind.CLOUD, "the security group", lost="who may connect is no longer limited by it"),
    _row("oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule", "host-network-out", Kind.CLOUD, "the rule that lets everything out"),
    _row("oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule", "host-network-ssh-(.*)", Kind.CLOUD, "the rule that lets {1} in to ssh"),
    _row("oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule", r"host-network-(\d+)-(.*)", Kind.CLOUD, "the rule that lets {2} in to port {1}"),
    _row("oci:Core/consoleHistory:ConsoleHistory", "host-console", Kind.BOOKKEEPING, "the machine's console"),
    _row("oci:Identity/dynamicGroup:DynamicGroup", "host-backups-host", Kind.CLOUD, "the group by which the machine is known in OCI"),
    _row("oci:Identity/policy:Policy", "host-backups-(service-)?policy", Kind.CLOUD, "who may write to the bucket"),
    _row("oci:Identity/policy:Policy", "host-alerts-policy", Kind.CLOUD, "who may send alerts"),
    _row("oci:(Events/rule:Rule|Ons/notificationTopic:NotificationTopic)", "host-alerts-(rule|topic)", Kind.CLOUD, "alerts by e-mail"),
    _row("oci:Ons/subscription:Subscription", "host-alerts-mail", Kind.CLOUD, "the address that alerts go to (OCI asks it for a confirmation)"),
)
# fmt: on


def part_of(token: str, name: str) -> Part | None:
    """The part that a resource of a type and a name is, or None for one that the table does not know."""
    for row in _ROWS:
        found = row.name.fullmatch(name) if row.kind_of_resource.fullmatch(token) else None
        if found:
            groups = found.groupdict()
            service = _OF_SERVICE.get(groups.get("service") or "")
            named = {**groups, "service": SERVICES[service] if service else ""}
            # Numbered from 1, as in an expression.
            words = row.part.words.format("", *(group or "" for group in found.groups()), **named)
            return replace(row.part, words=words, service=service, application=groups.get("application"))
    return None
