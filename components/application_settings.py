"""What an operator may say of an application, and the names that follow from it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.model import Address, Model

# PostgreSQL cuts longer names off (NAMEDATALEN - 1).
NAME_BYTES = 63
# Where the passwords stand in the stack's configuration: a secret object of its own, since one inside `applications` would
# hide all of that from the settings' checks.
APPLICATION_PASSWORDS = "applicationPasswords"
Store = Literal["database", "redis"]
LONGEST_WAIVER = timedelta(days=366)
LEAST_CHARACTERS, LEAST_DIFFERENT = 16, 8

# Folders of /srv/apps, users of Redis and names on the network that are the platform's.
_RESERVED_APPLICATIONS = {
    *("postgres-stack", "postgres-db", "redis-cache", "pgbouncer", "postgres-wal", "localhost"),
    *("postgres-pitr", "postgres-drill", "redis-drill"),
    *("default", "admin", "operator", "health", "platform-check"),
}
_RESERVED_DATABASES = {"postgres", "template0", "template1", "pgbouncer"}
# `public` and the rest of the second line mean something else where a role's name may stand.
_RESERVED_ROLES = {
    *(
        "platform_admin",
        "platform_backup",
        "platform_hemmed",
        "platform_restore",
        "pgbouncer_auth",
        "pgbouncer",
        "postgres",
    ),
    *("public", "none", "current_role", "current_user", "session_user"),
}

# Of PostgreSQL's contrib, what neither reaches files and networks nor looks into other databases.
Extension = Literal[
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
]


def _sql_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) or len(name) > NAME_BYTES:
        raise ValueError(
            f"{name!r} cannot be a name in PostgreSQL here; write up to {NAME_BYTES} of A-Z, a-z, 0-9, _ and -, a letter or _ first"
        )
    if name.startswith("pg_"):
        raise ValueError(f"{name} begins with pg_, which PostgreSQL keeps for itself; write another name")
    return name


def _database_name(name: str) -> str:
    if name in _RESERVED_DATABASES:
        raise ValueError(f"{name} is a database of the platform; write another name")
    return _sql_name(name)


def _role_name(name: str) -> str:
    if name in _RESERVED_ROLES:
        raise ValueError(f"{name} is a role of the platform or of PostgreSQL; write another name")
    return _sql_name(name)


def _application_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name) or name.endswith("-"):
        raise ValueError(
            f"{name!r} cannot be an application's name; write up to 40 of a-z, 0-9 and -, a letter first and no hyphen last"
        )
    reserved = _RESERVED_APPLICATIONS | _RESERVED_DATABASES
    if name in reserved or f"{name}-".startswith("pg-"):
        raise ValueError(f"{name} is a name of the platform or of PostgreSQL; write another one")
    return name


ApplicationName = Annotated[str, AfterValidator(_application_name)]


# Commands that Redis' key patterns do not cover, or that hold up everybody.
RedisOptIn = Literal["scan", "keys", "randomkey", "scripts", "info"]


class RedisAccess(Model):
    """Redis for an application, with what it may do beyond safe commands on its own keys."""

    allow: list[RedisOptIn] = Field(default_factory=list[RedisOptIn])


def _redis_access(said: Any) -> Any:
    """`redis: true` is Redis with nothing beyond."""
    return {} if said is True else None if said is False else said


def _day(said: Any) -> Any:
    """pulumi hands a day that YAML knows as one on as a point in time: 2027-06-30 00:00:00 +0000 UTC."""
    if not isinstance(said, (str, date)):
        raise ValueError(f"{said!r} is no day; write one, such as 2027-06-30")
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ]00:00:00.*", said) if isinstance(said, str) else None
    return found.group(1) if found else said


class PasswordWaiver(Model):
    """Leave for a database password below the strength rule: why, and the last day on which `up` accepts it."""

    reason: str = Field(min_length=10, max_length=200, pattern=r"^[ -~]+$")
    until: Annotated[date, Field(strict=False), BeforeValidator(_day)]


class ApplicationSettings(Model):
    """One application's database, pool and Redis user. Connections are counted, `pool` those of PgBouncer to PostgreSQL."""

    database: Annotated[str, AfterValidator(_database_name)] | None = None
    user: Annotated[str, AfterValidator(_role_name)] | None = None
    redis: Annotated[RedisAccess | None, BeforeValidator(_redis_access)] = None
    pool: int = Field(default=10, ge=1, le=1000)
    # Past the pooler: migrations, sessions that need one server connection for themselves.
    direct_connections: int = Field(default=5, ge=1, le=1000)
    extensions: list[Extension] = Field(default_factory=list[Extension])
    # An address of its own on the bridge network, outside the range that Docker gives out.
    address: Address | None = None
    password_waiver: PasswordWaiver | None = None
    # Asked of the restored copy in a restore drill: each has to give one row with true.
    drill_queries: list[str] = Field(default_factory=list[str])

    @model_validator(mode="after")
    def waiver_has_an_address(self) -> Self:
        if self.password_waiver and self.address is None:
            raise ValueError(
                "passwordWaiver needs address, from where alone the weak password is accepted; write a free address of the network's upper half"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Application:
    """An application by its names in PostgreSQL, Redis and platform.env."""

    name: str
    settings: ApplicationSettings

    @property
    def _sql(self) -> str:
        return self.name.replace("-", "_")

    @property
    def database(self) -> str:
        """Its database."""
        return self.settings.database or self._sql

    @property
    def login(self) -> str:
        """The role that connects."""
        return self.settings.user or f"{self._sql}_user"

    @property
    def owner(self) -> str:
        """The role without login that owns database and objects; the login acts as it."""
        return f"{self._sql}_owner"

    @property
    def read_only(self) -> str:
        """The role without login that may read all that the owner makes."""
        return f"{self._sql}_readonly"

    @property
    def read_write(self) -> str:
        """The role without login that may read and write all that the owner makes."""
        return f"{self._sql}_readwrite"

    @property
    def roles(self) -> tuple[str, str, str, str]:
        """All of its roles."""
        return (self.login, self.owner, self.read_only, self.read_write)

    @property
    def connections(self) -> int:
        """The login's connection limit."""
        return self.settings.pool + self.settings.direct_connections

    @property
    def key_prefix(self) -> str:
        """What its keys and channels in Redis begin with; its user there has the application's name."""
        return f"{self.name}:"

    @property
    def stores(self) -> list[Store]:
        """Where it has a password."""
        return ["database", "redis"] if self.settings.redis else ["database"]

    def secret_name(self, store: Literal["DB", "REDIS"]) -> str:
        """The key of a password in platform.env."""
        return f"APP_{self._sql.upper()}_{store}_PASSWORD"


def applications_of(settings: Mapping[str, ApplicationSettings]) -> list[Application]:
    """The applications in the order of their names."""
    return [Application(name=name, settings=settings[name]) for name in sorted(settings)]


def name_faults(applications: Sequence[Application]) -> Iterator[str]:
    """One sentence for each database, role and address that would be had twice."""
    taken: dict[tuple[str, str], str] = {}
    for application in applications:
        address = application.settings.address
        names = [("database", "database", application.database)]
        names += [("role", "user", role) for role in application.roles]
        names += [("address", "address", str(address))] if address else []
        for what, key, name in names:
            if (other := taken.setdefault((what, name), application.name)) != application.name:
                yield f"{what} {name} would be that of {other} and of {application.name}; write another applications.{application.name}.{key}"
        if application.login in application.roles[1:]:
            yield f"role {application.login} is one of {application.name}'s own groups; write another applications.{application.name}.user"


def waiver_fault(application: Application, today: date) -> str | None:
    """Why the application's waiver is not accepted on a day, or None."""
    waiver = application.settings.password_waiver
    if waiver is None:
        return None
    if waiver.until < today:
        return (
            f"applications.{application.name}.passwordWaiver ended on {waiver.until}; take it away and set a strong password, "
            "or agree on a later date and write it"
        )
    if waiver.until > today + LONGEST_WAIVER:
        return f"applications.{application.name}.passwordWaiver ends on {waiver.until}, more than a year from now; write an earlier date"
    return None


def weakness(password: str, names: Sequence[str]) -> str | None:
    """Why a password is below the strength rule, or None; `names` are what it must not hold. Never shows the password."""
    if len(password) < LEAST_CHARACTERS:
        return f"has fewer than {LEAST_CHARACTERS} characters"
    if len(set(password)) < LEAST_DIFFERENT:
        return f"has fewer than {LEAST_DIFFERENT} different characters"
    if any(name.lower() in password.lower() for name in names):
        return "holds the name of its user or application"
    return None
