"""What an application may be called and ask for, and the sentence for what not."""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.application_settings import (
    LEAST_CHARACTERS,
    LEAST_DIFFERENT,
    LONGEST_WAIVER,
    NAME_BYTES,
    Application,
    waiver_fault,
    weakness,
)
from components.settings import RESERVED_CONNECTIONS, Settings, SettingsError, parse

HERE = "central-data-platform:"
WAIVER = {"reason": "uses its password as its port", "until": "2027-06-30"}
ADDRESS = "172.28.0.200"


def read(applications: Mapping[str, Any], **raw: Any) -> Settings:
    return parse(Settings, {"host": {"kind": "local"}, "applications": applications, **raw}, where=HERE)


def one(name: str = "librarian", **said: Any) -> Application:
    """The only application of the settings."""
    (found,) = read({name: said}).application_list
    return found


def sentences(applications: Any, **raw: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(applications, **raw)
    return str(caught.value).splitlines()


# --- names ---


def test_all_names_follow_from_the_application_s() -> None:
    application = one("trading-app")
    assert application.database == "trading_app"
    assert application.login == "trading_app_user"
    assert application.owner == "trading_app_owner"
    assert application.read_only == "trading_app_readonly"
    assert application.read_write == "trading_app_readwrite"
    assert application.key_prefix == "trading-app:"
    assert application.secret_name("DB") == "APP_TRADING_APP_DB_PASSWORD"
    assert application.secret_name("REDIS") == "APP_TRADING_APP_REDIS_PASSWORD"


def test_database_and_login_may_have_names_of_their_own() -> None:
    application = one("trading-app", database="Trading-2", user="trading_app_USER")
    assert (application.database, application.login) == ("Trading-2", "trading_app_USER")
    # The groups keep theirs: nobody connects as one.
    assert application.roles[1:] == ("trading_app_owner", "trading_app_readonly", "trading_app_readwrite")


def test_the_defaults_are_those_of_the_manual() -> None:
    application = one()
    assert application.settings.pool == 10
    assert application.settings.direct_connections == 5
    assert application.connections == 15
    assert application.settings.redis is None
    assert application.settings.extensions == []
    assert application.settings.address is None
    assert application.settings.password_waiver is None


def test_applications_come_in_the_order_of_their_names() -> None:
    raw = {name: {} for name in ("b", "a-b", "a", "c")}
    assert [a.name for a in read(raw).application_list] == ["a", "a-b", "b", "c"]


# Of the platform, of PostgreSQL and of Redis, or what would become one of them.
TAKEN = [
    *("postgres-stack", "postgres-db", "redis-cache", "pgbouncer", "postgres-wal", "localhost"),
    *("default", "admin", "operator", "health", "platform-check", "pg-stat", "pg"),
]
ACCEPTED_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in (*TAKEN, "postgres", "template0", "template1") and not name.startswith("pg-")
)
SQL_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", fullmatch=True).filter(
    lambda name: (
        not name.startswith("pg_")
        and name
        not in {
            *("postgres", "template0", "template1", "pgbouncer"),
            *("platform_admin", "platform_hemmed", "pgbouncer_auth"),
            *("public", "none", "current_role", "current_user", "session_user"),
        }
    )
)


@given(ACCEPTED_NAMES)
def test_whatever_an_application_is_called_postgresql_takes_its_names_whole(name: str) -> None:
    application = one(name)
    names = {application.database, *application.roles}
    # Five things, five names.
    assert len({*application.roles}) == 4
    for found in names:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", found), found
        assert len(found.encode()) <= NAME_BYTES
        assert not found.startswith("pg_")
    # A name in a shell's environment.
    assert re.fullmatch(r"APP_[A-Z0-9_]+_DB_PASSWORD", application.secret_name("DB"))


@given(st.lists(ACCEPTED_NAMES, min_size=2, max_size=6, unique=True))
def test_two_applications_never_share_a_secret_or_a_prefix_of_keys(names: list[str]) -> None:
    applications = [Application(name=name, settings=one("x").settings) for name in names]
    assert len({a.secret_name("DB") for a in applications}) == len(names)
    for a in applications:
        assert not [b.name for b in applications if b is not a and b.key_prefix.startswith(a.key_prefix)]


@given(SQL_NAMES, SQL_NAMES)
def test_a_name_of_postgresql_s_is_taken_as_it_is(database: str, user: str) -> None:
    application = one("x", database=database, user=user)
    assert (application.database, application.login) == (database, user)


def refusal(applications: Mapping[str, Any]) -> str | None:
    """What is said of settings that are not accepted."""
    try:
        read(applications)
    except SettingsError as error:
        return str(error)
    return None


@given(st.text(max_size=45))
def test_any_text_is_an_application_s_name_or_refused_in_a_sentence(name: str) -> None:
    said = refusal({name: {}})
    if said is None:
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name)
    else:
        assert said.startswith(f"{HERE}applications")
        assert said.isprintable()


@given(st.text(max_size=70), st.sampled_from(["database", "user"]))
def test_any_text_is_a_name_in_postgresql_or_refused_in_a_sentence(name: str, key: str) -> None:
    said = refusal({"x": {key: name}})
    if said is None:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", name)
    else:
        assert said.startswith(f"{HERE}applications.x.{key}: ")
        assert said.isprintable()


SHAPE = "cannot be an application's name; write up to 40 of a-z, 0-9 and -, a letter first and no hyphen last"
SQL_SHAPE = (
    "cannot be a name in PostgreSQL here; write up to 63 of A-Z, a-z, 0-9, _ and -, a letter or _ first"
)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "A",
            "Librarian",
            "1a",
            "-a",
            "a-",
            "a_b",
            "a.b",
            "a/b",
            "../x",
            "a b",
            "a\n",
            "ä",
            "a$",
            "a:b",
        ),
        *("a" * 41, "[key]"),
    ],
)
def test_an_application_s_name_of_another_shape_is_refused(name: str) -> None:
    said = "\n".join(sentences({name: {}}))
    assert said.endswith(f"{name!r} {SHAPE}")


@pytest.mark.parametrize("name", TAKEN)
def test_an_application_s_name_that_is_taken_is_refused(name: str) -> None:
    assert sentences({name: {}}) == [
        f"{HERE}applications.{name}: {name} is a name of the platform or of PostgreSQL; write another one"
    ]


@pytest.mark.parametrize("name", ["postgres", "template0", "template1"])
def test_an_application_whose_database_would_be_the_platform_s_is_refused(name: str) -> None:
    """It would be given that database."""
    (sentence,) = sentences({name: {}})
    assert name in sentence


@pytest.mark.parametrize("name", ["a" * 40, "a", "a-b-c", "x1", "a--b"])
def test_an_application_s_name_of_that_shape_is_taken(name: str) -> None:
    assert one(name).name == name


@pytest.mark.parametrize("key", ["database", "user"])
@pytest.mark.parametrize("name", ["", "1a", "-a", "a b", "a.b", "a$", 'a"b', "a'b", "ä", "x" * 64, "a\nb"])
def test_a_name_in_postgresql_of_another_shape_is_refused(key: str, name: str) -> None:
    assert sentences({"x": {key: name}}) == [f"{HERE}applications.x.{key}: {name!r} {SQL_SHAPE}"]


@pytest.mark.parametrize("name", ["postgres", "template0", "template1", "pgbouncer"])
def test_the_platform_s_databases_are_no_application_s(name: str) -> None:
    assert sentences({"x": {"database": name}}) == [
        f"{HERE}applications.x.database: {name} is a database of the platform; write another name"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("platform_admin", "platform_hemmed", "pgbouncer_auth", "pgbouncer", "postgres"),
        *("public", "none", "current_role", "current_user", "session_user"),
    ],
)
def test_the_platform_s_roles_are_no_application_s(name: str) -> None:
    assert sentences({"x": {"user": name}}) == [
        f"{HERE}applications.x.user: {name} is a role of the platform or of PostgreSQL; write another name"
    ]


@pytest.mark.parametrize("key", ["database", "user"])
def test_a_name_that_postgresql_keeps_is_refused(key: str) -> None:
    assert sentences({"x": {key: "pg_x"}}) == [
        f"{HERE}applications.x.{key}: pg_x begins with pg_, which PostgreSQL keeps for itself; write another name"
    ]


# --- clashes ---


@pytest.mark.parametrize(
    ("applications", "sentence"),
    [
        (
            {"a": {"database": "x"}, "b": {"database": "x"}},
            "database x would be that of a and of b; write another applications.b.database",
        ),
        (
            {"a-b": {}, "x": {"database": "a_b"}},
            "database a_b would be that of a-b and of x; write another applications.x.database",
        ),
        (
            {"a": {"user": "x"}, "b": {"user": "x"}},
            "role x would be that of a and of b; write another applications.b.user",
        ),
        (
            {"a": {}, "b": {"user": "a_owner"}},
            "role a_owner would be that of a and of b; write another applications.b.user",
        ),
        (
            {"a-b": {}, "a-b-c": {"user": "a_b_readonly"}},
            "role a_b_readonly would be that of a-b and of a-b-c; write another applications.a-b-c.user",
        ),
        (
            {"a": {"user": "a_readwrite"}},
            "role a_readwrite is one of a's own groups; write another applications.a.user",
        ),
        (
            {"a": {"address": ADDRESS}, "b": {"address": ADDRESS}},
            f"address {ADDRESS} would be that of a and of b; write another applications.b.address",
        ),
    ],
)
def test_what_two_would_have_is_refused(applications: Mapping[str, Any], sentence: str) -> None:
    assert sentences(applications) == [f"{HERE} {sentence}"]


def test_names_that_differ_in_case_are_two_in_postgresql() -> None:
    applications = read({"a": {"database": "X", "user": "U"}, "b": {"database": "x", "user": "u"}})
    assert [a.database for a in applications.application_list] == ["X", "x"]


def test_every_clash_is_said_at_once() -> None:
    (sentence,) = sentences({"a": {"database": "x", "user": "u"}, "b": {"database": "x", "user": "u"}})
    assert sentence.count(" would be that of a and of b; ") == 2


# --- addresses ---


@pytest.mark.parametrize(
    "address",
    # Docker's own, the gateway, the servers', the network's, its broadcast, and another network's.
    [
        *("172.28.0.20", "172.28.0.1", "172.28.0.254", "172.28.0.253", "172.28.0.252"),
        *("172.28.0.0", "172.28.0.255", "172.29.0.200", "8.8.8.8"),
    ],
)
def test_an_address_that_is_not_free_is_refused(address: str) -> None:
    assert sentences({"a": {"address": address}}) == [
        f"{HERE} applications.a.address {address} cannot be an application's; write one of subnet 172.28.0.0/24 "
        "that is not in 172.28.0.0/25, nor the gateway, nor the servers' 172.28.0.254, 172.28.0.253, 172.28.0.252"
    ]


@pytest.mark.parametrize("address", ["172.28.0.128", "172.28.0.251", ADDRESS])
def test_an_address_of_the_upper_half_is_taken(address: str) -> None:
    assert one(address=address).settings.address == IPv4Address(address)


def test_the_servers_give_way_to_the_gateway() -> None:
    network = {"gateway": "172.28.0.253"}
    found = [str(address) for address in read({}, network=network).network.server_addresses]
    assert found == ["172.28.0.254", "172.28.0.252", "172.28.0.251"]
    assert (
        "nor the servers' 172.28.0.254" in sentences({"a": {"address": "172.28.0.251"}}, network=network)[0]
    )


def test_a_range_of_docker_s_at_the_top_leaves_the_bottom() -> None:
    network = {"dynamicRange": "172.28.0.128/25"}
    assert str(read({}, network=network).network.pooler_address) == "172.28.0.127"


def test_a_network_without_addresses_for_the_servers_is_refused() -> None:
    assert sentences({}, network={"dynamicRange": "172.28.0.0/24"}) == [
        f"{HERE}network: dynamicRange 172.28.0.0/24 leaves fewer than three addresses of subnet 172.28.0.0/24 for the servers; "
        "write a smaller part of it, such as its lower half"
    ]


def test_the_smallest_network_has_some_for_applications_too() -> None:
    read({"a": {"address": "172.28.0.8"}}, network={"subnet": "172.28.0.0/28"})


def test_the_largest_network_is_looked_through_quickly() -> None:
    network = {"subnet": "10.0.0.0/8", "dynamicRange": "10.128.0.0/9", "gateway": "10.0.0.1"}
    assert str(read({}, network=network).network.pooler_address) == "10.127.255.255"


@pytest.mark.parametrize(("said", "reason"), [("x", "is not a valid IPv4 address"), (5, None)])
def test_what_is_no_address_is_refused(said: Any, reason: str | None) -> None:
    if reason is None:
        # A number is an address to the library: 5 is 0.0.0.5, and that is not the network's.
        assert (
            "applications.a.address 0.0.0.5 cannot be an application's"
            in sentences({"a": {"address": said}})[0]
        )
    else:
        assert sentences({"a": {"address": said}}) == [
            f"{HERE}applications.a.address is {said!r}; it {reason}"
        ]


# --- connections ---


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=4), st.integers(20, 200))
def test_all_connections_together_fit_postgresql(wanted: list[tuple[int, int]], most: int) -> None:
    applications = {
        f"a{n}": {"pool": pool, "directConnections": direct} for n, (pool, direct) in enumerate(wanted)
    }
    raw = {"postgres": {"maxConnections": most}, "pgbouncer": {"poolSize": 1}}
    total = sum(pool + direct for pool, direct in wanted)
    if total + RESERVED_CONNECTIONS <= most:
        found = read(applications, **raw).application_list
        assert sum(a.connections for a in found) == total
    else:
        assert sentences(applications, **raw) == [
            f"{HERE} the applications' pool and directConnections add up to {total}, and postgres.maxConnections is {most}, "
            f"10 of them kept in reserve; write less, or postgres.maxConnections {total + 10} or more"
        ]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"pool": 0}, "pool is 0; it should be greater than or equal to 1"),
        ({"pool": 1001}, "pool is 1001; it should be less than or equal to 1000"),
        ({"pool": "10"}, "pool is '10'; it should be a valid integer"),
        ({"directConnections": 0}, "directConnections is 0; it should be greater than or equal to 1"),
        # --- a key that is not one ---
        ({"databse": "x"}, "databse is not a setting; did you mean database?"),
        ({"direct_connections": 5}, "direct_connections is not a setting; did you mean directConnections?"),
        (
            {"zzz": 1},
            "zzz is not a setting; the keys here are address, database, directConnections, drillQueries, extensions, passwordWaiver, pool, redis, user",
        ),
        ({"redis": {"alow": []}}, "redis.alow is not a setting; did you mean allow?"),
        (
            {"address": ADDRESS, "passwordWaiver": {**WAIVER, "untl": 1}},
            "passwordWaiver.untl is not a setting; did you mean until?",
        ),
        # --- a value of another kind ---
        ({"database": 5}, "database is 5; it should be a valid string"),
        ({"redis": "yes"}, "redis is 'yes'; write an object, such as {name: value}"),
        ({"redis": 1}, "redis is 1; write an object, such as {name: value}"),
        (
            {"redis": {"allow": ["flushall"]}},
            "redis.allow.0 is 'flushall'; it should be 'scan', 'keys', 'randomkey', 'scripts' or 'info'",
        ),
        ({"redis": {"allow": "scan"}}, "redis.allow is 'scan'; it should be a valid list"),
    ],
)
def test_a_fault_below_an_application_is_one_sentence_that_names_the_key(
    said: Mapping[str, Any], sentence: str
) -> None:
    assert sentences({"librarian": said}) == [f"{HERE}applications.librarian.{sentence}"]


@pytest.mark.parametrize("name", ["local", "oci"])
def test_an_application_called_like_a_kind_of_host_is_named_too(name: str) -> None:
    assert sentences({name: {"pool": 0}}) == [
        f"{HERE}applications.{name}.pool is 0; it should be greater than or equal to 1"
    ]


@pytest.mark.parametrize("said", [5, "x", None, []])
def test_an_application_is_an_object(said: Any) -> None:
    assert sentences({"a": said}) == [
        f"{HERE}applications.a is {said!r}; write an object, such as {{name: value}}"
    ]
    assert sentences(said if said is not None else "") == [
        f"{HERE}applications is {said if said is not None else ''!r}; write an object, such as {{name: value}}"
    ]


# --- redis and extensions ---


@pytest.mark.parametrize(
    ("said", "allowed"),
    [(True, []), ({}, []), ({"allow": []}, []), ({"allow": ["scan", "info"]}, ["scan", "info"])],
)
def test_redis_is_asked_for_by_a_word_or_with_more(said: Any, allowed: list[str]) -> None:
    redis = one(redis=said).settings.redis
    assert redis is not None
    assert redis.allow == allowed


@pytest.mark.parametrize("said", [False, None])
def test_redis_is_not_had_unasked(said: Any) -> None:
    assert one(redis=said).settings.redis is None


@pytest.mark.parametrize(
    "extension",
    # They reach files, networks or other databases, or run what their user says.
    [
        *("dblink", "postgres_fdw", "file_fdw", "adminpack", "plpython3u", "pg_read_file", "pageinspect"),
        *("pg_buffercache", "pg_stat_statements", "", "PG_TRGM", "pg_trgm; DROP DATABASE x"),
    ],
)
def test_an_extension_that_reaches_further_is_refused(extension: str) -> None:
    (sentence,) = sentences({"a": {"extensions": ["pg_trgm", extension]}})
    assert sentence.startswith(
        f"{HERE}applications.a.extensions.1 is {extension!r}; it should be 'btree_gin', "
    )


def test_extensions_are_taken() -> None:
    assert one(extensions=["pg_trgm", "uuid-ossp"]).settings.extensions == ["pg_trgm", "uuid-ossp"]


# --- waivers ---

LAST_DAY = date(2027, 6, 30)


def waived(until: date | str = LAST_DAY) -> Application:
    waiver = {**WAIVER, "until": str(until)}
    return one("trading-app", address=ADDRESS, passwordWaiver=waiver)


def test_a_waiver_needs_an_address_of_its_own() -> None:
    assert sentences({"a": {"passwordWaiver": WAIVER}}) == [
        f"{HERE}applications.a: passwordWaiver needs address, from where alone the weak password is accepted; "
        "write a free address of the network's upper half"
    ]


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("too short", "it should have at least 10 characters"),
        ("x" * 201, "it should have at most 200 characters"),
        # waivers.tsv is a line for each, with tabs between fields.
        ("a tab\tin it", "it should match pattern '^[ -~]+$'"),
        ("a line\nmore of it", "it should match pattern '^[ -~]+$'"),
        ("because of ümlauts", "it should match pattern '^[ -~]+$'"),
    ],
)
def test_a_waiver_s_reason_is_one_line_that_says_something(reason: str, sentence: str) -> None:
    raw = {"a": {"address": ADDRESS, "passwordWaiver": {**WAIVER, "reason": reason}}}
    assert sentences(raw) == [f"{HERE}applications.a.passwordWaiver.reason is {reason!r}; {sentence}"]


@pytest.mark.parametrize("key", ["reason", "until"])
def test_a_waiver_needs_a_reason_and_an_end(key: str) -> None:
    raw = {"address": ADDRESS, "passwordWaiver": {k: v for k, v in WAIVER.items() if k != key}}
    assert sentences({"a": raw}) == [
        f"{HERE}applications.a.passwordWaiver.{key} is missing and has no default; write it"
    ]


@pytest.mark.parametrize(
    "said",
    # As YAML's text, and as the engine hands on what YAML takes for a point in time.
    ["2027-06-30", "2027-06-30 00:00:00 +0000 UTC", "2027-06-30T00:00:00Z"],
)
def test_a_day_is_taken_as_pulumi_hands_it_on(said: str) -> None:
    waiver = waived(said).settings.password_waiver
    assert waiver is not None
    assert waiver.until == LAST_DAY


@pytest.mark.parametrize("said", ["soon", "30.6.2027", "2027-02-30", "2027-06-30 12:00:00 +0000 UTC", ""])
def test_what_is_no_day_is_refused(said: Any) -> None:
    (sentence,) = sentences({"a": {"address": ADDRESS, "passwordWaiver": {**WAIVER, "until": said}}})
    assert sentence.startswith(f"{HERE}applications.a.passwordWaiver.until is {said!r}; ")


@pytest.mark.parametrize("said", [True, 5, 1830297600, [2027, 6, 30]])
def test_what_is_no_text_is_no_day_either(said: Any) -> None:
    (sentence,) = sentences({"a": {"address": ADDRESS, "passwordWaiver": {**WAIVER, "until": said}}})
    assert (
        sentence
        == f"{HERE}applications.a.passwordWaiver.until: {said!r} is no day; write one, such as 2027-06-30"
    )


@pytest.mark.parametrize("days", [0, 1, 100, LONGEST_WAIVER.days])
def test_a_waiver_holds_on_its_last_day_and_the_year_before(days: int) -> None:
    assert waiver_fault(waived(), LAST_DAY - timedelta(days=days)) is None


def test_a_waiver_is_over_on_the_day_after() -> None:
    assert waiver_fault(waived(), LAST_DAY + timedelta(days=1)) == (
        "applications.trading-app.passwordWaiver ended on 2027-06-30; take it away and set a strong password, "
        "or agree on a later date and write it"
    )


def test_a_waiver_for_more_than_a_year_is_refused() -> None:
    assert waiver_fault(waived(), LAST_DAY - LONGEST_WAIVER - timedelta(days=1)) == (
        "applications.trading-app.passwordWaiver ends on 2027-06-30, more than a year from now; write an earlier date"
    )


def test_without_a_waiver_there_is_nothing_to_end() -> None:
    assert waiver_fault(one(), date.max) is None


# --- the strength rule ---


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "has fewer than 16 characters"),
        ("abcdefgh1234567", "has fewer than 16 characters"),
        ("a" * 40, "has fewer than 8 different characters"),
        ("abcdefgabcdefgabc", "has fewer than 8 different characters"),
        ("xX-librarian-0123456", "holds the name of its user or application"),
        ("xX-LIBRARIAN_USER-0123456", "holds the name of its user or application"),
        ("abcdefgh12345678", None),
    ],
)
def test_a_password_is_strong_or_what_is_missing_is_said(password: str, reason: str | None) -> None:
    assert weakness(password, ["librarian", "librarian_user"]) == reason


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_what_is_said_of_a_weak_password_never_holds_it(password: str) -> None:
    said = weakness(password, ["librarian"])
    strong = len(password) >= LEAST_CHARACTERS and len(set(password)) >= LEAST_DIFFERENT
    assert (said is None) == (strong and "librarian" not in password.lower())
    # The same few sentences for every password: nothing of one is in them.
    assert said in (
        None,
        "has fewer than 16 characters",
        "has fewer than 8 different characters",
        "holds the name of its user or application",
    )
