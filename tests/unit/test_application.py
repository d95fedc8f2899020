"""What an application gets: the files from which it connects, who may come from where, and its resources."""

import base64
import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

from components.application import summary
from components.application_settings import Application
from components.host_state import ACTION
from components.render.application import (
    Endpoints,
    connection_block,
    from_outside,
    on_the_network,
    platform_yaml,
)
from components.render.env_file import quote, secret_fault
from components.render.passwords import PasswordFile, password_list
from components.render.pgbouncer import pgbouncer_hba
from components.render.postgres import pg_hba_conf
from components.render.scram import salt, verifier
from components.settings import Settings, SettingsError, parse
from tests.unit.conftest import APPLICATION_CANARIES, CANARIES, run_program
from tests.unit.recording_engine import CA_CERTIFICATE, Recording
from tests.unit.test_application_settings import SQL_NAMES
from tests.unit.test_env_file import ACCEPTED, read_by_compose, read_by_sh

WAIVED = {
    "database": "trading",
    "user": "trading_app_user",
    "address": "172.28.0.200",
    "passwordWaiver": {"reason": "uses its password as its port", "until": "2027-06-30"},
}


def read(applications: Mapping[str, Any], **network: Any) -> Settings:
    return parse(
        Settings,
        {"host": {"kind": "local"}, "applications": applications, "network": network},
        where="",
    )


HERE = read({"librarian": {"redis": True}, "trading-app": WAIVED})
PUBLISHED = read({}, publishAddress="10.0.0.5", clientCidrs=["10.0.7.0/24"])
LIBRARIAN, TRADING = HERE.application_list


# --- server.env ---


AWKWARD_PASSWORD = "it's $5 @/:?#%&+="


def block(at: Endpoints, application: Application = LIBRARIAN, password: str = AWKWARD_PASSWORD) -> str:
    return connection_block(
        application,
        at,
        database_password=password,
        redis_password=password if application.settings.redis else None,
    )


RENDERED: dict[str, Callable[[], str]] = {
    "server.env": lambda: block(on_the_network()),
    "server-trading-app.env": lambda: block(on_the_network(), TRADING, "6432"),
    "server.external-loopback.env": lambda: block(from_outside(HERE)),
    "server.external-published.env": lambda: block(from_outside(PUBLISHED)),
    "platform.yaml": lambda: platform_yaml(LIBRARIAN),
    "platform-address.yaml": lambda: platform_yaml(TRADING),
}


@pytest.mark.parametrize("name", RENDERED)
def test_the_text_is_the_golden_one(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"application/{name}", RENDERED[name]())


@pytest.mark.parametrize("name", RENDERED)
def test_a_text_ends_with_a_line_and_has_no_blanks_at_the_end_of_one(name: str) -> None:
    text = RENDERED[name]()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


def values(text: str, tmp_path: Path) -> dict[str, str]:
    """What a shell has after `. ./server.env`."""
    (tmp_path / "server.env").write_text(text, encoding="utf-8")
    found = read_by_sh(tmp_path / "server.env")
    return {name: value for name, value in found.items() if name.startswith(("DATABASE_", "REDIS_"))}


DATABASE_KEYS = {
    f"DATABASE_{name}"
    for name in (
        *("URL", "HOST", "PORT", "DIRECT_URL", "DIRECT_HOST", "DIRECT_PORT"),
        *("NAME", "USER", "PASSWORD"),
    )
}
REDIS_KEYS = {f"REDIS_{name}" for name in ("URL", "HOST", "PORT", "USER", "PASSWORD", "KEY_PREFIX")}
TLS_KEYS = {"DATABASE_SSLMODE", "DATABASE_SSLROOTCERT"}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("server.env", DATABASE_KEYS | REDIS_KEYS),
        ("server-trading-app.env", DATABASE_KEYS),
        # The port of Redis on 127.0.0.1 speaks no TLS.
        ("server.external-loopback.env", DATABASE_KEYS | REDIS_KEYS | TLS_KEYS),
        ("server.external-published.env", DATABASE_KEYS | REDIS_KEYS | TLS_KEYS | {"REDIS_SSL_CA_CERTS"}),
    ],
)
def test_the_keys_are_those_of_the_manual(tmp_path: Path, text: str, keys: set[str]) -> None:
    assert values(RENDERED[text](), tmp_path).keys() == keys


def test_containers_go_by_name_and_others_by_the_published_address(tmp_path: Path) -> None:
    inside = values(block(on_the_network()), tmp_path)
    assert (inside["DATABASE_HOST"], inside["DATABASE_PORT"]) == ("pgbouncer", "6432")
    assert (inside["DATABASE_DIRECT_HOST"], inside["DATABASE_DIRECT_PORT"]) == ("postgres-db", "5432")
    assert (inside["REDIS_HOST"], inside["REDIS_PORT"]) == ("redis-cache", "6379")
    raw = {
        "host": {"kind": "local"},
        "network": {"publishAddress": "10.0.0.5"},
        "postgres": {"port": 15432},
        "pgbouncer": {"port": 16432},
        "redis": {"port": 16379},
    }
    outside = values(block(from_outside(parse(Settings, raw, where=""))), tmp_path)
    assert {outside[f"{name}_HOST"] for name in ("DATABASE", "DATABASE_DIRECT", "REDIS")} == {"10.0.0.5"}
    ports = [outside[f"{name}_PORT"] for name in ("DATABASE", "DATABASE_DIRECT", "REDIS")]
    assert ports == ["16432", "15432", "16379"]


# Names that are awkward in a URL, in a shell or for both.
AWKWARD = read({"a-b": {"database": "Tr-1", "user": "_U-2", "redis": True}}).application_list[0]
PLACES = {"inside": on_the_network(), "loopback": from_outside(HERE), "published": from_outside(PUBLISHED)}


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=30)
@given(database=SQL_NAMES, user=SQL_NAMES, passwords=st.tuples(ACCEPTED, ACCEPTED))
def test_a_url_says_what_the_single_values_say(
    place: str, database: str, user: str, passwords: tuple[str, str]
) -> None:
    application = read({"a-b": {"database": database, "user": user, "redis": True}}).application_list[0]
    text = connection_block(
        application, PLACES[place], database_password=passwords[0], redis_password=passwords[1]
    )
    found = {name: unquoted(value) for name, value in (line.split("=", 1) for line in text.splitlines())}
    assert found["DATABASE_PASSWORD"] == passwords[0]
    assert found["REDIS_PASSWORD"] == passwords[1]
    tls = place != "inside"
    for name, at in (("DATABASE_URL", "DATABASE"), ("DATABASE_DIRECT_URL", "DATABASE_DIRECT")):
        said = {
            "user": user,
            "password": passwords[0],
            "dbname": database,
            "host": found[f"{at}_HOST"],
            "port": found[f"{at}_PORT"],
        }
        # As libpq reads it, and as every language's library does.
        assert conninfo_to_dict(found[name]) == said | (
            {"sslmode": "verify-full", "sslrootcert": "platform-ca.crt"} if tls else {}
        )
        assert split(found[name]) == ("postgresql", *said.values())
    redis = parse_url(found["REDIS_URL"])
    assert (redis["username"], redis["password"], redis["db"]) == ("a-b", passwords[1], 0)
    assert (redis["host"], str(redis["port"])) == (found["REDIS_HOST"], found["REDIS_PORT"])
    assert found["REDIS_URL"].startswith("rediss://" if place == "published" else "redis://")


def unquoted(value: str) -> str:
    """A value of a line as sh reads it: for single and double quotes, shlex does the same."""
    (word,) = (
        shlex.split(value.replace("\\$", "$"), posix=True) if value.startswith('"') else shlex.split(value)
    )
    return word


def split(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        unquote(parts.path[1:]),
        parts.hostname or "",
        str(parts.port),
    )


def test_sh_and_compose_read_every_line_alike(tmp_path: Path) -> None:
    passwords = [*APPLICATION_CANARIES["librarian"].values(), "plain-0", "a'b", 'a"b`', "$x ${y} \\", "#'\\"]
    for number, password in enumerate(passwords):
        path = tmp_path / f"{number}.env"
        path.write_text(block(on_the_network(), AWKWARD, password), encoding="utf-8")
        by_sh = read_by_sh(path)
        by_compose = read_by_compose(path)
        for name in DATABASE_KEYS | REDIS_KEYS:
            assert by_sh[name] == by_compose[name], (name, password)
        assert by_sh["DATABASE_PASSWORD"] == by_sh["REDIS_PASSWORD"] == password
        assert conninfo_to_dict(by_sh["DATABASE_URL"])["password"] == password


def test_a_value_without_quotes_is_read_alike_too(tmp_path: Path) -> None:
    """`docker run --env-file` would take quotes for a part of the value."""
    bare = "aZ0_./:@%+,-"
    every = ["".join(v) for size in (1, 2) for v in itertools.product(bare + "'\"\\$`#=!~ ", repeat=size)]
    written = {f"V{n}": value for n, value in enumerate(v for v in every if not secret_fault(v))}
    path = tmp_path / "bare.env"
    path.write_text(
        "".join(f"{name}={quote(value, bare=True)}\n" for name, value in written.items()), encoding="utf-8"
    )
    for reader in (read_by_sh, read_by_compose):
        found = reader(path)
        assert {name: found.get(name) for name in written} == written, reader.__name__
    assert all(quote(value, bare=True) == value for value in written.values() if not set(value) - set(bare))


@given(st.from_regex(r"[A-Za-z0-9_-]{16,40}", fullmatch=True))
def test_with_a_generated_password_no_line_has_quotes(password: str) -> None:
    assert not set(block(on_the_network(), LIBRARIAN, password)) & set("'\"")
    # Only where a shell would take the & of a URL for its own.
    quoted = [
        line for line in block(from_outside(PUBLISHED), LIBRARIAN, password).splitlines() if "'" in line
    ]
    assert [line.partition("=")[0] for line in quoted] == ["DATABASE_URL", "DATABASE_DIRECT_URL"]


def test_a_password_that_cannot_be_written_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        block(on_the_network(), LIBRARIAN, "hunter'`2")
    assert "hunter" not in str(caught.value)


# --- platform.yaml ---


@pytest.mark.parametrize(
    ("application", "place"),
    [
        (LIBRARIAN, {"aliases": ["librarian"]}),
        (TRADING, {"aliases": ["trading-app"], "ipv4_address": "172.28.0.200"}),
    ],
    ids=["librarian", "trading-app"],
)
def test_compose_takes_its_place_and_its_connections_over(application: Application, place: Any) -> None:
    text = yaml.safe_load(platform_yaml(application))
    assert text == {
        "services": {
            "application": {"env_file": ["server.env"], "networks": {"central-data-platform": place}}
        },
        "networks": {"central-data-platform": {"external": True}},
    }


@pytest.mark.parametrize("application", [LIBRARIAN, TRADING], ids=lambda a: a.name)
def test_what_compose_takes_over_holds_no_secret_and_asks_for_no_variable(application: Application) -> None:
    assert "$" not in platform_yaml(application)
    assert "PASSWORD" not in platform_yaml(application).upper()


# --- the list for password.sh ---


def parts(text: str) -> Iterator[list[str]]:
    """Each line's words, with its text decoded; a path may have blanks. The last line says that nothing was cut off."""
    *lines, end, rest = text.split("\n")
    assert (end, rest) == ("end", "")
    for line in lines:
        words = line.split(" ", 4)
        at = {"verifier": 1, "file": 3, "block": 3}.get(words[0])
        yield [base64.b64decode(w, validate=True).decode() if n == at else w for n, w in enumerate(words)]


PATHS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E) | st.just(" "), min_size=1).map(
    lambda name: f"/srv/{name}x"
)
FILES = st.builds(
    PasswordFile,
    path=PATHS,
    content=st.text(min_size=1),
    mode=st.sampled_from(["0600", "0400", "0644"]),
    owner=st.sampled_from(["0:0", "1001:1001"]),
    block=st.booleans(),
)


@given(st.lists(FILES, max_size=4), st.booleans(), st.booleans())
def test_a_list_says_what_it_was_made_from(
    files: Sequence[PasswordFile], reload: bool, release: bool
) -> None:
    text = "SCRAM-SHA-256$4096:salt$stored:server"
    lines = parts(password_list(text, files, reload_pgbouncer=reload, release=release))
    assert list(lines) == [
        ["verifier", "SCRAM-SHA-256$4096:salt$stored:server"],
        *(["block" if f.block else "file", f.mode, f.owner, f.content, f.path] for f in files),
        *([["reload-pgbouncer"]] if reload else []),
        *([["release"]] if release else []),
    ]


# --- who may come from where (pg_hba.conf, PostgreSQL's and PgBouncer's) ---


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Somebody who wants in; without an address, over the socket. `hemmed`: in the group of those with weak passwords."""

    database: str
    user: str
    address: IPv4Address | None
    tls: bool = True
    hemmed: bool = False


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A line of pg_hba.conf; without a network, of every address."""

    kind: str
    database: str
    user: str
    network: IPv4Network | None
    refuses: bool

    def fits(self, attempt: Attempt) -> bool:
        if self.user == "+platform_hemmed":
            is_meant = attempt.hemmed
        else:
            is_meant = self.user == "all" or self.user.strip('"') == attempt.user
        if not is_meant or (self.database != "all" and self.database.strip('"') != attempt.database):
            return False
        if attempt.address is None or self.kind == "local":
            return attempt.address is None and self.kind == "local"
        if self.kind == "hostssl" and not attempt.tls:
            return False
        return self.network is None or attempt.address in self.network


def rules(hba: str) -> list[Rule]:
    found: list[Rule] = []
    for line in hba.splitlines():
        if not line.startswith("#"):
            kind, database, user, *rest = line.split()
            address = None if kind == "local" or rest[0] == "all" else IPv4Network(rest[0])
            method = rest[0] if kind == "local" else rest[1]
            refuses = method == "reject"
            found.append(Rule(kind=kind, database=database, user=user, network=address, refuses=refuses))
    return found


def is_let_in(hba: Sequence[Rule], attempt: Attempt) -> bool:
    """The first line that fits decides, and where none does it is a refusal."""
    return next((not rule.refuses for rule in hba if rule.fits(attempt)), False)


OWN_ADDRESS, POOLER = IPv4Address("172.28.0.200"), IPv4Address("172.28.0.254")
# The socket, the host itself, containers, and clients outside, listed and not.
FROM = [
    None,
    *(IPv4Address(n) for n in ("127.0.0.1", "172.28.0.1", "172.28.0.7", "172.28.0.150")),
    *(OWN_ADDRESS, POOLER),
    *(IPv4Address(n) for n in ("10.0.0.5", "10.0.7.9", "10.0.8.9", "8.8.8.8")),
]
HBA = pytest.mark.parametrize("hba", [pg_hba_conf, pgbouncer_hba])
NETWORKS = st.sampled_from([{}, {"publishAddress": "10.0.0.5", "clientCidrs": ["10.0.7.0/24"]}])


@st.composite
def two_applications(draw: st.DrawFn) -> Settings:
    """One that everybody may be, one whose weak password is put up with; by any names."""
    names = [draw(SQL_NAMES) for _ in range(4)]
    # Words that mean more than a name where they stand bare.
    names = [draw(st.sampled_from([name, "all", "replication", "sameuser", "samerole"])) for name in names]
    raw = {
        "a": {"database": names[0], "user": names[1]},
        "b": {**WAIVED, "database": names[2], "user": names[3]},
    }
    try:
        return read(raw, **draw(NETWORKS))
    except SettingsError:
        assume(False)
        raise


@HBA
@settings(max_examples=20)
@given(accepted=two_applications())
def test_an_application_gets_into_its_own_database_alone(
    hba: Callable[[Settings], str], accepted: Settings
) -> None:
    text = rules(hba(accepted))
    mine = {a.database for a in accepted.application_list}
    for application in accepted.application_list:
        for database in {*mine, "postgres", "template1", "replication", "anything"} - {application.database}:
            for address, tls in itertools.product(FROM, (True, False)):
                attempt = Attempt(database=database, user=application.login, address=address, tls=tls)
                assert not is_let_in(text, attempt), attempt


@HBA
@settings(max_examples=20)
@given(accepted=two_applications())
def test_an_application_comes_from_where_everybody_may(
    hba: Callable[[Settings], str], accepted: Settings
) -> None:
    text = rules(hba(accepted))
    without = rules(hba(accepted.model_copy(update={"applications": {}})))
    application, _ = accepted.application_list
    for address, tls in itertools.product(FROM, (True, False)):
        attempt = Attempt(database=application.database, user=application.login, address=address, tls=tls)
        somebody = replace(attempt, user="somebody-else")
        assert is_let_in(text, attempt) == is_let_in(without, somebody), attempt


@HBA
@settings(max_examples=20)
@given(accepted=two_applications())
def test_a_weak_password_is_taken_from_its_own_address_alone(
    hba: Callable[[Settings], str], accepted: Settings
) -> None:
    text = rules(hba(accepted))
    _, application = accepted.application_list
    # Through the pooler it comes to PostgreSQL from there; the pooler itself has looked at the address.
    places = {OWN_ADDRESS} | ({POOLER} if hba is pg_hba_conf else set())
    for address, tls, hemmed in itertools.product(FROM, (True, False), (True, False)):
        attempt = Attempt(
            database=application.database, user=application.login, address=address, tls=tls, hemmed=hemmed
        )
        assert is_let_in(text, attempt) == (address in places), attempt


@settings(max_examples=20)
@given(accepted=two_applications())
def test_a_weak_password_whose_waiver_is_gone_is_taken_from_nowhere(accepted: Settings) -> None:
    """Until the step that gives the role a strong one takes it out of the group."""
    text = rules(pg_hba_conf(accepted))
    application, _ = accepted.application_list
    for address, tls in itertools.product(FROM, (True, False)):
        attempt = Attempt(
            database=application.database, user=application.login, address=address, tls=tls, hemmed=True
        )
        assert not is_let_in(text, attempt), attempt


@HBA
@settings(max_examples=20)
@given(accepted=two_applications())
def test_applications_change_nothing_for_others(hba: Callable[[Settings], str], accepted: Settings) -> None:
    text = rules(hba(accepted))
    without = rules(hba(accepted.model_copy(update={"applications": {}})))
    databases = {"postgres", "anything", *(a.database for a in accepted.application_list)}
    users = ("platform_admin", "pgbouncer_auth", "somebody-else")
    for database, user, address, tls in itertools.product(databases, users, FROM, (True, False)):
        attempt = Attempt(database=database, user=user, address=address, tls=tls)
        assert is_let_in(text, attempt) == is_let_in(without, attempt), attempt


# --- its resources ---


def written(recording: Recording, name: str) -> dict[str, list[str]]:
    """What password.sh is given for an application: the words before each path."""
    lines = parts(recording[f"platform-application-{name}-password"].inputs["stdin"])
    return {line[-1]: line[:-1] for line in lines}


def test_its_files_say_the_password_that_its_role_gets(local: Recording) -> None:
    password = APPLICATION_CANARIES["librarian"]["database"]
    files = written(local, "librarian")
    expected = verifier(password, salt(CANARIES["saltKey"], "librarian_user"))
    assert files.pop(expected) == ["verifier"]
    assert files.pop("release") == []
    block_of = {
        file: connection_block(
            LIBRARIAN,
            at,
            database_password=password,
            redis_password=APPLICATION_CANARIES["librarian"]["redis"],
        )
        for file, at in {"server.env": on_the_network(), "server.external.env": from_outside(HERE)}.items()
    }
    assert files == {
        "/srv/apps/librarian/server.env": ["block", "0600", "0:0", block_of["server.env"]],
        "/srv/apps/librarian/server.external.env": ["block", "0600", "0:0", block_of["server.external.env"]],
        "/srv/apps/librarian/platform.yaml": ["file", "0644", "0:0", platform_yaml(LIBRARIAN)],
        "/srv/apps/librarian/platform-ca.crt": ["file", "0644", "0:0", CA_CERTIFICATE],
    }


def test_without_redis_its_files_say_nothing_of_it(local: Recording) -> None:
    files = written(local, "trading-app")
    assert "REDIS" not in files["/srv/apps/trading-app/server.env"][-1]
    assert "REDIS" not in files["/srv/apps/trading-app/server.external.env"][-1]


def test_its_account_is_told_its_names_limit_and_extensions(local: Recording) -> None:
    told = {
        name: local[f"platform-application-{name}-account"].inputs["words"]
        for name in ("librarian", "trading-app")
    }
    groups = [f"librarian_{group}" for group in ("owner", "readonly", "readwrite")]
    assert told["librarian"][-11:] == [
        *("application.sh", ACTION, "librarian", "librarian", "librarian_user"),
        *groups,
        *("10", "no", "pg_trgm"),
    ]
    groups = [f"trading_app_{group}" for group in ("owner", "readonly", "readwrite")]
    assert told["trading-app"][-10:] == [
        *("application.sh", ACTION, "trading-app", "trading", "trading_app_user"),
        *groups,
        # Its weak password is put up with.
        *("15", "yes"),
    ]


def test_only_a_strong_password_lets_a_role_out_of_its_bounds(local: Recording) -> None:
    lists = {
        name: local[f"platform-application-{name}-password"].inputs["stdin"].splitlines()
        for name in ("librarian", "trading-app")
    }
    assert "release" in lists["librarian"]
    assert "release" not in lists["trading-app"]


def test_an_extension_that_is_said_twice_is_one() -> None:
    run = run_program(plain={"applications": {"librarian": {"extensions": ["pg_trgm", "citext", "pg_trgm"]}}})
    assert run.error is None
    words = run["platform-application-librarian-account"].inputs["words"]
    assert words[-4:] == ["15", "no", "citext", "pg_trgm"]


def test_whoever_is_not_in_the_settings_is_closed(local: Recording) -> None:
    closed = local["platform-postgres-former-logins"].inputs["words"]
    assert closed[-5:] == [
        *("close-applications.sh", ACTION, "/srv"),
        *("librarian/librarian_user", "trading-app/trading_app_user"),
    ]


def test_redis_ends_with_the_users_of_its_own_list(local: Recording) -> None:
    stdin = local["platform-redis-settled"].inputs["stdin"]
    acl = local.files["/srv/config/redis/users.acl"].text
    first, rest = stdin.split("\n", 1)
    assert re.fullmatch(r"AUTH operator [0-9a-f]{64}", first)
    assert rest.startswith(f"{acl}config protected-mode yes\n")
    settings = [line.removeprefix("config ") for line in rest.removeprefix(acl).splitlines()]
    assert settings[-1] == "end"
    assert "maxmemory 268435456" in settings
    assert "save " in settings
    assert [line.split()[1] for line in acl.splitlines()] == [
        *("default", "admin", "operator", "health"),
        "librarian",
    ]


def test_no_applications_leave_a_platform_of_its_own() -> None:
    run = run_program(plain={"applications": {}})
    assert run.error is None
    assert not [r.name for r in run.registrations if "platform-application-" in r.name]
    assert run.exports["applications"] == {}
    assert run["platform-postgres-former-logins"].inputs["words"][-2:] == [ACTION, "/srv"]
    assert "APP_" not in run["platform-secrets-file"].inputs["stdin"]


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        (LIBRARIAN, ("librarian", "librarian_user", "/my srv/apps/librarian/server.env", "librarian:", None)),
        (
            TRADING,
            (
                "trading",
                "trading_app_user",
                "/my srv/apps/trading-app/server.env",
                None,
                "until 2027-06-30: uses its password as its port",
            ),
        ),
    ],
    ids=["librarian", "trading-app"],
)
def test_the_stack_says_where_to_find_it_and_what_its_end_would_mean(
    application: Application, expected: tuple[str | None, ...]
) -> None:
    said = summary(application, "/my srv")
    when_removed = said.pop("whenRemoved")
    assert when_removed is not None
    assert tuple(said.values()) == expected
    assert list(said) == ["database", "user", "serverEnv", "redisKeyPrefix", "passwordWaiver"]
    assert f"database {application.database} and the keys are kept" in when_removed
    assert when_removed.endswith(f": make drop-application NAME={application.name}")
