"""base.sh, wal.sh and pitr.sh as processes, with a docker that only plays PostgreSQL's programs: which base backup, which segments,
what is kept and what goes. What PostgreSQL does with them: tests/engine/test_point_in_time.py."""

import gzip
import re
import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scripted_host import SCRIPTS, Host

DAY = 86400
SYSTEM = "7001"
IMAGE = "postgres@sha256:0"
# The WAL folder also holds these.
HISTORY = "1\t0/5000100\tno recovery target specified\n"
# What recovery leaves: it has read all that _two_chains has.
COMBINED = """
for word; do case $word in *:/restored) folder=${word%:/restored} ;; esac; done
mkdir "$folder/pg_wal"
printf '1\\t0/9000100\\tno recovery target specified\\n' >"$folder/pg_wal/00000009.history"
"""


def seg(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


class Backups(Host):
    """A host on which everybody is root, with the scripts installed and the settings written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.base, self.wal = self.srv / "backups/base", self.srv / "backups/wal"
        for path in (
            "apps/backup.d",
            "config/backup",
            "config/postgres",
            "data/postgres",
            "run",
            "backups/base",
        ):
            (self.srv / path).mkdir(parents=True)
        (self.wal / "past").mkdir(parents=True)
        for script in ("pitr.sh", *(f"backup.d/{part}.sh" for part in ("base", "common", "recovery", "wal"))):
            shutil.copy(SCRIPTS / script, self.srv / "apps" / script)
            (self.srv / "apps" / script).chmod(0o755)
        (self.srv / "config/backup/backup.env").write_text(
            f"WINDOW_DAYS=7\nFULL_EVERY_DAYS=7\nWAL_MAX_AGE_SECONDS=300\nOFFSITE=''\nPOSTGRES_IMAGE={IMAGE}\n"
        )
        (self.srv / "config/postgres/postgresql.conf").write_text("timezone = 'Europe/Berlin'\n")
        self.stand_in("id", "echo 0")
        for command in ("chown", "logger", "sleep"):
            self.stand_in(command)
        self.postgres()

    def installed(self, name: str) -> Path:
        return self.srv / "apps" / name

    def replace(self, name: str, script: str = "") -> None:
        """An installed script that only notes what it is asked."""
        self.stand_in(Path(name).name, script)
        shutil.move(self.commands / Path(name).name, self.installed(name))

    def postgres(
        self,
        *,
        slot: str = "reserved t 0 100",
        timeline: int = 1,
        first: int = 3,
        last: int | None = None,
        basebackup: str = "true",
        verify: str = "true",
        last_commit: str = "0/5000000 2026-11-25 12:00:00.000000",
        combine: str = COMBINED,
    ) -> None:
        """What docker answers."""
        label = f"START WAL LOCATION: 0/3000028 (file {seg(first, timeline)})"
        manifest = '{ "WAL-Ranges": [ { "Timeline": 1, "Start-LSN": "0/3000028", "End-LSN": "0/3000100" } ] }'
        self.stand_in(
            "docker",
            f"""
case "$*" in
  *"psql "*)
    case "$*" in *--interactive*) sql=$(cat) ;; *) sql=$* ;; esac
    case $sql in
      *safe_wal_size*) echo '{slot}' ;;
      *pg_control_system*) echo {SYSTEM} {timeline} {slot.split()[0]} ;;
      *pg_snapshot_xmax*) echo 900 ;;
      *"pg_walfile_name('0/3000100'::pg_lsn - 1)"*) echo {seg(last or first, timeline)} ;;
      *pg_is_in_recovery*) echo t ;;
      *pg_create_restore_point*) printf 'here\\t0/4000000\\t2026-11-25 12:00:00+00\\n' ;;
    esac ;;
  *pg_basebackup*)
    for word; do case $word in *:/backup) folder=${{word%:/backup}} ;; esac; done
    {{ {basebackup}; }} || exit 1
    echo {shlex.quote(label)} >"$folder/backup_label"
    echo {shlex.quote(manifest)} >"$folder/backup_manifest" ;;
  *pg_verifybackup*) {verify} ;;
  *pg_waldump*) echo {shlex.quote(last_commit)} ;;
  *pg_combinebackup*) {combine} ;;
  *State.Running*) echo true ;;
  *Architecture*) echo arm64 ;;
esac
""",
        )

    def have(self, at: float, kind: str = "full", **info: object) -> str:
        """A base backup that ended at that time."""
        name = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
        (self.base / name / "data").mkdir(parents=True)
        told = {
            "KIND": kind,
            "PARENT": "",
            "START_WAL": seg(3),
            "LAST_LSN": "0/3000100",
            "NEXT_XID": 800,
            "TIMELINE": 1,
            "SYSTEM_ID": SYSTEM,
            "STARTED": int(at),
            "FINISHED": int(at),
            "BYTES": 1000,
        }
        text = "".join(f"{key}={value}\n" for key, value in (told | info).items())
        (self.base / name / "info").write_text(text)
        return name

    def segments(self, *names: str) -> None:
        for name in names:
            (self.wal / name).write_bytes(b"WAL")

    def bases(self) -> list[str]:
        return sorted(path.name for path in self.base.iterdir())

    def state(self, name: str) -> list[str]:
        outcome, _, detail = (self.srv / "backups/state" / name).read_text().rstrip("\n").split("\t")
        return [outcome, detail]

    def programs(self) -> list[list[str]]:
        """The calls of `docker run`."""
        return [call for call in self.calls("docker") if call[0] == "run"]


@pytest.fixture
def host(tmp_path: Path) -> Backups:
    return Backups(tmp_path)


# --- wal.sh ---


def test_whole_segments_are_gzipped_and_nothing_else(host: Backups) -> None:
    host.postgres(last=5)
    partial, named = f"{seg(6)}.partial", "points.tsv"
    host.segments(seg(4), seg(5), f"past/{seg(3)}", partial, "00000002.history", named)
    # A run that was killed: between two names, and half-way.
    host.segments(f"{seg(5)}.gz", f"{seg(4)}.gz.new")
    host.must(host.installed("backup.d/wal.sh"))
    found = {str(path.relative_to(host.wal)) for path in host.wal.rglob("*") if path.is_file()}
    assert found == {f"{seg(4)}.gz", f"{seg(5)}.gz", f"past/{seg(3)}.gz", partial, "00000002.history", named}
    for name in (f"{seg(4)}.gz", f"{seg(5)}.gz", f"past/{seg(3)}.gz"):
        assert gzip.decompress((host.wal / name).read_bytes()) == b"WAL"
    assert host.state("wal") == ["ok", "receiver streams, 0 bytes behind"]


@pytest.mark.parametrize("fault", ["printf cut; exit 1", "printf cut"], ids=["full disk", "cut short"])
def test_a_segment_stays_until_its_copy_is_whole(host: Backups, fault: str) -> None:
    host.segments(seg(4))
    host.stand_in("gzip", f'case $1 in --fast) {fault} ;; *) exec /bin/gzip "$@" ;; esac')
    assert host.run(host.installed("backup.d/wal.sh")).returncode == 1
    assert [path.name for path in host.wal.iterdir() if path.is_file()] == [seg(4)]
    assert (host.wal / seg(4)).read_bytes() == b"WAL"
    assert host.state("wal")[0] == "fail"


def test_a_receiver_that_was_stopped_is_started(host: Backups) -> None:
    host.postgres(slot="reserved f 100 90")
    host.run(host.installed("backup.d/wal.sh"))
    assert ["start", "postgres-wal"] in host.calls("docker")


def _listed(host: Backups, timeline: int, first: str) -> list[str]:
    words = ("segments", str(host.wal), str(timeline), first)
    return host.must(host.installed("backup.d/wal.sh"), *words).split("\n")[:-1]


def test_segments_follow_one_another_across_names_and_files(host: Backups) -> None:
    host.segments(f"past/{seg(254)}.gz", f"{seg(255)}.gz", seg(256), f"{seg(257)}.partial", seg(3))
    assert _listed(host, 1, seg(254)) == [seg(254), seg(255), seg(256), seg(257)]


def test_a_restore_of_redis_that_was_cut_off_is_taken_back(host: Backups) -> None:
    kept = host.srv / "data/redis_before_20261125T120000Z"
    kept.mkdir()
    (host.srv / "run/locks").mkdir()
    host.replace("restore-redis.sh")
    host.replace("backup.d/base.sh")
    host.must(host.installed("backup.d/wal.sh"))
    assert host.calls("restore-redis.sh") == []
    (kept / ".unproven").touch()
    host.must(host.installed("backup.d/wal.sh"))
    assert host.calls("restore-redis.sh") == [["--clean-up", str(kept)]]


def test_the_first_missing_segment_is_named(host: Backups) -> None:
    assert _listed(host, 1, seg(3)) == [f"missing {seg(3)}"]
    host.segments(seg(3), f"{seg(4)}.gz", seg(7), f"{seg(8)}.partial")
    assert _listed(host, 1, seg(3)) == [seg(3), seg(4), f"missing {seg(5)}"]
    assert _listed(host, 1, seg(2)) == [f"missing {seg(2)}"]


def test_a_timeline_that_was_left_counts_until_it_was_left(host: Backups) -> None:
    (host.wal / "00000002.history").write_text(HISTORY)
    host.segments(*(f"past/{seg(n)}" for n in range(3, 9)), seg(5, 2), f"{seg(6, 2)}.partial")
    assert _listed(host, 2, seg(3)) == [seg(3), seg(4), seg(5, 2), seg(6, 2)]
    assert _listed(host, 1, seg(3)) == [seg(n) for n in range(3, 9)]


@pytest.mark.parametrize(
    ("slot", "sentence"),
    [
        ("reserved f 0 100", r"nobody receives WAL: .*wal\.sh anew"),
        ("extended t 999 49", r"the receiver is 999 bytes behind and 49% of the room for WAL are left"),
    ],
)
def test_a_receiver_in_trouble_is_said(host: Backups, slot: str, sentence: str) -> None:
    host.postgres(slot=slot)
    assert re.search(sentence, host.refused(host.installed("backup.d/wal.sh")))
    outcome, detail = host.state("wal")
    assert outcome == "fail"
    assert re.search(sentence, detail)


def test_what_there_is_leaves_whatever_has_failed(host: Backups) -> None:
    host.stand_in("docker", "exit 1")
    host.replace("offsite.sh")
    with (host.srv / "config/backup/backup.env").open("a") as settings:
        settings.write("OFFSITE=s3:http://127.0.0.1:9000/bucket\n")
    assert "postgres-db does not answer" in host.refused(host.installed("backup.d/wal.sh"))
    assert host.calls("offsite.sh") == [["wal"]]


def test_a_lost_slot_is_made_again_and_a_full_backup_follows(host: Backups) -> None:
    host.postgres(slot="lost f 0 100")
    host.replace("backup.d/base.sh")
    host.segments(seg(4), f"{seg(5)}.partial", "00000002.history", "points.tsv")
    host.run(host.installed("backup.d/wal.sh"))
    assert host.calls("base.sh") == [["full"]]
    assert {path.name for path in host.wal.iterdir()} == {"past", "00000002.history", "points.tsv"}
    assert {path.name for path in (host.wal / "past").iterdir()} == {f"{seg(4)}.gz", f"{seg(5)}.partial"}
    about = [call for call in host.calls("docker") if "postgres-wal" in call]
    assert [call[0] for call in about[:2]] == ["stop", "start"]


@pytest.mark.parametrize("words", [("other",), ("anew", "twice"), ("segments", "too", "few")])
def test_wal_says_what_it_can(host: Backups, words: tuple[str, ...]) -> None:
    ran = host.run(host.installed("backup.d/wal.sh"), *words)
    assert (ran.returncode, "usage:" in ran.stderr) == (2, True)


# --- base.sh ---


def _base(host: Backups, *words: str) -> str:
    host.segments(*(seg(n) for n in range(3, 6)))
    return host.must(host.installed("backup.d/base.sh"), *words)


def _info(host: Backups, name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (host.base / name / "info").read_text().splitlines())


def test_the_first_is_full_and_the_next_builds_on_it(host: Backups) -> None:
    assert "a full base backup: there is none yet" in _base(host)
    assert "incremental" in _base(host)
    first, second = host.bases()
    assert _info(host, first)["KIND"] == "full"
    assert _info(host, first)["PARENT"] == ""
    assert _info(host, second)["PARENT"] == first
    assert _info(host, second)["KIND"] == "incremental"
    expected = {"START_WAL": seg(3), "LAST_LSN": "0/3000100", "NEXT_XID": "900", "TIMELINE": "1"}
    expected["ARCHITECTURE"] = "arm64"
    assert _info(host, second).items() >= expected.items()
    assert host.state("base")[0] == "ok"
    asked = [call for call in host.programs() if "pg_basebackup" in call]
    assert "--incremental=/parent/backup_manifest" in asked[-1]
    assert f"{host.base}/{first}/data:/parent:ro" in asked[-1]


@pytest.mark.parametrize(
    ("info", "because"),
    [
        ({"SYSTEM_ID": "1"}, "the newest one is of another cluster"),
        ({"TIMELINE": 2}, "the newest one is of another timeline"),
        ({"STARTED": 1}, r"the last full one was made \d+ days ago"),
        ({"STARTED": 99999999999}, r"the last full one was made -\d+ days ago"),
        ({"START_WAL": seg(1)}, f"WAL has a gap: missing {seg(1)}"),
    ],
)
def test_a_full_one_is_made_where_another_is_of_no_use(
    host: Backups, info: dict[str, Any], because: str
) -> None:
    host.have(time.time() - 100, **info)
    assert re.search(f"a full base backup: {because}", _base(host))
    assert _info(host, host.bases()[-1])["KIND"] == "full"


def test_a_refused_incremental_one_becomes_full(host: Backups) -> None:
    host.have(time.time() - 100)
    host.postgres(
        basebackup='case "$*" in *--incremental*) echo "WAL summaries are incomplete" >&2; false ;; esac'
    )
    assert "PostgreSQL refuses an incremental one (WAL summaries are incomplete)" in _base(host)
    assert _info(host, host.bases()[-1])["KIND"] == "full"


def test_a_clock_that_was_set_back_puts_nothing_before_older_ones(host: Backups) -> None:
    host.have(datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp(), STARTED=int(time.time()))
    _base(host)
    assert host.bases() == ["29991231T235959Z", "30000101T000000Z"]


def test_a_clock_that_jumps_ahead_and_back_costs_no_newest_one(host: Backups) -> None:
    before = host.have(time.time() - DAY)
    for days in (400, 401, 0, 0):
        host.stand_in(
            "date",
            f"""case " $* " in *' -d '*) exec /bin/date "$@" ;; esac
exec /bin/date -d "@$(($(/bin/date +%s) + {days * DAY}))" "$@" """,
        )
        had = host.bases()
        _base(host)
        # The one from before the jump is still there, and the new one comes after all others.
        assert host.bases()[:-1] == had
        assert before in had


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"basebackup": "echo no room >&2; false"}, "pg_basebackup failed: no room"),
        ({"verify": "false"}, "the base backup just made is damaged"),
    ],
)
def test_what_failed_leaves_nothing(host: Backups, answers: dict[str, Any], sentence: str) -> None:
    host.postgres(**answers)
    assert sentence in host.refused(host.installed("backup.d/base.sh"))
    assert host.bases() == []
    outcome, detail = host.state("base")
    assert outcome == "fail"
    assert sentence in detail


def test_a_base_without_its_wal_is_none(host: Backups) -> None:
    host.postgres(last=5)
    host.segments(seg(5))
    ran = host.run(host.installed("backup.d/base.sh"))
    assert ran.returncode == 1
    assert "the WAL of the base backup has a gap" in ran.stderr
    assert host.bases() == []


def test_its_last_segment_is_waited_for_until_it_is_whole(host: Backups) -> None:
    host.segments(seg(3), f"{seg(4)}.partial")
    host.postgres(last=4)
    base = host.installed("backup.d/base.sh")
    refused = host.refused(base)
    assert "the WAL of the base backup (up to 0/3000100) was not received within a minute" in refused
    assert host.bases() == []
    # It comes while base.sh waits; before it looks again, wal.sh has gzipped it.
    (host.wal / f"{seg(4)}.partial").unlink()
    host.stand_in("sleep", f"touch {shlex.quote(str(host.wal / f'{seg(4)}.gz'))}")
    host.must(base)
    assert len(host.bases()) == 1


# Age in days and kind, oldest first; i builds on what is before it. Kept are the last so many and the new one.
CHAINS = [
    ("20f 13f 6f", 2),  # 6 is too young, so 13 leads to the window's first moment
    ("20f 13f 8f 2i", 2),
    ("20f 19i 13f 12i 6f 5i", 4),
    ("9f 8i 6i", 3),
    ("6f 5f", 2),
    ("40f 30i 3i", 3),  # the newest good one, however old
]


def test_nothing_goes_where_the_clock_may_have_jumped(host: Backups) -> None:
    """No base backup since the window's begin."""
    had = [host.have(time.time() - age * DAY, "full", START_WAL=seg(250 + age)) for age in (40, 20, 9)]
    host.postgres(first=300)
    host.segments(seg(200), seg(300))
    assert "is the clock right?" in host.must(host.installed("backup.d/base.sh"), "full")
    assert host.bases()[:-1] == had
    assert (host.wal / seg(200)).exists()


@pytest.mark.parametrize(("chain", "kept"), CHAINS)
def test_what_leads_to_no_moment_of_the_window_goes(host: Backups, chain: str, kept: int) -> None:
    had: list[str] = []
    for place, (age, kind) in enumerate(re.findall(r"(\d+)([fi])", chain)):
        had.append(
            host.have(
                time.time() - int(age) * DAY,
                "full" if kind == "f" else "incremental",
                PARENT="" if kind == "f" else had[-1],
                START_WAL=seg(250 + 2 * place),
            )
        )
    first = 250 + 2 * (len(had) - kept)
    host.postgres(first=first + 20)
    old = (seg(first - 1), f"past/{seg(first - 1)}.gz", f"past/{seg(2, 2)}.partial")
    kept_files = (seg(first, 2), f"{seg(first)}.gz", f"past/{seg(first)}", "00000002.history", "points.tsv")
    host.segments(*old, *kept_files, seg(first + 20))
    host.must(host.installed("backup.d/base.sh"), "full")
    assert host.bases()[:-1] == had[-kept:]
    assert not any((host.wal / name).exists() for name in old)
    assert all((host.wal / name).exists() for name in kept_files)


def test_nothing_goes_while_somebody_recovers(host: Backups) -> None:
    for age in (20, 10, 9):
        host.have(time.time() - age * DAY)
    (host.srv / "run/locks").mkdir(parents=True)
    with subprocess.Popen(
        ["flock", str(host.srv / "run/locks/pitr"), "cat"], stdin=subprocess.PIPE
    ) as holder:
        while (
            subprocess.run(["flock", "-n", str(host.srv / "run/locks/pitr"), "true"], check=False).returncode
            == 0
        ):
            time.sleep(0.01)
        _base(host)
        assert len(host.bases()) == 4
        holder.communicate()
    _base(host)
    assert len(host.bases()) == 3


# --- pitr.sh ---


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            "yesterday",
            "'yesterday' is no target; write latest, 'YYYY-MM-DD HH:MM:SS[+TZ]', xid:N, name:POINT or lsn:X/Y",
        ),
        ("2026-02-30 10:00:00", "'2026-02-30 10:00:00' is no time that a clock shows; correct it"),
        ("2999-01-01 00:00:00Z", "2999-01-01 00:00:00.000000+00 is in the future"),
        ("xid:", "'xid:' is no target"),
        ("xid:1;2", "'xid:1;2' is no target"),
        ("lsn:12", "'lsn:12' is no target"),
        ("name:a b", "'a b' is no name of a point"),
        (f"name:{'a' * 64}", "is too long for the name of a point"),
        ("latest", "there is no base backup in"),
    ],
)
def test_a_target_that_is_none_is_refused(host: Backups, target: str, sentence: str) -> None:
    assert sentence in host.refused(host.installed("pitr.sh"), "prepare", target)


@pytest.mark.parametrize(
    "words", [(), ("prepare",), ("prepare", "latest", "--from"), ("list", "all"), ("swap", "now")]
)
def test_pitr_says_what_it_can(host: Backups, words: tuple[str, ...]) -> None:
    ran = host.run(host.installed("pitr.sh"), *words)
    assert ran.returncode == 2
    assert ran.stderr.startswith("list ")


AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()


def _two_chains(host: Backups) -> tuple[str, str, str]:
    """A full base backup, an incremental one an hour later, and a full one an hour after that."""
    first = host.have(AT, NEXT_XID=800)
    second = host.have(
        AT + 3600, "incremental", PARENT=first, START_WAL=seg(5), LAST_LSN="0/5000100", NEXT_XID=900
    )
    third = host.have(AT + 7200, START_WAL=seg(7), LAST_LSN="0/7000100", NEXT_XID=1000)
    host.segments(*(seg(n) for n in range(3, 9)), f"{seg(9)}.partial")
    (host.wal / "points.tsv").write_text("early\t0/4000000\t2026\nlate\t0/8000000\t2026\n")
    return first, second, third


def _combined(host: Backups) -> list[str]:
    (call,) = (call for call in host.programs() if "pg_combinebackup" in call)
    return [word.removeprefix("/chain/") for word in call if word.startswith("/chain/")]


TARGETS = [
    ("latest", 3),
    ("2026-11-20 14:00:01Z", 3),
    ("2026-11-20 14:00:00Z", 2),  # in the second in which it ended
    ("2026-11-20 14:59:59", 2),  # without a zone: Berlin's, as in PostgreSQL's log
    ("2026-11-20 13:30:00+01", 1),
    ("xid:1000", 3),
    ("xid:999", 2),
    ("lsn:0/7000100", 3),
    ("lsn:0/70000FF", 2),
    ("lsn:0/4000000", 1),
    ("name:early", 1),
    ("name:late", 3),
    ("name:made-by-sql", 1),  # nobody knows where it is
]


@pytest.mark.parametrize(("target", "best"), TARGETS)
def test_the_best_base_is_taken(host: Backups, target: str, best: int) -> None:
    first, second, third = _two_chains(host)
    host.must(host.installed("pitr.sh"), "prepare", target)
    assert _combined(host) == {1: [first], 2: [first, second], 3: [third]}[best]
    assert (host.srv / "data/postgres-pitr/recovery.signal").exists()


def test_a_damaged_base_gives_way_to_an_older_one(host: Backups) -> None:
    first, second, third = _two_chains(host)
    host.postgres(verify=f'case "$*" in *{third}*) echo damaged >&2; false ;; esac')
    assert host.run(host.installed("pitr.sh"), "prepare", "latest").returncode == 0
    assert _combined(host) == [first, second]


def test_a_base_of_a_timeline_that_was_left_leads_only_to_where_it_was_left(host: Backups) -> None:
    first, second, third = _two_chains(host)
    (host.wal / "00000002.history").write_text("1\t0/6000000\tbefore the mistake\n")
    host.segments(seg(6, 2), seg(7, 2))
    host.must(host.installed("pitr.sh"), "prepare", "latest")
    assert _combined(host) == [first, second]
    host.must(host.installed("pitr.sh"), "drop")
    host.must(host.installed("pitr.sh"), "prepare", "latest", "--timeline", "1")
    assert _combined(host) == [third]


def _refused(host: Backups, *words: str) -> str:
    sentence = host.refused(host.installed("pitr.sh"), *words)
    assert not (host.srv / "data/postgres-pitr").exists()
    return sentence


def test_a_moment_that_cannot_be_had_is_refused(host: Backups) -> None:
    _two_chains(host)
    prepare = ("prepare", "2026-11-20 12:00:00Z")
    assert "the oldest moment is 2026-11-20 12:00:01+00" in _refused(host, *prepare)
    host.postgres(last_commit="0/5000000 2026-11-20 15:00:00.000000")
    sentence = _refused(host, "prepare", "2026-11-20 15:00:00Z")
    assert "nothing was committed after 2026-11-20 15:00:00.000000+00" in sentence
    assert f"{host.installed('pitr.sh')} prepare latest" in sentence
    (host.wal / seg(8)).unlink()
    sentence = _refused(host, "prepare", "latest")
    assert f"segment {seg(8)} is missing in {host.wal}" in sentence
    assert "prepare lsn:0/5000000" in sentence
    (host.wal / seg(7)).unlink()
    assert f"segment {seg(7)} is missing" in _refused(host, "prepare", "lsn:0/8000000")


def test_no_room_is_said_before_anything_is_written(host: Backups) -> None:
    _two_chains(host)
    host.stand_in("df", "echo Avail; echo 1000000")
    assert "the restored copy needs about 1.1G, and only 977K are free" in _refused(host, "prepare", "latest")


def test_another_folder_has_to_be_readable_by_postgresql(host: Backups) -> None:
    other = host.folder / "other"
    assert "is missing; name one that holds base/ and wal/" in _refused(
        host, "prepare", "latest", "--from", str(other)
    )
    _two_chains(host)
    shutil.copytree(host.srv / "backups", other)
    sentence = _refused(host, "prepare", "latest", "--from", str(other))
    assert f"run: chown -R 999:999 {other}/wal {other}/base/*/data" in sentence


def test_a_base_backup_of_another_architecture_is_refused(host: Backups) -> None:
    """PostgreSQL itself would start with it: both are little-endian and 64 bits wide."""
    *_, third = _two_chains(host)
    info = host.base / third / "info"
    info.write_text(info.read_text() + "ARCHITECTURE=amd64\n")
    sentence = _refused(host, "prepare", "latest")
    assert f"the base backups in {host.base} are of amd64, and PostgreSQL here is of arm64" in sentence
    assert f"restore dumps, which any architecture reads: sudo {host.installed('restore.sh')}" in sentence
    assert host.programs() == []
    info.write_text(info.read_text().replace("amd64", "arm64"))
    host.must(host.installed("pitr.sh"), "prepare", "latest")


def test_what_is_prepared_stays_until_it_is_dropped(host: Backups) -> None:
    _two_chains(host)
    host.must(host.installed("pitr.sh"), "prepare", "latest")
    sentence = host.refused(host.installed("pitr.sh"), "prepare", "latest")
    assert "a prepared copy is already there" in sentence
    assert "say so: sudo" in host.refused(host.installed("pitr.sh"), "swap")
    assert "the prepared copy is removed" in host.must(host.installed("pitr.sh"), "drop")
    assert not list((host.srv / "data").glob("*pitr*"))


def test_a_failed_recovery_leaves_nothing(host: Backups) -> None:
    _two_chains(host)
    host.postgres(combine="false")
    assert "pg_combinebackup failed" in _refused(host, "prepare", "latest")
    assert [path.name for path in (host.srv / "data").iterdir()] == ["postgres"]


def test_a_point_is_noted_for_the_choice_of_a_base(host: Backups) -> None:
    assert "is no name of a point" in host.refused(host.installed("pitr.sh"), "point", "two words")
    host.must(host.installed("pitr.sh"), "point", "here")
    assert (host.wal / "points.tsv").read_text() == "here\t0/4000000\t2026-11-25 12:00:00+00\n"


def test_the_list_says_from_when_until_when(host: Backups) -> None:
    names = _two_chains(host)
    listed = host.must(host.installed("pitr.sh"), "list")
    assert "from   2026-11-20 12:00:00+00\n" in listed
    assert (
        "until  2026-11-25 12:00:00.000000+00, the newest commit (lsn:0/5000000), on timeline 1\n" in listed
    )
    assert all(name in listed for name in (*names, "name:early", "name:late"))


# --- swap ---


def _swappable(host: Backups) -> None:
    _two_chains(host)
    (host.srv / "data/postgres/old").touch()
    host.must(host.installed("pitr.sh"), "prepare", "latest")
    host.calls("docker")
    host.replace("pooler.sh")
    host.replace("backup.d/wal.sh")
    host.replace("backup.d/base.sh")


def test_a_swap_holds_clients_back_and_keeps_the_data_until_now(host: Backups) -> None:
    _swappable(host)
    host.must(host.installed("pitr.sh"), "swap", "--yes")
    assert host.calls("pooler.sh") == [["pause"], ["resume"]]
    assert host.calls("wal.sh") == [["anew"]]
    assert host.calls("base.sh") == [["full"]]
    (before,) = host.srv.glob("data/postgres-before-*")
    assert (before / "old").exists()
    assert (host.srv / "data/postgres/recovery.signal").exists()
    assert (host.wal / "00000009.history").exists()
    did = [call[0:1] + call[-1:] for call in host.calls("docker") if call[0] in ("start", "stop", "rm")]
    wanted = [("stop", "postgres-pitr"), ("stop", "postgres-db"), ("stop", "postgres-wal")]
    assert [tuple(call) for call in did] == [*wanted, ("start", "postgres-db"), ("rm", "postgres-pitr")]


def test_what_does_not_start_is_put_back(host: Backups) -> None:
    _swappable(host)
    with (host.commands / "docker").open("a") as docker:
        docker.write('case "$*" in *pg_isready*) exit 1 ;; esac\n')
    (host.commands / "docker").write_text(
        (host.commands / "docker")
        .read_text()
        .replace(
            "*State.Running*) echo true",
            "*State.Running*postgres-db) echo false ;; *State.Running*) echo true",
        )
    )
    assert "the data until now are back" in host.refused(host.installed("pitr.sh"), "swap", "--yes")
    assert (host.srv / "data/postgres/old").exists()
    assert (host.srv / "data/postgres-pitr/recovery.signal").exists()
    assert not list(host.srv.glob("data/postgres-before-*"))
    assert not (host.wal / "00000009.history").exists()
    assert host.calls("pooler.sh") == [["pause"], ["resume"]]


@pytest.mark.parametrize(
    "moment", ["stop --time 120 postgres-db", "stop --time 30 postgres-wal", "start postgres-db"]
)
def test_a_swap_that_was_killed_is_taken_back(host: Backups, moment: str) -> None:
    _swappable(host)
    (host.srv / "data/postgres/PG_VERSION").touch()
    docker, marker = host.commands / "docker", host.folder / "killed"
    text = docker.read_text()
    docker.write_text(
        text + f'\ncase "$*" in "{moment}") [ -e {marker} ] || {{ touch {marker}; kill -9 $PPID; }} ;; esac\n'
    )
    assert host.run(host.installed("pitr.sh"), "swap", "--yes").returncode == -9
    assert (host.srv / "data/.postgres-swap").exists()
    docker.write_text(text)
    host.calls("docker")
    assert "was cut off" in host.must(host.installed("pitr.sh"), "settle")
    assert (host.srv / "data/postgres/old").exists()
    assert (host.srv / "data/postgres-pitr/recovery.signal").exists()
    assert not (host.srv / "data/.postgres-swap").exists()
    assert ["start", "postgres-db", "postgres-wal"] in host.calls("docker")
    assert host.must(host.installed("pitr.sh"), "settle") == ""


def test_nothing_changes_when_clients_cannot_be_held_back(host: Backups) -> None:
    _swappable(host)
    host.replace("pooler.sh", "exit 1")
    assert "nothing was changed" in host.refused(host.installed("pitr.sh"), "swap", "--yes")
    assert (host.srv / "data/postgres/old").exists()
    stopped = [call[-1] for call in host.calls("docker") if call[0] == "stop"]
    assert stopped == ["postgres-pitr"]
