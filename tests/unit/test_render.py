"""Every text that a service or an operator reads: kept as a golden file, and sound for all settings that are accepted."""

import configparser
import hashlib
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.application_settings import Application
from components.host_settings import LocalHostSettings
from components.native_names import POSTGRES_AT_START
from components.render import pgbouncer, postgres, redis, services
from components.render.env_file import env_file
from components.render.service import Service, compose_file, published, service_text
from components.render.waivers import waivers_tsv
from components.settings import RESERVED_CONNECTIONS, Settings, parse
from components.tuning import kib

SETTINGS = Settings(host=LocalHostSettings(kind="local"))
# Published on a private address, for clients of one network.
OUTSIDE = parse(
    Settings,
    {"host": {"kind": "local"}, "network": {"publishAddress": "10.0.0.5", "clientCidrs": ["10.0.7.0/24"]}},
    where="",
)
# One application with all that there is to ask for, one whose weak password is put up with.
WITH_APPLICATIONS = parse(
    Settings,
    {
        "host": {"kind": "local"},
        "network": {"publishAddress": "10.0.0.5", "clientCidrs": ["10.0.7.0/24"]},
        "applications": {
            "librarian": {"redis": True, "pool": 20, "extensions": ["pg_trgm"]},
            "trading-app": {
                "database": "Trading-1",
                "user": "all",
                "address": "172.28.0.200",
                "redis": {"allow": ["scripts", "info", "scan"]},
                "passwordWaiver": {"reason": "uses its password as its port", "until": "2027-06-30"},
            },
        },
    },
    where="",
)
LIBRARIAN, TRADING = WITH_APPLICATIONS.application_list
OWN_RULES = redis.users(admin_password="redis-admin-password", salt_key="salt-key")
RULES = OWN_RULES | {a.name: redis.application_user(a, f"{a.name}-password") for a in (LIBRARIAN, TRADING)}


def described(settings: Settings) -> list[tuple[Service, str]]:
    """The services with images of the example."""
    return [
        (services.postgres_service(settings), "postgres@sha256:" + "1" * 64),
        (services.redis_service(settings), "redis@sha256:" + "2" * 64),
        (services.pgbouncer_service(settings), "percona/percona-pgbouncer@sha256:" + "3" * 64),
        (services.wal_service(settings), "postgres@sha256:" + "1" * 64),
    ]


RENDERED: dict[str, Callable[[], str]] = {
    "postgresql.conf": lambda: postgres.postgresql_conf(SETTINGS.postgres),
    "pg_hba.conf": lambda: postgres.pg_hba_conf(SETTINGS),
    "pg_hba-outside.conf": lambda: postgres.pg_hba_conf(OUTSIDE),
    "pg_ident.conf": postgres.pg_ident_conf,
    "pg_hba-applications.conf": lambda: postgres.pg_hba_conf(WITH_APPLICATIONS),
    "roles.sql": postgres.roles_sql,
    "redis.conf": lambda: redis.redis_conf(SETTINGS.redis),
    "users.acl": lambda: redis.users_acl(RULES),
    "redis-commands.txt": lambda: redis.reload_commands(RULES, salt_key="salt-key"),
    "pgbouncer.ini": lambda: pgbouncer.pgbouncer_ini(SETTINGS),
    "pgbouncer-applications.ini": lambda: pgbouncer.pgbouncer_ini(WITH_APPLICATIONS),
    "pgbouncer-pg_hba.conf": lambda: pgbouncer.pgbouncer_hba(SETTINGS),
    "pgbouncer-pg_hba-outside.conf": lambda: pgbouncer.pgbouncer_hba(OUTSIDE),
    "pgbouncer-pg_hba-applications.conf": lambda: pgbouncer.pgbouncer_hba(WITH_APPLICATIONS),
    "userlist.txt": lambda: pgbouncer.userlist(auth_password='auth-"password'),
    "platform.env": lambda: env_file(
        {
            "POSTGRES_PASSWORD": "plain",
            "PGBOUNCER_AUTH_PASSWORD": "it's $5",
            "REDIS_ADMIN_PASSWORD": 'a\\b"c',
            LIBRARIAN.secret_name("DB"): "one",
            LIBRARIAN.secret_name("REDIS"): "two",
            TRADING.secret_name("DB"): "6432",
        }
    ),
    "waivers.tsv": lambda: waivers_tsv(WITH_APPLICATIONS.application_list),
    "docker-compose.yml": lambda: compose_file(
        described(SETTINGS), SETTINGS.network, srv_root=SETTINGS.srv_root
    ),
    **{
        f"service-{service.name}.yml": lambda service=service, image=image: service_text(service, image)
        for service, image in described(SETTINGS)
    },
}


@pytest.mark.parametrize("name", RENDERED)
def test_the_text_is_the_golden_one(name: str, golden: Callable[[str, str], None]) -> None:
    golden(name, RENDERED[name]())


@pytest.mark.parametrize("name", RENDERED)
def test_a_text_ends_with_a_line_and_has_no_blanks_at_the_end_of_one(name: str) -> None:
    text = RENDERED[name]()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


def test_a_failing_golden_test_says_how_to_accept_the_change(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UPDATE_GOLDEN", raising=False)
    with pytest.raises(pytest.fail.Exception) as caught:
        golden("pg_ident.conf", "something else\n")
    said = str(caught.value)
    assert "+something else" in said
    assert "UPDATE_GOLDEN=1 .venv/bin/pytest tests/unit" in said


# --- PostgreSQL ---


def test_the_restart_part_holds_just_what_needs_a_restart() -> None:
    written = values(postgres.postgresql_conf(SETTINGS.postgres))
    first = values(postgres.restart_part(SETTINGS.postgres))
    assert first == {name: value for name, value in written.items() if name in POSTGRES_AT_START}
    assert {"max_connections", "shared_buffers", "huge_pages", "wal_buffers", "max_worker_processes"} <= set(
        first
    )


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("64MB", "64MB"),
        ("-1", "-1"),
        ("it's", "'it''s'"),
        ("a b", "'a b'"),
        ("back\\slash", "'back\\\\slash'"),
        ("# no comment", "'# no comment'"),
        ("iso, mdy", "'iso, mdy'"),
        (True, "on"),
        (0.5, "0.5"),
    ],
)
def test_a_value_of_an_operator_is_one_value_to_postgres(said: Any, written: str) -> None:
    read = parse(
        Settings, {"host": {"kind": "local"}, "postgres": {"parameters": {"datestyle": said}}}, where=""
    )
    assert values(postgres.postgresql_conf(read.postgres))["datestyle"] == written


def values(text: str) -> dict[str, str]:
    """Name and value of each line of postgresql.conf, each name once."""
    pairs = [line.split(" = ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


def hba_rules(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def test_nobody_gets_into_postgres_unproved() -> None:
    rules = hba_rules(RENDERED["pg_hba.conf"]())
    methods = {rule[3] if rule[0] == "local" else rule[4] for rule in rules}
    assert methods == {"peer", "scram-sha-256", "reject"}
    assert [rule for rule in rules if "peer" in rule] == [
        ["local", "all", "platform_admin", "peer", "map=operator"],
        ["local", "replication", "platform_backup", "peer", "map=operator"],
        ["local", "postgres", "platform_backup", "peer", "map=operator"],
        ["local", "all", "platform_restore", "peer", "map=operator"],
    ]
    assert ["host", "all", "platform_backup", "all", "reject"] in rules
    assert rules[-1] == ["host", "all", "all", "all", "reject"]


def test_the_look_up_role_gets_in_from_the_platforms_network_only() -> None:
    lines = RENDERED["pg_hba.conf"]().splitlines()
    rules = [line.split()[1:] for line in lines if "pgbouncer_auth" in line]
    assert rules == [
        ["postgres", "pgbouncer_auth", "172.28.0.0/24", "scram-sha-256"],
        ["all", "pgbouncer_auth", "reject"],
        ["all", "pgbouncer_auth", "all", "reject"],
    ]


def test_sql_sets_no_password() -> None:
    """password.sh does, with the files that hold it; psql.sh's standard input is no secret."""
    text = postgres.roles_sql()
    assert not re.search(r"\bPASSWORD\b", text, re.IGNORECASE)
    assert "SCRAM-SHA-256" not in text


def test_sql_is_one_transaction_that_is_nothing_when_it_is_cut_off() -> None:
    session, *lines = postgres.roles_sql().splitlines()
    # Outside it, what concerns this session alone.
    assert session == "SET client_min_messages = warning;"
    assert lines[0] == "BEGIN;"
    assert lines[-1] == "COMMIT;"
    assert "\n".join(lines).count("COMMIT") == 1


def test_nobody_gets_into_the_platform_s_own_databases_unasked() -> None:
    assert "REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;" in postgres.roles_sql()


# --- Redis ---


def test_redis_texts_hold_no_password() -> None:
    text = redis.users_acl(RULES) + redis.reload_commands(RULES, salt_key="salt-key")
    assert "redis-admin-password" not in text
    assert "salt-key" not in text
    # The one clear password is that of the user who runs the commands.
    assert redis.operator_password("salt-key") not in redis.users_acl(RULES)
    assert text.count(redis.operator_password("salt-key")) == 1
    assert "librarian-password" not in text
    assert hashlib.sha256(b"librarian-password").hexdigest() in RULES["librarian"]


def test_redis_users_may_do_no_more_than_they_need() -> None:
    allowed = {name: set(re.findall(r"(?<= )\+\S+", rule)) for name, rule in RULES.items()}
    safe = {
        *("+@read", "+@write", "+@connection", "+@transaction", "+@pubsub"),
        *("+memory|usage", "+time", "+command"),
    }
    scripts = {"+eval", "+eval_ro", "+evalsha", "+evalsha_ro", "+script|load", "+script|exists"}
    assert allowed == {
        "librarian": safe,
        "trading-app": safe | scripts | {"+info", "+scan"},
        "default": set(),
        "admin": {"+@all"},
        "operator": {"+acl", "+config|get", "+config|set", "+ping"},
        "health": {"+ping"},
    }
    assert RULES["default"].startswith("off ")
    assert [name for name, rule in RULES.items() if "nopass" in rule] == ["health"]


def test_the_commands_set_the_same_rules_as_the_file() -> None:
    file = dict(line.removeprefix("user ").split(" ", 1) for line in redis.users_acl(RULES).splitlines())
    login, *commands, certificate, end = redis.reload_commands(RULES, salt_key="salt-key").splitlines()
    # By which reload-redis.sh knows that nothing was cut off.
    assert end == "end"
    assert login == f"AUTH operator {redis.operator_password('salt-key')}"
    # Both in one command: one after the other, the first would not fit the second.
    assert certificate == (
        "CONFIG SET tls-cert-file /etc/redis/tls/server.crt tls-key-file /etc/redis/tls/server.key"
    )
    # All but the passwords starts anew: an earlier one stays good until redis-running.sh takes it away.
    anew = " resetkeys resetchannels clearselectors -@all "
    said = (line.removeprefix("ACL SETUSER ").split(anew, 1) for line in commands)
    assert dict(said) == file


def test_a_new_rule_leaves_nothing_of_the_old_one_but_its_passwords() -> None:
    commands = redis.reload_commands(RULES, salt_key="salt-key").splitlines()[1:-2]
    assert len(commands) == len(RULES)
    for command in commands:
        # `reset` and `resetpass` would end the old password, and with it the clients that have no other yet.
        assert not {"reset", "resetpass"} & set(command.split()), command


@pytest.mark.parametrize("application", [LIBRARIAN, TRADING], ids=lambda a: a.name)
def test_an_application_has_its_own_keys_and_channels_alone(application: Application) -> None:
    words = RULES[application.name].split()
    assert [word for word in words if word.startswith(("~", "%", "allkeys"))] == [f"~{application.name}:*"]
    assert [word for word in words if word.startswith(("&", "allchannels"))] == [f"&{application.name}:*"]
    # The pattern of channels adds to what is there before it, and a new user may have all.
    assert words.index("resetchannels") < words.index(f"&{application.name}:*")
    assert words.index("-@all") < min(n for n, word in enumerate(words) if word.startswith("+"))
    # What a category gives is taken away after it.
    for taken in ("-@dangerous", "-@admin", "-@scripting", "-scan", "-randomkey", "-dbsize", "-pubsub"):
        assert words.index(taken) > words.index("+@pubsub"), taken
    assert not {"nopass", "+@all", "allcommands"} & set(words)


def test_what_an_application_asks_for_comes_after_what_is_taken_away() -> None:
    assert RULES["trading-app"].endswith(
        " +command +info +scan +eval +eval_ro +evalsha +evalsha_ro +script|load +script|exists"
    )
    assert RULES["librarian"].endswith(" +command")


def test_the_operators_password_depends_on_the_salt_key_alone() -> None:
    rotated = redis.users(admin_password="another", salt_key="salt-key")
    assert rotated["operator"] == RULES["operator"]
    assert rotated["admin"] != RULES["admin"]


# --- PgBouncer ---


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_pgbouncer_reads_its_user_list_back(password: str) -> None:
    text = pgbouncer.userlist(auth_password=password)
    found = re.fullmatch(r'"pgbouncer_auth" "((?:[^"]|"")*)"\n', text)
    assert found is not None
    assert found.group(1).replace('""', '"') == password


def ini(settings: Settings) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(pgbouncer.pgbouncer_ini(settings))
    return parser["pgbouncer"]


def test_only_a_strong_password_goes_over_the_socket() -> None:
    """Whoever can open it could try a weak one; on the network PostgreSQL takes that from the pooler's address alone."""
    lines = RENDERED["pgbouncer-applications.ini"]().splitlines()
    hosts = {line.split(" = ")[0]: line.split(" = ")[1].split()[0] for line in lines if " = host=" in line}
    assert hosts == {
        "librarian": "host=/var/run/postgresql",
        "Trading-1": "host=172.28.0.253",
        # Where the platform's own roles go: over the socket they are whom the kernel says.
        "*": "host=172.28.0.253",
    }


def test_pgbouncer_trusts_nobody() -> None:
    assert ini(SETTINGS)["auth_type"] == "hba"
    rules = hba_rules(RENDERED["pgbouncer-pg_hba.conf"]())
    assert {rule[-1] for rule in rules} == {"scram-sha-256", "reject"}
    assert rules[-1] == ["host", "all", "all", "all", "reject"]


# --- all settings that are accepted ---


def _sizes(low: int) -> st.SearchStrategy[int]:
    return st.integers(low, 1_000_000)


PRIVATE_NETWORKS = st.builds(
    lambda start, within, prefix: str(IPv4Network((start + within, prefix), strict=False)),
    st.sampled_from([int(IPv4Address(start)) for start in ("10.0.0.0", "172.16.0.0", "192.168.0.0")]),
    st.integers(0, 0xFFFF),
    st.integers(16, 32),
)


@st.composite
def raw_settings(draw: st.DrawFn) -> dict[str, Any]:
    """A stack's configuration that is accepted."""
    ports = draw(st.lists(st.integers(1, 65535), min_size=3, max_size=3, unique=True))
    connections = draw(st.integers(20, 10_000))
    memory = draw(_sizes(256))
    redis_memory = draw(_sizes(64))
    subnet = IPv4Network((draw(st.integers(0, 2**32 - 1)), draw(st.integers(8, 28))), strict=False)
    return {
        "host": {"kind": "local"},
        "srvRoot": "/" + draw(st.text("abc '\"#&{}-_.é", min_size=1).map(lambda t: f"x{t}x")),
        "network": {
            "subnet": str(subnet),
            "publishAddress": draw(st.sampled_from(["127.0.0.1", "10.0.0.5", "192.168.1.1"])),
            "clientCidrs": draw(st.lists(PRIVATE_NETWORKS, max_size=3)),
        },
        "postgres": {
            "port": ports[0],
            "memory": memory,
            "shmSize": draw(st.integers(64, memory)),
            "maxConnections": connections,
            "timezone": draw(st.sampled_from(["UTC", "Europe/Berlin", "Etc/GMT+3"])),
            "statementTimeoutSeconds": draw(st.integers(0, 100_000)),
            "slotWalLimit": draw(_sizes(64)),
        },
        "redis": {
            "port": ports[1],
            "memory": redis_memory,
            "maxmemory": draw(st.integers(16, redis_memory * 2 // 3)),
        },
        "pgbouncer": {
            "port": ports[2],
            "memory": draw(_sizes(32)),
            "poolSize": draw(st.integers(1, connections - RESERVED_CONNECTIONS)),
        },
    }


ACCEPTED = raw_settings().map(lambda raw: parse(Settings, raw, where=""))


def megabytes(text: str) -> int:
    assert text.endswith("MB")
    return int(text.removesuffix("MB"))


@given(ACCEPTED)
def test_postgres_memory_is_positive_and_within_the_containers(accepted: Settings) -> None:
    found = values(postgres.postgresql_conf(accepted.postgres))
    shared = megabytes(found["shared_buffers"])
    assert 0 < shared < accepted.postgres.memory
    assert shared < megabytes(found["effective_cache_size"]) <= accepted.postgres.memory
    for name in ("work_mem", "maintenance_work_mem"):
        assert 0 < kib(name, found[name]) < accepted.postgres.memory * 1024
    assert megabytes(found["max_slot_wal_keep_size"]) == accepted.postgres.slot_wal_limit
    assert all(found.values())


HBA = pytest.mark.parametrize("hba", [postgres.pg_hba_conf, pgbouncer.pgbouncer_hba])


@HBA
@given(accepted=ACCEPTED)
def test_outside_the_bridge_network_there_is_no_way_in_without_tls(
    hba: Callable[[Settings], str], accepted: Settings
) -> None:
    rules = [rule for rule in hba_rules(hba(accepted)) if rule[0] != "local"]
    plain = [IPv4Network(rule[3]) for rule in rules if rule[0] == "host" and rule[4] != "reject"]
    assert plain
    for network in plain:
        assert network == IPv4Network("127.0.0.1/32") or network == accepted.network.subnet
    encrypted = [rule for rule in rules if rule[0] == "hostssl"]
    assert [IPv4Network(rule[3]) for rule in encrypted] == accepted.outside_clients
    assert {rule[0] for rule in rules} <= {"host", "hostssl"}
    assert {rule[4] for rule in rules} == {"scram-sha-256", "reject"}
    assert rules[-1] == ["host", "all", "all", "all", "reject"]


@HBA
@given(accepted=ACCEPTED)
def test_who_seems_to_be_the_gateway_is_refused_first_where_ports_are_published_to_others(
    hba: Callable[[Settings], str], accepted: Settings
) -> None:
    first = next(rule for rule in hba_rules(hba(accepted)) if rule[0] != "local")
    refused = first == ["host", "all", "all", f"{accepted.network.gateway_address}/32", "reject"]
    assert refused == (not accepted.publish_address.is_loopback)


@given(ACCEPTED)
def test_the_look_up_role_is_refused_outside_before_anybody_is_let_in(accepted: Settings) -> None:
    rules = hba_rules(postgres.pg_hba_conf(accepted))
    rejected = rules.index(["host", "all", "pgbouncer_auth", "all", "reject"])
    assert rejected < min((n for n, rule in enumerate(rules) if rule[0] == "hostssl"), default=len(rules))


@given(ACCEPTED)
def test_redis_is_published_over_tls_unless_on_this_machine_alone(accepted: Settings) -> None:
    ((_, _, port),) = published(services.redis_service(accepted))
    conf = redis.redis_conf(accepted.redis)
    plain, encrypted = (re.search(rf"^{key} (\d+)$", conf, re.MULTILINE) for key in ("port", "tls-port"))
    assert plain
    assert encrypted
    assert port == int((plain if accepted.publish_address.is_loopback else encrypted).group(1))


@given(ACCEPTED)
def test_redis_data_leaves_room_for_a_background_save(accepted: Settings) -> None:
    conf = dict(
        line.split(" ", 1) for line in redis.redis_conf(accepted.redis).splitlines() if line[:1].isalpha()
    )
    limit = int(conf["maxmemory"].removesuffix("mb"))
    assert limit > 0
    assert limit * 3 <= accepted.redis.memory * 2


@given(ACCEPTED)
def test_a_pool_leaves_connections_for_the_operator(accepted: Settings) -> None:
    most = int(values(postgres.postgresql_conf(accepted.postgres))["max_connections"])
    assert int(ini(accepted)["default_pool_size"]) + RESERVED_CONNECTIONS <= most


def undo_interpolation(text: str) -> str:
    """What compose makes of a text without variables; fails where there is one."""
    assert "$" not in text.replace("$$", "")
    return text.replace("$$", "$")


@settings(max_examples=15)
@given(ACCEPTED)
def test_compose_reads_the_services_back(accepted: Settings) -> None:
    text = yaml.safe_load(
        undo_interpolation(compose_file(described(accepted), accepted.network, srv_root=accepted.srv_root))
    )
    assert list(text["services"]) == ["postgres-db", "redis-cache", "pgbouncer", "postgres-wal"]
    for service, image in described(accepted):
        read = text["services"][service.name]
        ports = [(p["host_ip"], int(p["published"]), p["target"]) for p in read.get("ports", [])]
        assert ports == published(service)
        assert [(m["source"], m["target"], m["read_only"]) for m in read["volumes"]] == [
            (m.source, m.target, m.read_only) for m in service.mounts
        ]
        alone = yaml.safe_load(undo_interpolation(service_text(service, image)))
        (same,) = alone["services"].values()
        assert same == {key: value for key, value in read.items() if key != "depends_on"}


def test_a_dollar_sign_in_a_command_is_no_variable_to_compose() -> None:
    service = Service(
        name="x",
        command=["echo", "$HOME $$ ${x}"],
        health_test=["CMD", "true"],
        health_start_period="1s",
        mounts=[],
        publish=("127.0.0.1", 1, 1),
        memory=64,
        stop_signal="SIGTERM",
        stop_grace_seconds=1,
    )
    text = yaml.safe_load(undo_interpolation(service_text(service, "i")))
    assert text["services"]["x"]["command"] == ["echo", "$HOME $$ ${x}"]


def test_a_change_of_one_service_does_not_change_the_text_of_another() -> None:
    changed = parse(Settings, {"host": {"kind": "local"}, "redis": {"memory": 1024}}, where="")
    before = {service.name: service_text(service, image) for service, image in described(SETTINGS)}
    after = {service.name: service_text(service, image) for service, image in described(changed)}
    assert {name for name in before if before[name] != after[name]} == {"redis-cache"}
