"""The units that run the platform's jobs by themselves: their text, and the scripts that put them in place and take them away."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.render import timers
from components.render.machine import END
from tests.unit.scripted_host import SCRIPTS, Host, mode

TIMES: dict[str, Any] = {"backup_at": "02:30", "drill_day": "Sun", "drill_at": "04:30"}
NAMES = [
    f"central-data-platform-{job}.{kind}"
    for job in ("backup", "wal", "drill", "alert")
    for kind in ("service", "timer")
]
TIMERS = [name for name in NAMES if name.endswith("timer")]


def units(srv: str = "/srv", **times: str) -> dict[str, str]:
    return timers.units(srv, metrics=False, **{**TIMES, **times})


# --- texts ---


def test_the_texts_are_the_golden_ones(golden: Callable[[str, str], None]) -> None:
    golden("timers.txt", timers.framed(units()))


def test_each_job_has_a_service_and_a_timer_at_the_operator_s_times() -> None:
    made = units(backup_at="23:05", drill_day="Wed", drill_at="00:10")
    assert list(made) == NAMES
    assert "OnCalendar=*-*-* 23:05:00 UTC\n" in made["central-data-platform-backup.timer"]
    assert "OnCalendar=Wed *-*-* 00:10:00 UTC\n" in made["central-data-platform-drill.timer"]
    for name, text in made.items():
        assert text.startswith(f"# unit: {name}\n# srv: /srv\n")
        if name.endswith("service"):
            # Not before Docker answers, and not into an empty folder where the volume belongs.
            assert 'After=docker.service\nRequiresMountsFor="/srv"\n' in text
            assert re.search(r'^ExecStart=/bin/sh "/srv/apps/[a-z./]+\.sh"', text, re.MULTILINE)
            # A script's files in /tmp are mounted into containers by Docker, which is outside.
            assert "PrivateTmp" not in text


def test_metrics_have_a_timer_where_monitoring_is_on() -> None:
    made = timers.units("/srv", **TIMES, metrics=True)
    assert list(made) == [
        *NAMES,
        "central-data-platform-metrics.service",
        "central-data-platform-metrics.timer",
    ]
    assert 'ExecStart=/bin/sh "/srv/apps/metrics.sh"' in made["central-data-platform-metrics.service"]


@pytest.mark.parametrize("folder", ["srv", 'a "quoted" 100% \\ folder'])
def test_systemd_understands_them(tmp_path: Path, folder: str) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    srv = tmp_path / folder
    texts = units(str(srv))
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in NAMES)],
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in ran.stderr.splitlines() if "central-data-platform" in line]
    assert (own, ran.returncode) == ([], 0), ran.stderr
    for timer in timers.jobs(metrics=False, **TIMES).values():
        subprocess.run(["systemd-analyze", "calendar", timer.times], check=True, capture_output=True)


# --- install-timers.sh, remove-timers.sh ---

SYSTEMCTL = """
case " $* " in
  *" disable "*) exit 0 ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with systemd, whose folders are the test's own."""
    made = Host(tmp_path)
    made.stand_in("systemctl", SYSTEMCTL)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    folder(made).mkdir(parents=True)
    return made


def folder(host: Host) -> Path:
    return host.folder / "etc/systemd/system"


def script(host: Host, name: str) -> Path:
    """The script with the host's own paths before the machine's."""
    text = (SCRIPTS / name).read_text(encoding="utf-8")
    root = shlex.quote(str(host.folder))
    assert "/etc/systemd/system" in text
    assert "/run/systemd/system" in text
    copy = host.folder / name
    copy.write_text(re.sub(r"(?<![\w/])(/etc|/run)(?=/systemd/system)", rf"{root}\1", text), encoding="utf-8")
    return copy


def install(host: Host, texts: dict[str, str] | None = None, srv: str = "") -> str:
    srv = srv or str(host.srv)
    return host.must(
        script(host, "install-timers.sh"), srv, stdin=timers.framed(units(srv) if texts is None else texts)
    )


def installed(host: Host) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder(host).iterdir()}


def asked(host: Host) -> list[str]:
    return [" ".join(words) for words in host.calls("systemctl")]


def test_the_units_are_written_and_their_timers_run(host: Host) -> None:
    assert install(host) == ""
    assert installed(host) == units(str(host.srv))
    assert {mode(path) for path in folder(host).iterdir()} == {"0644"}
    started = [call for name in TIMERS for call in (f"--quiet enable {name}", f"restart {name}")]
    assert asked(host) == ["daemon-reload", *started]


def test_another_time_replaces_the_old_one(host: Host) -> None:
    install(host)
    texts = units(str(host.srv), backup_at="05:00")
    install(host, texts)
    assert installed(host) == texts


def test_a_unit_that_is_no_longer_named_goes_and_foreign_ones_stay(host: Host) -> None:
    install(host)
    foreign = {
        "central-data-platform-containers.service": "[Unit]\n# end\n",
        "central-data-platform-other.timer": "# srv: /elsewhere\n",
        "sshd.service": "[Unit]\n",
    }
    for name, text in foreign.items():
        (folder(host) / name).write_text(text)
    asked(host)
    kept = {name: text for name, text in units(str(host.srv)).items() if "drill" not in name}
    install(host, kept)
    assert installed(host) == kept | foreign
    assert asked(host)[0] == "--quiet disable --now central-data-platform-drill.timer"
    assert host.must(script(host, "remove-timers.sh"), str(host.srv)) == ""
    assert installed(host) == foreign
    calls = asked(host)
    stopped = [name for name in NAMES if "drill" not in name]
    assert calls[-1] == "daemon-reload"
    assert sorted(call.split()[-1] for call in calls[:-1]) == sorted(stopped)
    # No timer starts a job that was just ended.
    assert all("timer" in call for call in calls[:3])


def test_another_platform_s_timers_are_not_overwritten(host: Host) -> None:
    install(host, srv="/other")
    before = installed(host)
    asked(host)
    sentence = host.refused(
        script(host, "install-timers.sh"), str(host.srv), stdin=timers.framed(units(str(host.srv)))
    )
    assert sentence.startswith(
        f"{folder(host)}/central-data-platform-backup.service belongs to another platform of this machine (/other); "
    )
    assert host.must(script(host, "remove-timers.sh"), str(host.srv)) == ""
    assert installed(host) == before
    assert asked(host) == ["daemon-reload"]


@pytest.mark.parametrize("systemd", [True, False])
def test_a_text_that_was_cut_off_on_the_way_changes_nothing(host: Host, systemd: bool) -> None:
    install(host)
    before = installed(host)
    if not systemd:
        shutil.rmtree(host.folder / "run")
    text = timers.framed(units(str(host.srv), backup_at="05:00"))
    for cut in (0, 10, len(text) // 2, len(text) - len(END) - 2):
        sentence = host.refused(script(host, "install-timers.sh"), str(host.srv), stdin=text[:cut])
        assert sentence.startswith("cannot write the units of the timers: their text was cut off on the way")
    assert installed(host) == before


@pytest.mark.parametrize(
    "name", ["sshd.service", "central-data-platform-../x.timer", "central-data-platform-x.socket"]
)
def test_only_units_of_the_platform_are_written(host: Host, name: str) -> None:
    texts = {name: f"# unit: {name}\n# srv: {host.srv}\n"}
    sentence = host.refused(script(host, "install-timers.sh"), str(host.srv), stdin=timers.framed(texts))
    assert sentence == f"{name} is no name of a unit of this platform; nothing was written"
    assert installed(host) == {}


def test_a_unit_that_does_not_say_whose_it_is_is_not_written(host: Host) -> None:
    name = "central-data-platform-x.timer"
    sentence = host.refused(
        script(host, "install-timers.sh"), str(host.srv), stdin=f"# unit: {name}\n[Unit]\n{END}\n"
    )
    assert sentence.startswith(f"the text of {name} does not say that it is of {host.srv}")
    assert installed(host) == {}


def test_a_timer_that_does_not_start_is_named(host: Host) -> None:
    host.stand_in("systemctl", 'case "$1 $2" in "restart central-data-platform-wal.timer") exit 1 ;; esac')
    sentence = host.refused(
        script(host, "install-timers.sh"), str(host.srv), stdin=timers.framed(units(str(host.srv)))
    )
    assert sentence.startswith("central-data-platform-wal.timer does not start; see systemctl status")


def test_without_systemd_nothing_runs_by_itself_and_that_is_said(host: Host) -> None:
    shutil.rmtree(host.folder / "run")
    assert install(host) == (
        "no systemd here: nothing runs by itself; run backup.sh, drill.sh by hand (make backup, make drill)\n"
    )
    assert host.must(script(host, "remove-timers.sh"), str(host.srv)) == ""
    assert installed(host) == {}
    assert asked(host) == []
