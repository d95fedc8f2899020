"""offsite.sh, drill.sh and install-backup-tools.sh with stand-ins: what they refuse, and what they make of restic's answers."""

import itertools
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scripted_host import SCRIPTS, Host

SETTINGS = {
    "STACK": "test",
    "KEEP_DAYS": "7",
    "KEEP_WEEKS": "4",
    "KEEP_MONTHS": "6",
    "WINDOW_DAYS": "9",
    "BACKUP_MAX_AGE_HOURS": "26",
    "OFFSITE": "s3:http://store/bucket",
}
OLD, NEW = "20261124T020000Z", "20261125T020000Z"
# What restic 0.14 says, and how newer versions end (restic's manual, "Exit codes").
REACHED_NOT = 'Fatal: unable to open config file: Stat: Head "http://store/": dial tcp: connect: connection refused\nIs there a repository at the following location?'
NOTHING_THERE = "Fatal: unable to open config file: Stat: The specified key does not exist.\nIs there a repository at the following location?"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with two finished runs, a base backup and WAL; everybody is root, and nobody waits."""
    made = Host(tmp_path)
    shutil.copytree(SCRIPTS / "backup.d", made.srv / "apps/backup.d")
    for script in ("offsite.sh", "drill.sh"):
        shutil.copy(SCRIPTS / script, made.srv / "apps")
        (made.srv / "apps" / script).chmod(0o755)
    for folder in (f"dumps/{OLD}", f"dumps/{NEW}", "dumps/.20261125T030000Z.new", "base", "wal", "state"):
        (made.srv / "backups" / folder).mkdir(parents=True)
    (made.srv / "config/backup").mkdir(parents=True)
    (made.srv / "config/backup/key").write_text("the-key\n")
    settings(made)
    made.stand_in("id", "echo 0")
    made.stand_in("logger")
    made.stand_in("sleep")
    made.stand_in("rclone")
    made.stand_in("docker", "echo 7123")
    (made.srv / "backups/wal/000000010000000000000002.partial").touch()
    restic(made, "")
    return made


def settings(host: Host, **changed: str) -> None:
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in (SETTINGS | changed).items()]
    (host.srv / "config/backup/backup.env").write_text("".join(lines))


def restic(host: Host, script: str) -> None:
    """A restic; `script` may look at $* and end it. Otherwise all is well, and one run is there."""
    listing = f'[{{"time":"2026-11-24T02:00:00Z","hostname":"test-7123","tags":["{OLD}"],"short_id":"01d"}}]'
    host.stand_in("restic", f"{script}\ncase $* in *' snapshots '*) echo '{listing}' ;; esac")


def offsite(host: Host, *words: str) -> str:
    return host.must(host.srv / "apps/offsite.sh", *words)


def refused(host: Host, *words: str) -> str:
    return host.refused(host.srv / "apps/offsite.sh", *words)


def asked(host: Host) -> list[list[str]]:
    """What restic was asked, without the words before its command."""
    return [call[call.index("--quiet") + 1 :] for call in host.calls("restic")]


def state(host: Host, name: str) -> list[str]:
    return (host.srv / "backups/state" / name).read_text().rstrip("\n").split("\t")


# --- Arguments ---


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("pull",),
        ("push", "now"),
        ("restore",),
        ("restore", "dumps"),
        ("restore", "base", "/tmp/x"),
        ("restore", "wal", "/tmp/x", "test-7123", "now"),
    ],
)
def test_other_words_are_answered_with_the_usage(host: Host, words: tuple[str, ...]) -> None:
    ran = host.run(host.srv / "apps/offsite.sh", *words)
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: ")
    assert host.calls("restic") == []


def test_without_a_store_it_says_what_to_set(host: Host) -> None:
    settings(host, OFFSITE="")
    assert refused(host, "push").startswith("no off-site store is set; set central-data-platform:backup")


@pytest.mark.parametrize("text", ["", None])
def test_without_a_key_nothing_is_sent(host: Host, text: str | None) -> None:
    key = host.srv / "config/backup/key"
    key.unlink()
    if text is not None:
        key.write_text(text)
    assert "is missing" in refused(host, "push")
    assert host.calls("restic") == []


def test_a_drill_takes_no_arguments(host: Host) -> None:
    ran = host.run(host.srv / "apps/drill.sh", "now")
    assert (ran.returncode, ran.stderr.splitlines()[0].split(";")[0]) == (1, "drill.sh takes no arguments")


def _drilled(host: Host) -> dict[str, Any]:
    """The report of a drill that fails; both forms say the same."""
    assert host.run(host.srv / "apps/drill.sh").returncode == 1
    folder = host.srv / "backups/drills"
    report = json.loads((folder / "latest.json").read_text())
    page = (folder / "latest.md").read_text()
    assert f"## Base backup and WAL: {report['point_in_time']['result']}\n" in page
    assert "## Dumps: fail\n" in page
    assert not (host.srv / "backups/.drill").exists()
    return report


def _states(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in report["checks"]}


def test_dumps_that_cannot_be_had_are_no_end_of_a_drill(host: Host) -> None:
    restic(host, f"echo {shlex.quote(REACHED_NOT)} >&2; exit 1")
    report = _drilled(host)
    assert _states(report) == {"fetch": "fail", "base fetch": "fail"}
    assert (report["source"], report["result"]) == ("off-site", "fail")
    assert report["point_in_time"] == {"base": "", "rto_seconds": None, "rpo_seconds": None, "result": "fail"}


def test_a_store_without_a_base_backup_is_no_failure_of_the_drill(host: Host) -> None:
    restic(
        host,
        """case $* in *' snapshots '*' base '*) echo '[]'; exit ;; *' snapshots '*wal) echo '[{"hostname":"test-7123"}]'; exit ;; *' stats '*) exit 1 ;; esac""",
    )
    report = _drilled(host)
    assert _states(report) == {"fetch": "fail", "base fetch": "warn"}
    assert report["point_in_time"]["result"] == "none"
    # And where there is no store, nor anything here.
    settings(host, OFFSITE="")
    report = _drilled(host)
    assert _states(report) == {"fetch": "fail", "base fetch": "warn"}
    assert report["source"] == "local"


def test_a_base_backup_without_what_it_builds_on_fails_the_drill(host: Host) -> None:
    settings(host, OFFSITE="")
    base = host.srv / "backups/base/20261125T020000Z"
    base.mkdir()
    (base / "info").write_text("KIND=incremental\nPARENT=20261124T020000Z\n")
    report = _drilled(host)
    (check,) = [check for check in report["checks"] if check["name"] == "base fetch"]
    assert check["state"] == "fail"
    assert check["detail"].endswith("cannot be had: it builds on one that is missing")


# --- What restic says ---


@pytest.mark.parametrize(
    ("says", "code", "sentence"),
    [
        (REACHED_NOT, 1, "cannot be reached"),
        ("", 124, "cannot be reached"),
        ("Fatal: wrong password or no key found", 1, "does not open s3:http://store/bucket/dumps"),
        ("Fatal: nothing to see", 12, "does not open s3:http://store/bucket/dumps"),
        ("Fatal: unable to open config file: Stat: Access Denied.", 1, "the store refuses the credentials"),
    ],
)
def test_what_is_wrong_is_told_apart_and_nothing_is_made(
    host: Host, says: str, code: int, sentence: str
) -> None:
    restic(host, f"echo {shlex.quote(says)} >&2; exit {code}")
    ran = host.run(host.srv / "apps/offsite.sh", "push")
    assert ran.returncode == 1
    assert sentence in ran.stdout
    assert state(host, "offsite-dumps")[0] == "fail"
    assert sentence in state(host, "offsite-dumps")[2]
    assert not [call for call in asked(host) if "init" in call]


@pytest.mark.parametrize(("says", "code"), [(NOTHING_THERE, 1), ("", 10)])
def test_where_nothing_is_a_repository_is_made_once(host: Host, says: str, code: int) -> None:
    there = host.folder / "there"
    restic(
        host,
        f"case $* in *' cat config') [ -e {there} ] || {{ echo {shlex.quote(says)} >&2; exit {code}; }} ;; *' init') touch {there} ;; esac",
    )
    offsite(host, "push")
    assert [call for call in asked(host) if "init" in call] == [["init"]]
    # One that was there and is gone is another matter.
    there.unlink()
    ran = host.run(host.srv / "apps/offsite.sh", "push")
    assert ran.returncode == 1
    assert "was there and is gone" in ran.stdout
    assert not [call for call in asked(host) if "init" in call]


def test_through_rclone_an_outage_is_no_empty_store(host: Host) -> None:
    settings(host, OFFSITE="rclone:store:bucket")
    restic(host, "echo 'Fatal: unable to open config file: <config/> does not exist' >&2; exit 1")
    host.stand_in("rclone", "echo 'connection refused' >&2; exit 1")
    ran = host.run(host.srv / "apps/offsite.sh", "push")
    assert "cannot be reached (connection refused)" in ran.stdout
    assert not [call for call in asked(host) if "init" in call]
    assert host.calls("rclone") == [["lsf", "store:bucket/dumps"], ["lsf", "store:bucket/wal"]]


def test_a_repository_in_use_is_waited_for(host: Host) -> None:
    """A lock whose owner is gone is removed; restic decides whose that is."""
    count = host.folder / "count"
    restic(
        host,
        f"case $* in *' backup '*) echo >>{count}; [ $(wc -l <{count}) -gt 2 ] || {{ echo 'repository is already locked by PID 7' >&2; exit 1; }} ;; esac",
    )
    offsite(host, "push")
    assert [call for call in asked(host) if "unlock" in call] == [["unlock"], ["unlock"]]
    assert host.calls("sleep") == [["1"], ["30"]]


# --- push and wal ---


def test_a_push_sends_what_is_not_there_and_keeps_what_is_here(host: Host) -> None:
    assert "new dumps: 20261125T020000Z" in offsite(host, "push")
    calls = asked(host)
    backups = [call for call in calls if call[0] == "backup"]
    assert [call[-1] for call in backups] == [NEW, "base", "wal"]
    assert backups[0][1:-1] == ["--host", "test-7123", "--tag", NEW, "--time", "2026-11-25 02:00:00"]
    (old_dumps, _, old_wal) = [call for call in calls if call[0] == "forget"]
    for run in (OLD, NEW):
        assert f"--keep-tag {run}" in " ".join(old_dumps)
    for policy in ("--keep-daily 7", "--keep-weekly 4", "--keep-monthly 6"):
        assert policy in " ".join(old_dumps)
    assert "--keep-last 30 --keep-hourly 24 --keep-daily 9 --prune" in " ".join(old_wal)
    assert ["--read-data-subset" in call for call in calls if call[0] == "check"] == [True, True]
    assert state(host, "offsite-dumps.good")[0] == state(host, "offsite-wal.good")[0] == "ok"


def test_a_run_that_could_not_be_read_as_a_whole_is_not_left_there(host: Host) -> None:
    restic(
        host,
        f"case $* in *' backup '*{NEW}) echo 'error: input/output error' >&2; exit 3 ;; *' --tag {NEW}'*) echo '[{{\"time\":\"2026-11-25T02:00:00Z\",\"short_id\":\"abc123\"}}]'; exit ;; esac",
    )
    ran = host.run(host.srv / "apps/offsite.sh", "push")
    assert ran.returncode == 1
    assert f"dumps/{NEW} could not be pushed: error: input/output error" in ran.stdout
    assert ["forget", "abc123"] in asked(host)


def test_wal_that_was_packed_meanwhile_is_read_again(host: Host) -> None:
    offsite(host, "wal")
    host.calls("restic")
    once = host.folder / "once"
    restic(host, f"case $* in *' backup '*) mkdir {once} 2>/dev/null && exit 3 ;; esac")
    offsite(host, "wal")
    # What lacks a file does not stay as the newest.
    assert [call[0] for call in asked(host)] == ["backup", "snapshots", "forget", "backup"]
    assert state(host, "offsite-wal")[0] == "ok"


def test_an_empty_folder_never_becomes_the_newest(host: Host) -> None:
    next((host.srv / "backups/wal").iterdir()).unlink()
    for job in ("wal", "push"):
        assert host.run(host.srv / "apps/offsite.sh", job).returncode == 1
        assert not [call for call in asked(host) if call[0] == "backup" and call[-1] == "wal"]
        assert "is empty" in state(host, "offsite-wal" if job == "wal" else "offsite-dumps")[2]


def test_the_cluster_is_remembered_for_when_postgresql_is_down(host: Host) -> None:
    offsite(host, "wal")
    host.stand_in("docker", "exit 1")
    host.calls("restic")
    offsite(host, "wal")
    assert [call[2] for call in asked(host) if call[0] == "backup"] == ["test-7123"]


def test_of_several_clusters_one_has_to_be_named(host: Host, tmp_path: Path) -> None:
    restic(
        host, """case $* in *snapshots*) echo '[{"hostname":"test-1"},{"hostname":"test-2"}]'; exit ;; esac"""
    )
    where = str(tmp_path / "back")
    assert "say which at the end of the line: test-1 test-2" in refused(host, "restore", "wal", where)
    assert "there is no cluster test-3" in refused(host, "restore", "wal", where, "test-3")
    host.calls("restic")
    restic(
        host,
        """case $* in *snapshots*) echo '[{"hostname":"test-1"},{"hostname":"test-2"}]'; exit ;; *stats*) echo '{"total_size":1}'; exit ;; esac""",
    )
    offsite(host, "restore", "wal", where, "test-1")
    assert {call[call.index("--host") + 1] for call in asked(host) if call[0] == "restore"} == {"test-1"}


def test_after_an_outage_wal_asks_first_and_then_has_time_to_catch_up(host: Host) -> None:
    host.stand_in("timeout", 'while [ "$1" != restic ]; do shift; done; "$@"')
    offsite(host, "wal")
    offsite(host, "wal")
    limits = [call[3] for call in host.calls("timeout")]
    assert limits == ["60", "72000", "240"]


def test_wal_says_only_what_has_changed(host: Host) -> None:
    offsite(host, "wal")
    assert offsite(host, "wal") == ""
    restic(host, f"echo {shlex.quote(REACHED_NOT)} >&2; exit 1")
    for said in (True, False):
        ran = host.run(host.srv / "apps/offsite.sh", "wal")
        assert ran.returncode == 1
        assert ran.stdout.startswith("off-site WAL: ") is said
        assert "nothing is lost" in ran.stderr
    restic(host, "")
    assert offsite(host, "wal").startswith("off-site WAL: ")


def test_secrets_are_files_for_restic(host: Host) -> None:
    seen = host.folder / "seen"
    (host.srv / "config/backup/s3-credentials").touch()
    restic(host, f"env >{seen}; tr '\\0' ' ' </proc/$$/cmdline >>{seen}")
    offsite(host, "wal")
    assert f"RESTIC_PASSWORD_FILE={host.srv}/config/backup/key" in seen.read_text()
    # An empty file is that of a stack without such keys.
    assert "AWS_SHARED_CREDENTIALS_FILE" not in seen.read_text()
    (host.srv / "config/backup/s3-credentials").write_text("[default]\naws_secret_access_key = the-secret\n")
    offsite(host, "wal")
    assert f"AWS_SHARED_CREDENTIALS_FILE={host.srv}/config/backup/s3-credentials" in seen.read_text()
    assert "the-key" not in seen.read_text()
    assert "the-secret" not in seen.read_text()


# --- A clock that jumps ---


def test_a_clock_that_was_set_back_puts_no_snapshot_before_the_last(host: Host) -> None:
    """restic keeps, and restores, what is newest by its time."""
    (host.srv / "backups/state/offsite-time.wal").write_text("32503679999\n")
    for second in ("3000-01-01 00:00:00", "3000-01-01 00:00:01"):
        offsite(host, "wal")
        (backup,) = [call for call in asked(host) if call[0] == "backup"]
        assert backup[backup.index("--time") + 1] == second


def test_a_run_from_the_future_is_restored_only_where_there_is_no_other(host: Host, tmp_path: Path) -> None:
    def newest(*runs: str) -> str:
        listing = ",".join(f'{{"tags":["{run}"]}}' for run in runs)
        restic(
            host,
            f"""case $* in *' snapshots '*) echo '[{listing}]'; exit ;; *' stats '*) echo '{{"total_size":1}}' ;; esac""",
        )
        host.calls("restic")
        host.run(host.srv / "apps/offsite.sh", "restore", "dumps", str(tmp_path / "back"))
        (call,) = [call for call in asked(host) if call[0] == "restore"]
        return call[call.index("--tag") + 1]

    assert newest(OLD, NEW, "29990101T000000Z") == NEW
    assert newest("29990101T000000Z") == "29990101T000000Z"


# --- The newest base backup ---


def _in_the_store(host: Host, folder: Path, *wal: str) -> None:
    """Two chains of base backups and WAL; restic writes the info files that are asked for."""
    infos = {
        "20261120T000000Z": "KIND=full\nPARENT=\nSTART_WAL=000000010000000000000001",
        "20261121T000000Z": "KIND=full\nPARENT=\nSTART_WAL=00000001000000000000000F",
        "20261122T000000Z": "KIND=incremental\nPARENT=20261121T000000Z\nSTART_WAL=000000010000000000000012",
    }
    store = host.folder / "store"
    for name, text in infos.items():
        (store / "base" / name).mkdir(parents=True)
        (store / "base" / name / "info").write_text(f"{text}\n")
    files = [(f"/base/{name}/data/file", 1000) for name in infos] + [(f"/wal/{name}", 10) for name in wal]
    (host.folder / "list").write_text(
        "".join(
            f'{{"name":"x","type":"file","path":"{path}","uid":999,"size":{size},"mode":384}}\n'
            for path, size in files
        )
    )
    restic(
        host,
        f"""case $* in
  *' snapshots '*) echo '[{{"hostname":"test-7123","tags":["base"]}}]'; exit ;;
  *' ls '*' base '*) grep '"/base' {host.folder}/list ;;
  *' ls '*) grep '"/wal' {host.folder}/list ;;
  *info*) cp -r {store}/base {folder}/ ;;
esac""",
    )


def test_of_base_backups_only_the_newest_and_its_wal_come_back(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "back"
    _in_the_store(
        host,
        folder,
        "000000010000000000000011.gz",
        "000000010000000000000012.gz",
        "00000001000000000000001F.gz",
        "past/000000010000000000000021.gz",
        "000000020000000000000020.partial",
        "00000002.history",
        "points.tsv",
    )
    offsite(host, "restore", "newest", str(folder), "test-7123")
    infos, base, wal = [call for call in asked(host) if call[0] == "restore"]

    def included(call: list[str]) -> list[str]:
        return [word for before, word in itertools.pairwise(call) if before == "--include"]

    assert included(infos) == ["/base/*/info"]
    assert included(base) == ["/base/20261121T000000Z", "/base/20261122T000000Z"]
    # Names of segments without their last digit: few patterns, and few segments too many.
    assert sorted(included(wal)) == sorted(
        [
            "/wal/*.history",
            "/wal/past/*.history",
            "/wal/points.tsv",
            "/wal/00000001000000000000001*",
            "/wal/past/00000001000000000000002*",
            "/wal/00000002000000000000002*",
        ]
    )


def test_room_for_the_newest_is_asked_for_and_for_nothing_else(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "back"
    _in_the_store(host, folder, "000000010000000000000011.gz", "000000010000000000000012.gz")
    host.stand_in("df", "echo Avail; echo 2009")
    assert "restoring base backup 20261122T000000Z needs about 2.0K" in refused(
        host, "restore", "newest", str(folder)
    )
    host.stand_in("df", "echo Avail; echo 2010")
    shutil.rmtree(folder)
    offsite(host, "restore", "newest", str(folder))


def test_a_store_without_base_backups_says_so(host: Host, tmp_path: Path) -> None:
    restic(
        host,
        """case $* in *' snapshots '*' base '*) echo '[]'; exit ;; *' snapshots '*) echo '[{"hostname":"test-7123"}]'; exit ;; esac""",
    )
    assert refused(host, "restore", "newest", str(tmp_path / "back")).startswith(
        "there is no base backup of test-7123 in s3:http://store/bucket/wal yet; run sudo "
    )


# --- install-backup-tools.sh ---


@pytest.fixture
def bare(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose PATH has neither the tools nor a package manager."""
    folder = host.folder / "system"
    folder.mkdir()
    for tool in ("sh", "env", "mktemp", "tail", "rm", "chmod"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    for tool in ("restic", "rclone"):
        (host.commands / tool).unlink()
    monkeypatch.setenv("PATH", os.fspath(folder))
    return host


def test_tools_that_are_there_are_left_alone(bare: Host) -> None:
    bare.stand_in("restic")
    bare.stand_in("apt-get", "exit 1")
    assert bare.must("install-backup-tools.sh", "restic") == ""
    assert bare.calls("apt-get") == []


def test_tools_come_from_apt(bare: Host) -> None:
    """Its lists are fetched only where they are too old."""
    new = bare.folder / "new"
    bare.stand_in("apt-get", f"case $* in *update*) : >{new} ;; *) [ -e {new} ] || exit 100 ;; esac")
    assert bare.must("install-backup-tools.sh", "restic", "rclone") == ""
    words = [" ".join(call) for call in bare.calls("apt-get")]
    assert [("update" in call, call.endswith("restic rclone")) for call in words] == [
        (False, True),
        (True, False),
        (False, True),
    ]


def test_tools_come_from_dnf(bare: Host) -> None:
    bare.stand_in("rpm", "exit 1")
    bare.stand_in("dnf")
    assert bare.must("install-backup-tools.sh", "rclone", "restic") == ""
    assert [call[-2:] for call in bare.calls("dnf")][-1] == ["rclone", "restic"]


def test_what_cannot_be_installed_is_one_sentence(bare: Host) -> None:
    assert bare.refused("install-backup-tools.sh", "restic").startswith(
        "restic missing, and this machine has neither dnf nor apt-get"
    )
    assert bare.refused("install-backup-tools.sh", "borg") == "unknown tool 'borg'; write restic or rclone"
    bare.stand_in("apt-get", "echo 'no route to host' >&2; exit 100")
    ran = bare.run("install-backup-tools.sh", "restic")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "no route to host",
        "could not install restic (the lines above say why); see that the machine reaches its package repositories, then run up again",
    ]
