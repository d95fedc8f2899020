"""status.sh and its files of checks, with a platform that is only played."""

import os
import pty
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.played_status import MIB, POOLS, Container, Played, ago

TODAY = datetime.now(UTC).date()
CONTAINERS = ("postgres-db", "redis-cache", "pgbouncer")
OF_POSTGRES = ("postgres", "connections", "transactions", "wraparound", "slots")
WELL = dict.fromkeys(
    [
        *("docker", *CONTAINERS, "images", *OF_POSTGRES, "pools", "redis"),
        *("memory", "machine-memory", "disk", "secrets", "drift"),
    ],
    "ok",
)


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


def test_where_all_is_well_everything_is_ok(played: Played) -> None:
    assert played.states() == WELL
    # Nobody sees a password who sees what is started.
    assert played.secret not in str(played.host.calls("docker"))
    assert played.asked_of_redis().splitlines() == [
        'AUTH admin "a \\"secret\\" with a \\\\ of Redis\'"',
        "INFO",
    ]


def test_each_is_asked_once(played: Played) -> None:
    played.run()
    asked = [" ".join(call) for call in played.host.calls("docker")]
    kinds = ("version", "container inspect", "exec")
    assert [sum(call.startswith(kind) for call in asked) for kind in kinds] == [1, 1, 2]


# --- what is wrong, and how it is said ---

Change = Callable[[Played], object]
Said = Mapping[str, tuple[str, str]]


def container(name: str, **facts: object) -> Change:
    """Another container; what is a function is asked when the test runs, or times would grow old until then."""

    def change(played: Played) -> None:
        played.containers[name].__dict__.update({k: v() if callable(v) else v for k, v in facts.items()})

    return change


def answers(**places: object) -> Change:
    """Other answers of PostgreSQL, by their places."""
    order = (
        "version",
        "up",
        "waiting",
        "used",
        "most",
        "locked",
        "longest",
        "pid",
        "idle",
        "wrapped",
        "slots",
        "unused",
        "who",
    )

    def change(played: Played) -> None:
        for name, value in places.items():
            played.sql[order.index(name)] = value

    return change


def info(**fields: object) -> Change:
    return lambda played: played.redis.update(fields)


def waiting(count: int, seconds: int) -> Change:
    return lambda played: setattr(played, "pools", POOLS.format(waiting=count, maxwait=seconds))


def instead(who: str, command: str) -> Change:
    return lambda played: played.instead.__setitem__(who, command)


def available(mib: int) -> Change:
    return lambda played: setattr(played, "available_mib", mib)


def disk(used: int) -> Change:
    return lambda played: played.disk(used)


def dark(*names: str, why: str) -> Said:
    return dict.fromkeys(names, ("unknown", why))


def assert_said(played: Played, expected: Said, besides: Mapping[str, str] = WELL) -> None:
    """Those checks say so, and all the others are ok."""
    found = played.checks()
    states = {name: check["state"] for name, check in found.items()}
    assert states == {**besides, **{name: state for name, (state, _) in expected.items()}}
    for name, (_, words) in expected.items():
        assert re.search(words, str(found[name]["detail"])), found[name]


# Each level is one run: what is looked at is not in each other's way.
LEVELS: Mapping[str, tuple[list[Change], Said]] = {
    "just enough": (
        [
            answers(used=77, longest=3599, wrapped=49),
            waiting(2, 4),
            info(used_memory=217 * MIB),
            container("pgbouncer", used=108 * MIB),
            available(1320),
            disk(84),
        ],
        {},
    ),
    "worth a look": (
        [
            answers(waiting=2, used=78, longest=3600, wrapped=50, slots=3, unused="old_one, other"),
            waiting(2, 5),
            info(used_memory=218 * MIB),
            container("pgbouncer", used=109 * MIB),
            available(1200),
            disk(85),
            # `up` writes down last what it has made.
            container("redis-cache", image="redis:latest", started=lambda: ago(minutes=9)),
        ],
        {
            "images": ("warn", "redis-cache runs redis:latest"),
            "postgres": ("warn", "2 settings wait for a restart"),
            "connections": ("warn", r"78 of 97 in use \(80 %\)"),
            "transactions": (
                "warn",
                r"the longest is 60 min old, of librarian_user; 1 idle in transaction; SELECT pg_terminate_backend\(345\)",
            ),
            "wraparound": ("warn", "50 % of the transaction numbers"),
            "slots": ("warn", "nobody reads old_one, other, for which WAL is kept"),
            "pools": ("warn", r"2 wait, the longest for 5 s \(trading\)"),
            "redis": ("warn", r"218M of 256M \(85 %, noeviction\).*; when it is full, writes are refused"),
            "memory": ("warn", "pgbouncer 85 % of 128M.*; pgbouncer may be killed for lack of memory"),
            "machine-memory": ("warn", r"1.2G of 12G can be had; ps aux"),
            "disk": ("warn", "85% used, 60G free; du -xh"),
        },
    ),
    "too much": (
        [
            answers(used=93, locked=4, longest=86400, wrapped=75),
            waiting(9, 20),
            info(used_memory=250 * MIB),
            container("postgres-wal", used=62 * MIB, image="other"),
            available(400),
            disk(95),
            lambda played: played.host.stand_in("stat", "echo 644:0"),
        ],
        {
            "images": (
                "fail",
                r"^postgres-wal runs other and not postgres@sha256:1{12}; run make up ARGS=--refresh$",
            ),
            "connections": ("fail", r"93 of 97 in use \(95 %\), 4 wait for a lock; SELECT usename"),
            "transactions": ("fail", "the longest is 24 h old"),
            "wraparound": ("fail", "vacuum cannot keep up"),
            "pools": (
                "fail",
                "^PgBouncer 1.25.2: 19 of 500 clients on 5 connections, 9 wait, the longest for 20 s",
            ),
            "redis": ("fail", "97 %"),
            "memory": ("fail", "postgres-wal 96 % of 64M"),
            "machine-memory": ("fail", "400M of 12G"),
            "disk": ("fail", "95%"),
            "secrets": ("fail", "not root's with mode 600; run make up"),
        },
    ),
    "clients": (
        [waiting(390, 0), info(maxmemory=0), lambda played: played.host.stand_in("stat", "echo 600:1000")],
        {
            "pools": ("warn", r"400 of 500 clients on 5 connections \(80 %\); SHOW CLIENTS says whose"),
            "secrets": ("fail", "not root's"),
        },
    ),
    "more clients": (
        # A full cache that makes room by itself is as it should be.
        [waiting(470, 0), info(used_memory=256 * MIB, maxmemory_policy="allkeys-lru", evicted_keys=7)],
        {"pools": ("fail", "480 of 500")},
    ),
}


@pytest.mark.parametrize("level", LEVELS)
def test_figures_are_judged(played: Played, level: str) -> None:
    changes, expected = LEVELS[level]
    for change in changes:
        change(played)
    assert_said(played, expected)


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        (info(used_memory=256 * MIB, maxmemory_policy="volatile-lru"), "fail", "100 %, volatile-lru"),
        (info(loading=1), "warn", "it still loads its data"),
        (info(aof_last_write_status="err"), "fail", "it cannot save its data"),
        (info(rdb_last_bgsave_status="err"), "fail", "it cannot save its data"),
        (instead("redis", "echo WRONGPASS of admin; echo NOAUTH"), "fail", "Redis answers WRONGPASS of admin; run make up"),
        (instead("redis", "echo 'Error: no' >&2; exit 1"), "fail", "Redis does not answer: Error: no"),
    ],
)  # fmt: skip
def test_what_redis_says_is_judged(played: Played, change: Change, state: str, said: str) -> None:
    change(played)
    assert_said(played, {"redis": (state, said)})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [
                container("redis-cache", health="starting", started=lambda: ago(seconds=4)),
                container("postgres-db", health="unhealthy", restarts=3),
                container("pgbouncer", health="none"),
            ],
            {
                "redis-cache": ("warn", r"starting, for \d+ s"),
                "postgres-db": ("fail", "unhealthy, up 3 days, restarted 3 times; see docker logs postgres-db"),
                "pgbouncer": ("fail", "without a health check"),
            },
        ),
        (
            [
                container("redis-cache", status="exited", code=137, killed=True, ended=lambda: ago(hours=3)),
                container("postgres-db", status="paused"),
                container("pgbouncer", status="restarting", restarts=9),
            ],
            {
                "redis-cache": (
                    "fail",
                    "ended 3 h ago with code 137 for lack of memory; docker start redis-cache, or make up",
                ),
                "postgres-db": ("fail", "paused; docker unpause postgres-db"),
                "pgbouncer": ("fail", "it ends as soon as it starts, restarted 9 times; see docker logs pgbouncer"),
                **dark(*OF_POSTGRES, why="container postgres-db does not run"),
                **dark("pools", why="container pgbouncer does not run"),
                **dark("redis", why="container redis-cache does not run"),
            },
        ),
        (
            [
                container("pgbouncer", status="created"),
                lambda played: played.containers.pop("redis-cache"),
                instead("sql", "echo 'psql: error: connection to server on socket \"/x\" failed: FATAL:  it starts' >&2; exit 2"),
            ],
            {
                "pgbouncer": ("fail", "^created; docker start pgbouncer, or make up"),
                "redis-cache": (
                    "fail",
                    "no such container; run make up, or docker compose up -d in .*/apps/postgres-stack$",
                ),
                "postgres": ("fail", "PostgreSQL does not answer: FATAL:  it starts; see docker logs postgres-db"),
                **dark(*OF_POSTGRES[1:], why="PostgreSQL does not answer"),
                **dark("pools", why="container pgbouncer does not run"),
                **dark("redis", why="container redis-cache does not run"),
            },
        ),
        (
            [
                instead("sql", "echo 'psql: error: FATAL:  sorry, too many clients already' >&2; exit 2"),
                instead("pools", "echo 'its socket is missing' >&2; exit 1"),
                container("redis-cache", image="redis:latest"),
            ],
            {
                "connections": ("fail", "not one is left"),
                "pools": ("fail", "PgBouncer does not answer: its socket is missing"),
                "images": (
                    "fail",
                    "^redis-cache runs redis:latest and not redis@sha256:2{12}; run make up ARGS=--refresh$",
                ),
                **dark(
                    *(name for name in OF_POSTGRES if name != "connections"),
                    why="PostgreSQL has no connection left",
                ),
            },
        ),
    ],
    ids=["health", "ended", "gone", "full"],
)  # fmt: skip
def test_what_does_not_run_is_told_with_what_to_do(
    played: Played, changes: list[Change], expected: Said
) -> None:
    for change in changes:
        change(played)
    assert_said(played, expected)


def test_without_docker_the_rest_is_still_told(played: Played) -> None:
    played.docker = "exit 1"
    besides = {name: state for name, state in WELL.items() if name != "memory"}
    names = (*CONTAINERS, "images", *OF_POSTGRES, "pools", "redis")
    assert_said(
        played,
        {"docker": ("fail", "does not answer"), **dark(*names, why="^Docker does not answer$")},
        besides,
    )


@pytest.mark.parametrize("who", ["docker", "sql", "pools", "redis"])
def test_nobody_is_waited_for_for_long(played: Played, who: str) -> None:
    if who == "docker":
        played.docker = "exec sleep 60"
    else:
        played.instead[who] = "exec sleep 60"
    begun = time.monotonic()
    states = played.states()
    assert time.monotonic() - begun < 40
    first = {"docker": "docker", "sql": "postgres", "pools": "pools", "redis": "redis"}[who]
    assert states[first] == "fail"
    assert states["disk"] == "ok"


def test_checks_that_break_off_or_do_not_end_are_told(played: Played) -> None:
    more = played.srv / "apps/status.d"
    (more / "90-broken.sh").write_text("group=Mine\ncheck first ok fine\nfalse\ncheck second ok fine\n")
    (more / "91-endless.sh").write_text("group=Mine\ncheck third ok fine\nexec sleep 60\n")
    found = played.checks()
    assert {name: check["state"] for name, check in found.items() if name not in WELL} == {
        "first": "ok",
        "broken-checks": "fail",
        "third": "ok",
        "endless-checks": "fail",
    }
    assert (
        found["endless-checks"]["detail"]
        == "not all of these checks were made: they were not done within 9 s"
    )


def test_a_machine_of_the_older_kind_of_control_groups(played: Played) -> None:
    played.cgroups = 1
    detail = played.checks()["memory"]["detail"]
    assert (
        detail
        == "postgres-db 21 % of 4.0G, redis-cache 5 % of 512M, pgbouncer 6 % of 128M, postgres-wal 9 % of 64M"
    )
    played.cgroups = 2
    assert played.checks()["memory"]["detail"] == detail


def test_another_service_of_the_compose_file_is_looked_at_too(tmp_path: Path) -> None:
    compose = "services:\n  postgres-db:\n    image: postgres@sha256:1\n  exporter:\n    image: exporter@sha256:9\n    command: []\n"
    played = Played(tmp_path, compose=compose + "networks:\n  other:\n    name: x\n")
    assert played.checks()["exporter"]["state"] == "fail"
    played.containers["exporter"] = Container(image="exporter@sha256:9", pid=20, limit=64 * MIB, used=MIB)
    assert played.checks()["exporter"]["state"] == "ok"
    assert played.checks()["images"]["detail"] == "all 2 containers run what is pinned"


def test_without_the_compose_file_nobody_knows_what_is_pinned(played: Played) -> None:
    (played.srv / "apps/postgres-stack/docker-compose.yml").unlink()
    assert played.states() == {**WELL, "images": "fail"}


@pytest.mark.parametrize(("days", "state"), [(90, "warn"), (0, "warn"), (-1, "fail")])
def test_status_knows_whose_weak_password_is_put_up_with(played: Played, days: int, state: str) -> None:
    until = TODAY + timedelta(days=days)
    (played.srv / "config/waivers.tsv").write_text(
        f'# Made by Pulumi\ntrading-app\t{until}\tits "password" is \\ its port\n', encoding="utf-8"
    )
    check = played.checks()["waiver-trading-app"]
    assert check["state"] == state
    assert str(until) in str(check["detail"])
    assert 'its "password" is \\ its port' in str(check["detail"])


def test_status_has_nothing_to_say_of_waivers_where_there_are_none(played: Played) -> None:
    (played.srv / "config/waivers.tsv").write_text("# Made by Pulumi\n", encoding="utf-8")
    assert played.states() == WELL


def test_awkward_details_stay_whole(played: Played) -> None:
    played.containers["redis-cache"].image = 'im"a\\ge'
    found = played.checks()
    assert str(found["images"]["detail"]).startswith('redis-cache runs im"a\\ge and not redis@sha256:')
    assert found["redis-cache"]["since"] == played.containers["redis-cache"].started
    assert found["secrets"]["since"] is None


@pytest.mark.parametrize(
    ("record", "state", "detail"),
    [
        ("ok\t{}\tnothing differs", "ok", "looked at 3 h ago: nothing differs"),
        (
            "fail\t{}\t2 differences",
            "warn",
            "looked at 3 h ago: 2 differences; make drift shows what, and looks again",
        ),
    ],
)
def test_what_make_drift_has_left_is_shown(played: Played, record: str, state: str, detail: str) -> None:
    (played.srv / "backups/state/drift").write_text(record.format(int(time.time()) - 3 * 3600) + "\n")
    check = played.checks()["drift"]
    assert (check["state"], check["detail"]) == (state, detail)


def test_who_is_not_root_is_told_how(played: Played) -> None:
    played.host.stand_in("id", "echo 1000")
    assert "only root can see" in str(played.checks()["drift"]["detail"])


# --- the screen ---


def screen(played: Played, *words: str) -> str:
    """As it is printed, with the time of the golden file, and a path that is as long everywhere, for where a line ends."""
    played.place()
    with tempfile.TemporaryDirectory(prefix="cdp-", dir="/tmp") as folder:
        (srv := Path(folder) / "srv").symlink_to(played.srv)
        said = played.host.run(srv / "apps/status.sh", *words).stdout.replace(str(srv), "/srv")
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d UTC", "2026-11-25 14:30 UTC", said, flags=re.MULTILINE)


def test_the_screen_of_a_platform_that_is_well(played: Played, golden: Callable[[str, str], None]) -> None:
    golden("status-well.txt", screen(played))


def test_the_screen_where_much_is_wrong(played: Played, golden: Callable[[str, str], None]) -> None:
    (played.srv / "config/waivers.tsv").write_text("trading-app\t2100-01-01\tits port\n", encoding="utf-8")
    container("postgres-db", status="exited", code=1, ended=ago(hours=5))(played)
    container("redis-cache", image="redis:latest", restarts=2)(played)
    waiting(9, 25)(played)
    played.disk(88)
    golden("status-wrong.txt", screen(played))


def test_a_line_is_no_wider_than_a_terminal_and_a_screen_no_longer(played: Played) -> None:
    played.instead["redis"] = "echo " + shlex.quote("word " * 60)
    container("postgres-db", status="exited", ended=ago(hours=5))(played)
    lines = screen(played).splitlines()
    assert max(map(len, lines)) <= 115
    assert len(lines) <= 50
    assert any("Redis answers word" in line for line in lines)


def test_the_first_line_is_the_verdict(played: Played) -> None:
    def first() -> str:
        return played.run().stdout.splitlines()[0]

    assert first() == "local on host-1: well"
    played.disk(85)
    assert first() == "local on host-1: well, and 1 thing is worth a look: disk"
    answers(used=96, longest=90000, wrapped=80)(played)
    played.disk(96)
    assert first() == "local on host-1: 4 things need a person: connections, transactions, wraparound, disk"
    info(aof_last_write_status="err")(played)
    assert first().endswith("5 things need a person: connections, transactions, wraparound, redis and 1 more")
    container("postgres-db", status="paused")(played)
    assert (
        first()
        == "local on host-1: 3 things need a person: postgres-db, redis, disk; 5 things cannot be told"
    )


def test_colour_is_for_those_who_want_it(played: Played) -> None:
    assert "\x1b" not in played.run().stdout
    coloured = played.run("--color").stdout
    assert "\x1b[32m" in coloured
    assert (
        re.sub(r"\x1b\[\d+m", "", coloured).splitlines()[2:]
        == played.run("--no-color").stdout.splitlines()[2:]
    )


def test_on_a_terminal_there_is_colour_unless_somebody_says_no(played: Played) -> None:
    played.run()
    for environment, expected in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)):
        assert ("\x1b[" in on_a_terminal(played, environment)) is expected


def on_a_terminal(played: Played, environment: dict[str, str]) -> str:
    master, terminal = pty.openpty()
    try:
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        kept["PATH"] = f"{played.host.commands}:{kept['PATH']}"
        subprocess.run(
            ["sh", played.srv / "apps/status.sh"],
            stdout=terminal,
            env={**kept, **environment},
            check=False,
            timeout=20,
        )
        return os.read(master, 65536).decode()
    finally:
        os.close(terminal)
        os.close(master)


@pytest.mark.parametrize("word", ["--jsn", "json"])
def test_status_takes_no_other_words(played: Played, word: str) -> None:
    ran = played.run(word)
    assert ran.returncode == 2
    assert ran.stderr == f"usage: {played.srv}/apps/status.sh [--json] [--color|--no-color]\n"
