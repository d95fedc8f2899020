"""alert.sh and what status.sh says of backups (backup.d/checks.sh), with a platform, a curl and an rclone that are only played."""

import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.played_status import Played

HOUR, DAY = 3600, 86400
OF_BACKUPS = (
    *("disk", "backup", "base-backup", "wal", "recovery", "offsite-dumps", "offsite-wal", "drill", "alerts"),
    "backups-checks",
)
SETTINGS = """\
STACK='local'
BACKUP_MAX_AGE_HOURS=26
DRILL_MAX_AGE_DAYS=8
WAL_MAX_AGE_SECONDS=300
DISK_MARK=70
OFFSITE=''
ALERTS_TO=''
"""
URL = "https://hooks.example/CANARY-of-the-address"


class Platform:
    """A tree with the real scripts, in which nothing is too old; every script's paths of systemd are the test's own."""

    def __init__(self, folder: Path) -> None:
        self.played = Played(folder)
        self.host = self.played.host
        self.srv = self.played.srv
        self.state = self.srv / "backups/state"
        self.units = self.played.outside / "etc/systemd/system"
        for path in (self.srv / "config/backup", self.units):
            path.mkdir(parents=True)
        self.played.install("alert.sh", "backup.d/common.sh", "backup.d/checks.sh")
        self.settings()
        self.host.stand_in("logger")
        self.used(40)

    def file(self, name: str) -> str:
        return shlex.quote(str(self.host.folder / name))

    def used(self, percent: int) -> None:
        self.played.disk(percent)

    def settings(self, **change: str) -> None:
        lines = SETTINGS + "".join(f"{name}={shlex.quote(value)}\n" for name, value in change.items())
        (self.srv / "config/backup/backup.env").write_text(lines)

    def timers(self) -> None:
        for name in ("backup", "wal", "drill", "alert"):
            (self.units / f"central-data-platform-{name}.timer").touch()

    def ran(self, name: str, *, ago: float = 0, failed: str = "") -> None:
        """As `record` writes it."""
        when = int(time.time() - ago)
        if failed:
            (self.state / name).write_text(f"fail\t{when}\t{failed}\n")
            return
        for file in (name, f"{name}.good"):
            (self.state / file).write_text(f"ok\t{when}\tas it should be\n")
        if name in ("dumps", "base"):
            (self.srv / "backups" / name / "20261125T143000Z").mkdir(parents=True, exist_ok=True)

    def all_ran(self) -> None:
        for name in ("dumps", "base", "drill", "offsite-dumps", "offsite-wal"):
            self.ran(name, ago=60)

    def grown_old(self, days: float) -> None:
        when = time.time() - days * DAY
        os.utime(self.srv / ".central-data-platform", (when, when))

    def status(self) -> dict[str, tuple[str, str]]:
        """What status.sh says of backups and the disk: state and detail by name."""
        return {
            name: (str(check["state"]), str(check["detail"]))
            for name, check in self.played.checks().items()
            if name in OF_BACKUPS
        }

    def states(self) -> dict[str, str]:
        return {name: state for name, (state, _) in self.status().items()}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


# --- backup.d/checks.sh ---

WELL = {"disk": "ok", "backup": "ok", "base-backup": "ok", "wal": "ok", "drill": "ok"}


def test_where_all_has_run_all_is_well(platform: Platform) -> None:
    platform.all_ran()
    found = platform.status()
    assert {name: state for name, (state, _) in found.items()} == WELL
    assert found["backup"][1] == "1 min old: as it should be"
    assert found["wal"][1] == "streaming, 1.0M behind, 0% of the 4.0G that are kept for it"
    platform.settings(OFFSITE="s3:http://127.0.0.1:9000/bucket")
    assert platform.states() == {**WELL, "offsite-dumps": "ok", "offsite-wal": "ok"}


def test_status_knows_nothing_of_backups_where_there_are_none(platform: Platform) -> None:
    (platform.srv / "config/backup/backup.env").unlink()
    platform.used(84)
    assert platform.states() == {"disk": "ok"}


@pytest.mark.parametrize(("used", "state"), [(69, "ok"), (70, "warn"), (94, "warn"), (95, "fail")])
def test_the_disk_s_mark_is_the_operator_s(platform: Platform, used: int, state: str) -> None:
    platform.used(used)
    assert platform.states()["disk"] == state


@pytest.mark.parametrize(
    ("check", "name", "limit"),
    [
        ("backup", "dumps", 26 * HOUR),
        ("base-backup", "base", 26 * HOUR),
        ("offsite-dumps", "offsite-dumps", 26 * HOUR),
        ("offsite-wal", "offsite-wal", 300),
        ("drill", "drill", 8 * DAY),
    ],
)
def test_what_is_too_old_fails_where_a_timer_should_have_made_it(
    platform: Platform, check: str, name: str, limit: int
) -> None:
    platform.settings(OFFSITE="rclone:oci:bucket")
    platform.all_ran()
    platform.ran(name, ago=limit - 30)
    assert set(platform.states().values()) == {"ok"}
    platform.ran(name, ago=limit + 30)
    state, detail = platform.status()[check]
    assert state == "warn"
    assert detail.endswith(f"; no timer here: run make {'drill' if check == 'drill' else 'backup'}")
    platform.timers()
    found = platform.status()
    assert {name for name, (state, _) in found.items() if state != "ok"} == {check}
    assert found[check][0] == "fail"
    assert re.match(
        r"the last good one is \d+ (min|h|days) old, more than \d+ (min|h|days); see journalctl -u ",
        found[check][1],
    )


def test_what_failed_is_told_with_its_reason(platform: Platform) -> None:
    platform.all_ran()
    for name in ("dumps", "drill"):
        platform.ran(name, failed='no space on "the disk"')
    found = platform.status()
    assert found["backup"] == (
        "warn",
        'the last run failed: no space on "the disk"; the last good one is 1 min old',
    )
    assert found["drill"][0] == "fail"
    # Too old and failed is no reminder any more, with a timer or without.
    platform.ran("dumps", ago=30 * HOUR)
    platform.ran("dumps", failed="no space")
    assert platform.status()["backup"] == (
        "fail",
        "the last good one is 30 h old, more than 26 h; the last run failed: no space",
    )


def test_a_young_platform_has_no_backup_yet_and_an_old_one_should_have(platform: Platform) -> None:
    missing = {"backup", "base-backup", "drill"}
    for timers in (False, True):
        if timers:
            platform.timers()
        found = platform.status()
        assert {name for name, (state, _) in found.items() if state == "warn"} == missing
    platform.grown_old(2)
    assert platform.states() == {**WELL, "backup": "fail", "base-backup": "fail", "drill": "warn"}
    platform.grown_old(9)
    assert platform.states()["drill"] == "fail"
    platform.grown_old(0)
    platform.ran("dumps", failed="nothing works")
    assert platform.status()["backup"] == (
        "fail",
        "none has succeeded yet, and the last run failed: nothing works",
    )


def test_a_backup_that_somebody_has_removed_is_none(platform: Platform) -> None:
    platform.all_ran()
    (platform.srv / "backups/dumps/20261125T143000Z").rename(
        platform.srv / "backups/dumps/.20261125T143000Z.new"
    )
    state, detail = platform.status()["backup"]
    assert state == "fail"
    assert detail.startswith(f"there is none in {platform.srv}/backups/dumps although the last run made one")


def test_a_clock_that_was_set_back_does_not_make_a_backup_young(platform: Platform) -> None:
    platform.all_ran()
    platform.ran("dumps", ago=-2 * HOUR)
    state, detail = platform.status()["backup"]
    assert (state, "lies ahead of the clock" in detail) == ("warn", True)


GIB = 1 << 30


@pytest.mark.parametrize(
    ("slot", "running", "state", "said"),
    [
        (f"t|extended|0|{2 * GIB - 1}|{4 * GIB}", "running", "ok", "49% of the 4.0G"),
        (f"t|extended|0|{2 * GIB}|{4 * GIB}", "running", "warn", "50% of the 4.0G"),
        (f"t|extended|0|{4 * GIB * 8 // 10 + 1}|{4 * GIB}", "running", "fail", "80% of the 4.0G"),
        (f"t|reserved|0|{9 * GIB}|-1048576", "running", "ok", "9.0G behind"),
        (f"f|reserved|299|0|{GIB}", "running", "warn", "has not been connected for 4 min"),
        (f"f|reserved|301|0|{GIB}", "running", "fail", "has not been connected for 5 min"),
        (f"f|reserved|0|{GIB}|{GIB}", "running", "fail", "100% of the 1.0G"),
        (f"f|reserved|0|0|{GIB}", "exited", "fail", "docker start postgres-wal"),
        (f"f|reserved|0|0|{GIB}", "gone", "fail", "container postgres-wal does not run"),
        (f"f|unreserved|0|{GIB}|{GIB}", "running", "fail", "slot postgres_wal is unreserved"),
        (f"f|lost|0|0|{GIB}", "running", "fail", "slot postgres_wal is lost"),
        ("", "running", "fail", "has no slot postgres_wal"),
    ],
)
def test_wal_that_does_not_leave_is_told_before_the_slot_is_lost(
    platform: Platform, slot: str, running: str, state: str, said: str
) -> None:
    platform.played.slot = slot
    if running == "gone":
        del platform.played.containers["postgres-wal"]
    else:
        platform.played.containers["postgres-wal"].status = running
    found = platform.status()["wal"]
    assert (found[0], said in found[1]) == (state, True), found


def test_wal_that_is_received_and_gets_no_further_is_told(platform: Platform) -> None:
    platform.ran("wal", ago=200)
    platform.ran("wal", failed="no space")
    assert platform.status()["wal"] == (
        "warn",
        "streaming, 1.0M behind, 0% of the 4.0G that are kept for it; what comes after failed: no space",
    )
    platform.ran("wal", ago=400)
    platform.ran("wal", failed="no space")
    assert platform.states()["wal"] == "fail"
    platform.ran("wal")
    assert platform.states()["wal"] == "ok"


def test_without_postgresql_nothing_is_known_of_its_slot(platform: Platform) -> None:
    platform.played.instead["slot"] = "exit 1"
    assert platform.status()["wal"] == ("unknown", "PostgreSQL does not answer")
    platform.played.docker = "exit 1"
    assert platform.status()["wal"] == ("unknown", "Docker does not answer")


def test_who_may_not_see_the_backups_is_told_how(platform: Platform) -> None:
    platform.host.stand_in("id", "echo 1000")
    ran = platform.played.run()
    assert ran.returncode == 1
    assert ran.stderr == f"only root can do this; run: sudo {platform.srv}/apps/status.sh\n"
    assert "  fail    backups-checks: not all of these checks were made: they broke off" in ran.stdout


def test_a_way_that_does_not_take_its_messages_is_told(platform: Platform) -> None:
    platform.all_ran()
    platform.ran("alerts", failed="webhook did not take the message about wal: no answer")
    state, detail = platform.status()["alerts"]
    assert state == "warn"
    assert detail == (
        f"webhook did not take the message about wal: no answer; run sudo {platform.srv}/apps/alert.sh test"
    )
    platform.ran("alerts")
    assert platform.states() == WELL


# --- alert.sh ---


class Sender(Platform):
    """A platform with a played status.sh, whose alerts go to a played curl and rclone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.srv / "config/backup/webhook").write_text(f'url = "{URL}"\n')
        (self.srv / "apps/status.sh").write_text(f"cat {self.file('status')}\n")
        self.answer("curl", 200)
        self.answer("rclone", 0)
        self.checks()

    def answer(self, tool: str, with_code: int) -> None:
        """What a receiver does: curl's is an HTTP status, or an exit code below 100."""
        if tool == "curl":
            code = 0 if 200 <= with_code < 400 else 22 if with_code >= 400 else with_code
            last = f"printf '%03d' {with_code if with_code >= 100 else 0}; exit {code}"
        else:
            last = f'[ {with_code} = 0 ] || echo "2026/01/02 ERROR : it says no" >&2; exit {with_code}'
        body = self.file(f"{tool}.body")
        self.host.stand_in(tool, f"cat >>{body}; {last}")

    def checks(self, **states: str | tuple[str, str]) -> None:
        """What status.sh finds: a state, or one with a detail; the form is its own."""
        lines = [
            f'  {{"name": "{name.replace("_", "-")}", "state": "{state}", "detail": {json.dumps(detail)}, "since": null}}'
            for name, said in {"docker": "ok", "disk": "ok", "backup": "ok", **states}.items()
            for state, detail in [(said, "a detail") if isinstance(said, str) else said]
        ]
        self.say('{"schema": 1, "generated": "now", "checks": [\n' + ",\n".join(lines) + "\n]}\n")

    def say(self, text: str) -> None:
        (self.host.folder / "status").write_text(text, encoding="utf-8")

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.host.run(self.srv / "apps/alert.sh", *words)

    def sent(self, tool: str = "curl") -> list[dict[str, Any]]:
        """The messages that reached a receiver since the last time."""
        path = self.host.folder / f"{tool}.body"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def told(self, tool: str = "curl") -> list[tuple[str, str]]:
        """Check and state of the messages of one run that does well."""
        ran = self.run()
        assert (ran.returncode, ran.stderr) == (0, "")
        return [(message["check"], message["state"]) for message in self.sent(tool)]

    def later(self, seconds: int) -> None:
        """What was told was told so much earlier."""
        path = self.state / "alerts.tsv"
        lines = [line.split("\t") for line in path.read_text().splitlines()]
        path.write_text("".join("\t".join([*rest, str(int(at) - seconds)]) + "\n" for *rest, at in lines))


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path)


def test_what_fails_is_told_once_again_each_day_and_once_when_it_is_well(sender: Sender) -> None:
    assert sender.told() == []
    sender.checks(backup="fail")
    assert sender.told() == [("backup", "fail")]
    assert sender.told() == []
    sender.later(DAY - 60)
    assert sender.told() == []
    sender.later(60)
    assert sender.told() == [("backup", "fail")]
    assert sender.told() == []
    sender.checks()
    assert sender.told() == [("backup", "ok")]
    assert sender.told() == []
    assert (sender.state / "alerts.tsv").read_text() == ""


def test_a_message_is_a_sentence_and_its_parts(sender: Sender) -> None:
    detail = 'no "space" on \\the disk\\, ümlaut'
    sender.checks(backup=("fail", detail))
    sender.run()
    (message,) = sender.sent()
    host = "host-1"
    assert message == {
        "schema": 1,
        "stack": "local",
        "host": host,
        "check": "backup",
        "state": "fail",
        "detail": detail,
        "since": None,
        "text": f"central-data-platform local on {host}: backup has failed: {detail}",
    }
    sender.later(DAY)
    sender.run()
    assert "backup still fails" in sender.sent()[0]["text"]
    sender.checks(backup=("ok", "fine"))
    sender.run()
    assert sender.sent()[0]["text"].endswith(": backup is well again: fine")


def test_the_real_status_is_understood(sender: Sender) -> None:
    sender.played.install("status.sh")
    sender.played.place()
    sender.all_ran()
    sender.ran("drill", failed='a "quoted" \\ reason, with \x1b[31mcolour')
    sender.used(71)
    sender.run()
    disk, drill = sender.sent()
    assert (disk["check"], disk["state"], drill["check"]) == ("disk", "warn", "drill")
    assert drill["detail"].startswith(
        'the last run failed: a "quoted" \\ reason, with [31mcolour; the last good'
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", drill["since"])
    assert disk["text"].endswith("disk needs attention: " + disk["detail"])


def test_a_warning_is_no_news_but_for_the_disk(sender: Sender) -> None:
    sender.checks(backup="warn", disk="warn")
    assert sender.told() == [("disk", "warn")]
    assert sender.told() == []
    sender.checks(backup="fail", disk="fail")
    assert sender.told() == [("disk", "fail"), ("backup", "fail")]
    # What comes and goes is told once.
    sender.checks(backup="warn")
    assert sender.told() == [("disk", "ok")]
    sender.checks(backup="fail")
    assert sender.told() == []
    sender.checks(backup="unknown")
    assert sender.told() == []
    sender.checks()
    assert sender.told() == [("backup", "ok")]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (500, "it answered with HTTP status 500"),
        (404, "it answered with HTTP status 404"),
        (302, "it answered with HTTP status 302"),
        (7, "no answer (curl ended with 7)"),
    ],
)
def test_a_message_that_was_not_taken_is_sent_again(sender: Sender, code: int, why: str) -> None:
    sender.checks(backup="fail", wal="fail")
    sender.answer("curl", code)
    for _ in range(2):
        ran = sender.run()
        assert ran.returncode == 1
        assert ran.stdout == (
            f"webhook did not take the message about backup and is asked again by the next run: {why}\n"
        )
        assert (
            (sender.state / "alerts")
            .read_text()
            .endswith(f"\twebhook did not take the message about backup: {why}\n")
        )
        # The second message is not tried: it would wait as long.
        assert [message["check"] for message in sender.sent()] == ["backup"]
    assert not (sender.state / "alerts.tsv").exists()
    sender.answer("curl", 204)
    assert sender.told() == [("backup", "fail"), ("wal", "fail")]
    assert (sender.state / "alerts").read_text().startswith("ok\t")
    # A recovery that was not taken, too.
    sender.answer("curl", code)
    sender.checks(backup="fail")
    assert sender.run().returncode == 1
    sender.sent()
    sender.answer("curl", 200)
    assert sender.told() == [("wal", "ok")]


def test_each_way_has_its_own_memory(sender: Sender) -> None:
    sender.settings(ALERTS_TO="oci:bucket/alerts", STACK="prod")
    sender.checks(backup="fail")
    sender.answer("rclone", 1)
    ran = sender.run()
    assert ran.returncode == 1
    assert ran.stdout.endswith("asked again by the next run: rclone says: 2026/01/02 ERROR : it says no\n")
    assert len(sender.sent("curl")) == len(sender.sent("rclone")) == 1
    sender.host.calls("rclone")
    sender.answer("rclone", 0)
    assert sender.told("rclone") == [("backup", "fail")]
    assert sender.sent("curl") == []
    (words,) = sender.host.calls("rclone")
    assert words[:2] == ["--config", "/dev/null"]
    assert words[-2] == "rcat"
    assert re.fullmatch(r"oci:bucket/alerts/\d{8}T\d{6}Z-backup-fail\.json", words[-1])
    assert sender.told("rclone") == []


def test_the_address_is_in_no_command_line_and_no_line_of_the_journal(sender: Sender) -> None:
    said = ""
    for code in (200, 500, 7):
        sender.answer("curl", code)
        sender.checks(backup="fail", wal="ok" if code == 200 else "fail")
        for words in ([], ["test"]):
            ran = sender.run(*words)
            said += ran.stdout + ran.stderr
    commands = sender.host.calls("curl")
    assert len(commands) == 6
    for words in commands:
        assert words[:3] == ["--disable", "--config", str(sender.srv / "config/backup/webhook")]
        assert [words[words.index(name) + 1] for name in ("--max-time", "--retry")] == ["20", "2"]
        assert "--fail" in words
    kept = "".join(path.read_text() for path in sender.state.iterdir())
    assert "CANARY" not in said + kept + str(commands) + str(sender.host.calls("logger"))


def test_a_status_that_gives_no_answer_is_told_and_forgets_nothing(sender: Sender) -> None:
    sender.checks(backup="fail")
    sender.told()
    sender.say("Segmentation fault\n")
    assert sender.told() == [("status", "fail")]
    sender.checks(backup="fail")
    assert sender.told() == [("status", "ok")]


def test_checks_that_were_cut_off_do_not_make_the_others_well(sender: Sender) -> None:
    sender.checks(wal="fail")
    sender.told()
    sender.checks(backups_checks="fail")
    assert sender.told() == [("backups-checks", "fail")]
    sender.checks(wal="ok")
    assert sorted(sender.told()) == [("backups-checks", "ok"), ("wal", "ok")]


def test_a_check_that_is_gone_is_told_to_be_gone(sender: Sender) -> None:
    sender.checks(offsite_wal="fail")
    sender.told()
    sender.checks()
    sender.run()
    (message,) = sender.sent()
    assert (message["check"], message["state"], message["detail"]) == (
        "offsite-wal",
        "ok",
        "it is no longer checked",
    )
    assert sender.told() == []


def test_a_clock_that_was_set_back_silences_nobody(sender: Sender) -> None:
    sender.checks(backup="fail")
    sender.told()
    sender.later(-DAY)
    assert sender.told() == [("backup", "fail")]
    assert sender.told() == []


def test_without_a_way_nothing_is_asked(sender: Sender) -> None:
    (sender.srv / "config/backup/webhook").write_text("")
    sender.checks(backup="fail")
    assert sender.told() == []
    assert not (sender.state / "alerts.tsv").exists()
    assert sender.run("test").stderr.startswith(
        "there is no way to tell anybody; set the secret alertWebhook"
    )
    assert sender.run("test").returncode == 1


def test_a_test_says_what_came_of_each_way(sender: Sender) -> None:
    sender.settings(ALERTS_TO="oci:bucket/alerts")
    ran = sender.run("test")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "webhook: delivered\nobject: delivered\n", "")
    (message,) = sender.sent()
    assert (message["check"], message["state"]) == ("test", "ok")
    assert message["text"].endswith(": this is a test")
    sender.answer("curl", 403)
    ran = sender.run("test")
    assert (ran.returncode, ran.stdout) == (
        1,
        "webhook: not delivered: it answered with HTTP status 403\nobject: delivered\n",
    )
    assert not (sender.state / "alerts.tsv").exists()


def test_two_do_not_tell_the_same(sender: Sender) -> None:
    lock = sender.srv / "run/locks/alert"
    lock.parent.mkdir(parents=True)
    with subprocess.Popen(["flock", str(lock), "sh", "-c", "echo; read _"], stdin=-1, stdout=-1) as other:
        assert other.stdout
        assert other.stdin
        other.stdout.readline()
        assert sender.host.refused(sender.srv / "apps/alert.sh").startswith("another alert is running")
        other.stdin.close()


def test_alert_takes_no_other_words(sender: Sender) -> None:
    ran = sender.run("tests")
    assert (ran.returncode, ran.stderr) == (2, f"usage: {sender.srv}/apps/alert.sh [test]\n")
