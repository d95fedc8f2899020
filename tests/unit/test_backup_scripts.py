"""backup.sh, restore.sh and restore-redis.sh with a docker that only notes what it is asked: what they refuse, and what they keep."""

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.scripted_host import SCRIPTS, Host

RUNNING = """
case "$*" in
  *State.Running*) echo true ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with the scripts installed, on which we are root and no container runs."""
    made = Host(tmp_path)
    apps = made.srv / "apps"
    (apps / "backup.d").mkdir(parents=True)
    for name in ("backup.sh", "restore.sh", "restore-redis.sh", "backup.d/common.sh", "backup.d/dumps.sh"):
        shutil.copy(SCRIPTS / name, apps / name)
    settings = made.srv / "config/backup/backup.env"
    settings.parent.mkdir(parents=True)
    settings.write_text("KEEP_DAYS=7\nKEEP_WEEKS=4\nKEEP_MONTHS=6\nREDIS_IMAGE=redis@sha256:1\nOFFSITE=''\n")
    made.stand_in("id", "echo 0")
    made.stand_in("logger")
    made.stand_in("docker", "exit 1")
    return made


def installed(host: Host, script: str) -> Path:
    return host.srv / "apps" / script


def dumps(host: Host, *files: str) -> Path:
    """Runs with these files, and their sums."""
    folder = host.srv / "backups/dumps"
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text("dump")
        sums = subprocess.run(
            ["sha256sum", path.name], cwd=path.parent, capture_output=True, text=True, check=True
        )
        with (path.parent / "SHA256SUMS").open("a") as summed:
            summed.write(sums.stdout)
    return folder


def shared(host: Host, commands: str, *arguments: str, stdin: str = "") -> str:
    """Some commands with what the scripts share."""
    script = host.srv / "apps/some.sh"
    script.write_text(f'. "$(dirname "$0")/backup.d/common.sh"\n. "$apps/backup.d/dumps.sh"\n{commands}\n')
    return host.must(script, *arguments, stdin=stdin)


# --- Which runs are kept ---


def kept_by_the_rules(runs: list[str], days: int, weeks: int, months: int) -> set[str]:
    """The same in Python, by the calendar of its library."""
    newest_first = sorted(runs, reverse=True)
    moments = {run: datetime.strptime(run, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for run in runs}
    periods: list[tuple[Callable[[datetime], object], int]] = [
        (lambda at: at.date(), days),
        (lambda at: at.isocalendar()[:2], weeks),
        (lambda at: (at.year, at.month), months),
    ]
    kept = {run for run in runs if run[:8] == newest_first[0][:8]}
    for period, count in periods:
        newest: dict[object, str] = {}
        for run in newest_first:
            newest.setdefault(period(moments[run]), run)
        kept.update(list(newest.values())[:count])
    return kept


def superseded(host: Host, runs: list[str], days: int, weeks: int, months: int, *named: str) -> set[str]:
    words = [str(days), str(weeks), str(months), *named]
    return set(shared(host, 'superseded "$@"', *words, stdin="\n".join(runs) + "\n").split())


@pytest.mark.parametrize("seed", range(12))
def test_runs_are_kept_by_days_weeks_and_months(host: Host, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 # dates, not secrets
    at = datetime(chance.choice([1999, 2023, 2026, 2099]), chance.randint(1, 12), 27, tzinfo=UTC)
    runs: list[str] = []
    for _ in range(300):
        runs.append(f"{at:%Y%m%dT%H%M%SZ}")
        at += timedelta(hours=chance.choice([1, 24, 24, 24, 100, 1000]), seconds=1)
    counts = (chance.randint(0, 12), chance.randint(0, 12), chance.randint(0, 12))
    kept = set(runs) - superseded(host, runs, *counts)
    assert kept == kept_by_the_rules(runs, *counts)


def test_every_day_of_many_years_is_in_the_right_week(host: Host) -> None:
    runs = [
        f"{datetime(2019, 12, 1, tzinfo=UTC) + timedelta(days=day):%Y%m%d}T040000Z" for day in range(4000)
    ]
    assert set(runs) - superseded(host, runs, 1, 10_000, 1) == kept_by_the_rules(runs, 1, 10_000, 1)


def test_the_newest_is_never_removed_and_those_that_are_named_neither(host: Host) -> None:
    runs = ["20200101T000000Z", "20210101T000000Z", "20220101T000000Z"]
    assert superseded(host, runs, 0, 0, 0) == set(runs[:2])
    assert superseded(host, runs, 0, 0, 0, runs[0]) == {runs[1]}
    assert superseded(host, [], 7, 4, 6) == set()


def test_a_run_from_the_future_is_the_newest_only_where_there_is_no_other(host: Host) -> None:
    dumps(
        host,
        "20260101T000000Z/a.dump",
        "20260102T000000Z/a.dump",
        "29990101T000000Z/a.dump",
        "29990101T000000Z/b.dump",
    )
    now = "now=20260601T000000Z; newest_with"
    assert shared(host, f"{now} a.dump") == "20260102T000000Z\n"
    assert shared(host, f"{now} b.dump") == "29990101T000000Z\n"
    assert shared(host, f"{now} c.dump").strip() == ""


@pytest.mark.parametrize("ahead", [0, 1, 9, 400])
def test_runs_from_the_future_take_no_place_from_others(host: Host, ahead: int) -> None:
    """The clock was wrong for so many days, and is right again."""
    today = datetime(2026, 6, 1, 4, tzinfo=UTC)
    made = f"{today:%Y%m%dT%H%M%SZ}"
    past = [f"{today - timedelta(days=day):%Y%m%dT%H%M%SZ}" for day in range(20)]
    future = [f"{today + timedelta(days=4000 + day):%Y%m%dT%H%M%SZ}" for day in range(ahead)]
    dumps(host, *(f"{run}/a.dump" for run in past + future))
    gone = set(shared(host, f"now={made}; outdated {made}").split())
    assert set(past) - gone == kept_by_the_rules(past, 7, 4, 6)
    assert set(future) - gone == (kept_by_the_rules(future, 7, 4, 6) if future else set())


def test_a_clock_that_is_set_back_removes_nothing_that_counts(host: Host) -> None:
    """All that was made before lies in the future now; so does the newest good one."""
    right = [
        f"{datetime(2026, 6, 1, 4, tzinfo=UTC) - timedelta(days=day):%Y%m%dT%H%M%SZ}" for day in range(7)
    ]
    wrong = [
        f"{datetime(2001, 1, 1, 4, tzinfo=UTC) - timedelta(days=day):%Y%m%dT%H%M%SZ}" for day in range(9)
    ]
    dumps(host, *(f"{run}/a.dump" for run in right + wrong))
    gone = set(shared(host, f"now={wrong[0]}; outdated {wrong[0]}").split())
    assert not gone & {*right, *wrong[:7]}


# --- backup.sh ---


def test_words_that_backup_does_not_know(host: Host) -> None:
    script = installed(host, "backup.sh")
    assert host.refused(script, "librarian") == f"usage: sudo {script} [--dumps]"


def test_only_root_makes_backups(host: Host) -> None:
    host.stand_in("id", "echo 1000")
    for name in ("backup.sh", "restore.sh", "restore-redis.sh"):
        assert host.refused(installed(host, name)).startswith("only root can do this; run: sudo ")


def test_no_backup_without_postgres(host: Host) -> None:
    killed = host.srv / "backups/dumps/.20200101T000000Z.new"
    killed.mkdir(parents=True)
    assert host.refused(installed(host, "backup.sh")).startswith(
        "backup failed: postgres-db is not running; start it: cd "
    )
    assert list((host.srv / "backups/dumps").iterdir()) == []
    state = (host.srv / "backups/state/dumps").read_text()
    assert state.startswith("fail\t")
    assert "postgres-db is not running" in state


def test_a_time_that_the_clock_says_twice_names_no_second_run(host: Host) -> None:
    folder, seen, asked = dumps(host, "20260101T000000Z/a.dump"), host.folder / "seen", host.folder / "asked"
    # Set back to the second of that run, it goes on when somebody waits.
    host.stand_in(
        "date",
        f'case $* in "-u +%Y%m%dT%H%M%SZ") [ -e {asked} ] && echo 20260101T000001Z || echo 20260101T000000Z ;; *) exec /bin/date "$@" ;; esac',
    )
    host.stand_in("sleep", f": >{asked}")
    host.stand_in("docker", f'ls -A "{folder}" >{seen}; exit 1'.replace('"srv"', '\\"srv\\"'))
    assert host.run(installed(host, "backup.sh")).returncode == 1
    assert seen.read_text().split() == [".20260101T000001Z.new", "20260101T000000Z"]
    assert (folder / "20260101T000000Z/a.dump").read_text() == "dump"


@pytest.mark.parametrize("script", ["restore.sh", "restore-redis.sh"])
def test_backup_and_restore_are_never_at_work_together(host: Host, script: str) -> None:
    locks = host.srv / "run/locks"
    locks.mkdir(parents=True)
    dumps(host, "20260101T000000Z/librarian.dump", "20260101T000000Z/redis.rdb")
    holder = subprocess.Popen(
        ["flock", locks / "dumps", "sh", "-c", "echo held; exec sleep 60"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        sentence = f"a backup or a restore is running (lock {locks}/dumps); wait until it has ended"
        assert host.refused(installed(host, script), "latest") == sentence
        assert host.refused(installed(host, "backup.sh")) == sentence
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()


# --- restore.sh ---


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["librarian", "--into"],
        ["librarian", "--into", ""],
        ["librarian", "--no"],
        ["librarian", "latest", "more"],
    ],
)
def test_words_that_restore_does_not_know(host: Host, words: list[str]) -> None:
    script = installed(host, "restore.sh")
    usage = f"usage: sudo {script} DATABASE [RUN|FILE|latest] [--into NAME] [--yes]"
    assert host.refused(script, *words) == usage


def test_names_that_no_database_can_have(host: Host) -> None:
    script = installed(host, "restore.sh")
    long = "ä" * 32
    assert host.refused(script, "librarian", "--into", long) == (
        f"'{long}' is longer than 63 bytes, which is as long as a database's name can be"
    )
    assert host.refused(script, "template1").startswith("template1 is a template of PostgreSQL's")
    assert "choose another one for --into" in host.refused(
        script, "a", "--into", "a_restore_20260101T000000Z"
    )


def test_a_dump_that_is_not_there_is_named(host: Host) -> None:
    folder = dumps(host, "20260101T000000Z/other.dump")
    script = installed(host, "restore.sh")
    assert host.refused(script, "librarian").startswith(
        f"no run in {folder} has a dump of database 'librarian'"
    )
    run = "20260101T000000Z"
    assert host.refused(script, "librarian", run).startswith(
        f"{folder}/{run} has no dump of database 'librarian'"
    )
    assert host.refused(script, "librarian", "yesterday") == (
        f"'yesterday' is neither a run in {folder} (such as 20261125T143000Z), nor a file, nor latest"
    )


def test_a_database_that_is_there_is_replaced_only_on_request(host: Host) -> None:
    dumps(host, "20260101T000000Z/lib%20r.dump")
    host.stand_in(
        "docker",
        'case "$*" in *State.Running*) echo true ;; *psql*) cat >/dev/null; echo t ;; *) exit 1 ;; esac',
    )
    script = installed(host, "restore.sh")
    assert host.refused(script, "lib r").startswith(
        "database 'lib r' is there, and nothing was begun: say --yes"
    )
    assert host.refused(script, "lib r", "--into", "x", "--yes") == (
        "database 'x' is there already; choose another name for --into"
    )
    assert not [call for call in host.calls("docker") if "pg_restore" in call]


def test_a_dump_with_another_sum_is_refused(host: Host) -> None:
    folder = dumps(host, "20260101T000000Z/librarian.dump", "20260101T000000Z/redis.rdb")
    host.stand_in(
        "docker",
        'case "$*" in *State.Running*) echo true ;; *psql*) cat >/dev/null; echo f ;; *) exit 1 ;; esac',
    )
    for file in ("librarian.dump", "redis.rdb"):
        (folder / "20260101T000000Z" / file).write_text("other")
    assert host.refused(installed(host, "restore.sh"), "librarian") == (
        f"{folder}/20260101T000000Z/librarian.dump is damaged: it has not the checksum in SHA256SUMS; take another run"
    )
    assert host.refused(installed(host, "restore-redis.sh"), "--yes").startswith(
        f"{folder}/20260101T000000Z/redis.rdb is damaged"
    )
    (folder / "20260101T000000Z/SHA256SUMS").unlink()
    assert "does not name librarian.dump" in host.refused(installed(host, "restore.sh"), "librarian")


# --- restore-redis.sh ---


@pytest.mark.parametrize("words", [["--no"], ["latest", "more"], ["latest", "--yes", "--force"]])
def test_words_that_restore_redis_does_not_know(host: Host, words: list[str]) -> None:
    script = installed(host, "restore-redis.sh")
    assert host.refused(script, *words) == f"usage: sudo {script} [RUN|FILE|latest] --yes"


def test_redis_is_replaced_only_on_request(host: Host) -> None:
    dumps(host, "20260101T000000Z/redis.rdb")
    assert "nothing was begun: say --yes" in host.refused(installed(host, "restore-redis.sh"))
    assert host.calls("docker") == []
