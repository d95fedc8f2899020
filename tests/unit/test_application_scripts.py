"""The scripts behind applications as processes, with a docker that only plays psql and redis-cli: what they do with files, and what
they refuse. What their SQL does: tests/engine/test_application*.py."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.render.passwords import PasswordFile, password_list
from tests.unit.scripted_host import SCRIPTS, Host, listing, mode, wait_for

BEGIN = "# BEGIN central-data-platform: made by Pulumi; lines outside this block are yours"
END = "# END central-data-platform"
BLOCK = "DATABASE_URL=postgresql://canary-password@pgbouncer\nDATABASE_NAME=librarian\n"
VERIFIER = "SCRAM-SHA-256$4096:canary-salt$canary-stored:canary-server"
# Nobody needs to be root here: chown only notes what it is asked.
ME = f"{os.getuid()}:{os.getgid()}"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.stand_in("chown")
    (made.srv / "apps").mkdir(parents=True)
    return made


def quoted(path: Path) -> str:
    return shlex.quote(str(path))


# --- password.sh ---


def psql(host: Host, *, on: str = "", running: str = "true") -> None:
    """A docker whose psql says what it is told to \\echo; `on` is what happens at a line of its input."""
    host.stand_in(
        "docker",
        f"""
case "$*" in
  *'container inspect'*) echo {running} ;;
  *psql*)
    while IFS= read -r line; do
      printf '%s\\n' "$line" >>{quoted(host.folder / "sql")}
      case $line in
        {on}
      esac
      case $line in '\\echo '*) echo "${{line#??????}}" ;; esac
    done
    ;;
esac
""",
    )


def sql(host: Host) -> str:
    """What psql was given since the last time."""
    path = host.folder / "sql"
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    path.unlink(missing_ok=True)
    return found


def folder(host: Host) -> Path:
    return host.srv / "apps" / "librarian"


def server_env(host: Host, **changes: Any) -> PasswordFile:
    said = {"path": str(folder(host) / "server.env"), "content": BLOCK, "block": True, "owner": ME}
    return PasswordFile(**(said | changes))


def ca_file(host: Host) -> PasswordFile:
    return PasswordFile(path=str(folder(host) / "platform-ca.crt"), content="CA\n", mode="0644", owner=ME)


def apply(host: Host, *files: PasswordFile, **more: bool) -> None:
    said = host.must("password.sh", "apply", "librarian_user", stdin=password_list(VERIFIER, files, **more))
    assert said == ""


def refused(host: Host, *files: PasswordFile, action: str = "apply") -> str:
    return host.refused("password.sh", action, "librarian_user", stdin=password_list(VERIFIER, files))


def write(host: Host, text: str) -> Path:
    """A server.env that is there already."""
    folder(host).mkdir(exist_ok=True)
    path = folder(host) / "server.env"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def names(host: Host) -> list[str]:
    return sorted(p.name for p in folder(host).iterdir())


def test_a_password_and_its_files_are_made(host: Host) -> None:
    psql(host)
    before = os.umask(0o022)
    try:
        apply(host, server_env(host), ca_file(host))
    finally:
        os.umask(before)
    path = folder(host) / "server.env"
    assert path.read_text(encoding="utf-8") == f"{BEGIN}\n{BLOCK}{END}\n"
    assert (folder(host) / "platform-ca.crt").read_text(encoding="utf-8") == "CA\n"
    assert (mode(folder(host)), mode(path), mode(folder(host) / "platform-ca.crt")) == (
        "0755",
        "0600",
        "0644",
    )
    assert names(host) == ["platform-ca.crt", "server.env"]
    assert [owner for owner, _ in host.calls("chown")] == [ME, ME]


def test_no_secret_is_a_word_or_printed(host: Host) -> None:
    psql(host)
    apply(host, server_env(host))
    words = [word for call in host.calls("docker") for word in call]
    assert "--set=role=librarian_user" in words
    assert not [word for word in words if "canary" in word]
    assert VERIFIER in sql(host)


def test_the_role_s_name_is_quoted_by_psql(host: Host) -> None:
    psql(host)
    role = 'a"b; DROP ROLE x'
    host.must("password.sh", "apply", role, stdin=password_list(VERIFIER))
    assert role not in sql(host)
    (call,) = host.calls("docker")
    assert f"--set=role={role}" in call


def test_the_files_change_between_the_role_s_change_and_its_commit(host: Host) -> None:
    path = write(host, f"{BEGIN}\nold\n{END}\n")
    kept = {name: host.folder / name for name in ("changed", "commit")}
    psql(
        host,
        on=f"""
        '\\echo changed') cp {quoted(path)} {quoted(kept["changed"])} ;;
        COMMIT*) cp {quoted(path)} {quoted(kept["commit"])} ;;""",
    )
    apply(host, server_env(host))
    assert "old" in kept["changed"].read_text(encoding="utf-8")
    assert BLOCK in kept["commit"].read_text(encoding="utf-8")
    lines = sql(host).splitlines()
    # No log of PostgreSQL's gets the statement, and logins wait until the end.
    assert lines.index("SET log_min_duration_statement = -1;") < lines.index("BEGIN;")
    assert lines.index("ALTER ROLE :\"role\" PASSWORD :'verifier';") < lines.index("\\echo changed")
    assert lines[-2:] == ["COMMIT;", "\\echo committed"]


YOURS = [
    "",
    "YOURS=1\n",
    "# a comment\n\nYOURS='a b'\n  indented \\ $HOME `id`\n",
    "ends without a line's end",
    "x" * 100_000 + "\n",
]


@pytest.mark.parametrize("above", YOURS[:3], ids=range(3))
@pytest.mark.parametrize("below", YOURS, ids=range(len(YOURS)))
def test_other_lines_of_a_file_are_kept(host: Host, above: str, below: str) -> None:
    psql(host)
    path = write(host, f"{above}{BEGIN} in other words\nOLD=1\n{END}\n{below}")
    apply(host, server_env(host))
    assert path.read_text(encoding="utf-8") == f"{BEGIN}\n{BLOCK}{END}\n{above}{below}"
    once = path.read_bytes()
    apply(host, server_env(host))
    assert path.read_bytes() == once


@pytest.mark.parametrize("yours", YOURS, ids=range(len(YOURS)))
def test_a_file_of_yours_without_a_block_gets_one(host: Host, yours: str) -> None:
    psql(host)
    path = write(host, yours)
    apply(host, server_env(host))
    assert path.read_text(encoding="utf-8") == f"{BEGIN}\n{BLOCK}{END}\n{yours}"


@pytest.mark.parametrize(
    "text",
    [
        f"YOURS=1\n{BEGIN}\nOLD=1\nYOURS=2\n",
        f"YOURS=1\n{END}\nYOURS=2\n",
        f"{BEGIN}\n{BEGIN}\nOLD=1\n{END}\nYOURS=2\n",
        # As many of the one as of the other, and yet nobody knows.
        f"YOURS=1\n{END}\n{BEGIN}\nYOURS=2\n",
        f"{BEGIN}\n{BEGIN}\nOLD=1\n{END}\nYOURS=2\n{END}\n",
    ],
)
def test_a_file_in_which_the_block_has_no_clear_end_is_refused_and_nothing_is_changed(
    host: Host, text: str
) -> None:
    psql(host)
    path = write(host, text)
    assert refused(host, ca_file(host), server_env(host)) == (
        f"{path} has a line '# BEGIN central-data-platform' without its '# END central-data-platform', so nobody knows which lines "
        "are yours; add the missing line, then run up again"
    )
    assert path.read_text(encoding="utf-8") == text
    assert names(host) == ["server.env"]
    assert host.calls("docker") == []


def test_a_volume_that_is_not_mounted_is_named(host: Host) -> None:
    psql(host)
    (host.srv / "apps").rmdir()
    assert refused(host, server_env(host)) == (
        f"cannot write {folder(host)}/server.env: folder {host.srv}/apps is missing; is the data volume mounted? "
        "Bring the platform's folders back, then run up again"
    )
    assert host.calls("docker") == []


def test_a_file_is_never_readable_by_others_before_it_is_whole(host: Host) -> None:
    psql(host)
    host.stand_in("chown", f'stat -c %a "$2" >>{quoted(host.folder / "modes")}')
    apply(host, server_env(host), ca_file(host))
    assert (host.folder / "modes").read_text(encoding="utf-8") == "600\n600\n"


def test_what_somebody_has_put_in_the_new_file_s_place_is_not_written_to(host: Host) -> None:
    psql(host)
    path = write(host, "")
    victim = host.folder / "victim"
    victim.write_text("precious", encoding="utf-8")
    path.with_name("server.env.new").symlink_to(victim)
    apply(host, server_env(host))
    assert victim.read_text(encoding="utf-8") == "precious"
    assert not path.is_symlink()


def test_a_running_pooler_reads_its_files_before_the_commit(host: Host) -> None:
    reloaded = host.folder / "reloaded"
    psql(host, on=f"COMMIT*) [ ! -e {quoted(host.folder / 'docker.log')} ] || touch {quoted(reloaded)} ;;")
    apply(host, ca_file(host), reload_pgbouncer=True)
    calls = [call for call in host.calls("docker") if "psql" not in call]
    assert [call[:2] for call in calls] == [["container", "inspect"], ["exec", "pgbouncer"]]
    assert calls[1] == ["exec", "pgbouncer", "sh", "-c", "kill -HUP 1"]
    assert reloaded.exists()


def test_a_pooler_that_is_not_there_yet_is_not_told(host: Host) -> None:
    psql(host, running="false")
    apply(host, ca_file(host), reload_pgbouncer=True)
    assert not [call for call in host.calls("docker") if "kill -HUP 1" in call]


@pytest.mark.parametrize(("release", "said"), [(True, "1"), (False, "0")])
def test_only_a_list_that_says_so_lets_a_role_out_of_its_bounds(host: Host, release: bool, said: str) -> None:
    psql(host)
    apply(host, release=release)
    (line,) = [line for line in sql(host).splitlines() if "REVOKE platform_hemmed" in line]
    assert f" {said} > 0" in line


FAILS = "echo 'ERROR:  role does not exist' >&2; exit 3 ;;"


def test_a_role_that_cannot_be_changed_leaves_the_files(host: Host) -> None:
    path = write(host, f"{BEGIN}\nOLD=1\n{END}\nYOURS=1\n")
    before = path.read_text(encoding="utf-8")
    psql(host, on=f"ALTER*) {FAILS}")
    sentence = refused(host, server_env(host), ca_file(host))
    assert sentence == (
        "the password of role librarian_user could not be changed: ERROR:  role does not exist ; run up again"
    )
    assert path.read_text(encoding="utf-8") == before
    assert names(host) == ["server.env"]


def test_a_commit_that_fails_puts_the_files_back(host: Host) -> None:
    path = write(host, f"{BEGIN}\nOLD=1\n{END}\nYOURS=1\n")
    path.chmod(0o640)
    before = path.read_text(encoding="utf-8")
    psql(host, on=f"COMMIT*) {FAILS}")
    assert refused(host, server_env(host), ca_file(host)).startswith(
        "the password of role librarian_user could not be changed: "
    )
    assert path.read_text(encoding="utf-8") == before
    assert mode(path) == "0640"
    # What was not there before is not there now.
    assert names(host) == ["server.env"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_cut_off_before_the_change_leaves_the_old_files(
    host: Host, number: signal.Signals
) -> None:
    path = write(host, f"{BEGIN}\nOLD=1\n{END}\n")
    before = path.read_text(encoding="utf-8")
    started = host.folder / "started"
    # The script waits for its answer by then: dash may lose a signal that comes between two commands.
    psql(host, on=f"ALTER*) sleep 0.2; touch {quoted(started)}; cat >/dev/null; exit 3 ;;")
    process = host.start("password.sh", "apply", "librarian_user")
    assert process.stdin is not None
    process.stdin.write(password_list(VERIFIER, [server_env(host)]))
    process.stdin.close()
    process.stdin = None
    wait_for(started)
    assert names(host) == ["server.env", "server.env.new"]
    os.killpg(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert path.read_text(encoding="utf-8") == before
    assert names(host) == ["server.env"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_cut_off_after_the_change_comes_to_its_end(host: Host, number: signal.Signals) -> None:
    path = write(host, f"{BEGIN}\nOLD=1\n{END}\n")
    # psql's parent is the shell that started it, whose parent is the script.
    psql(host, on=f"COMMIT*) kill -{number.value} $(ps -o ppid= -p $PPID) $PPID 2>/dev/null ;;")
    apply(host, server_env(host))
    assert BLOCK in path.read_text(encoding="utf-8")
    assert names(host) == ["server.env"]


def test_a_run_that_was_killed_is_finished_by_the_next(host: Host) -> None:
    path = write(host, f"{BEGIN}\nOLD=1\n{END}\n")
    host.stand_in("sync", "kill -KILL $PPID")
    process = host.run(
        "password.sh", "apply", "librarian_user", stdin=password_list(VERIFIER, [server_env(host)])
    )
    assert process.returncode == -signal.SIGKILL
    assert names(host) == ["server.env", "server.env.new"]
    (host.commands / "sync").unlink()
    psql(host)
    apply(host, server_env(host))
    assert path.read_text(encoding="utf-8") == f"{BEGIN}\n{BLOCK}{END}\n"
    assert names(host) == ["server.env"]


@pytest.mark.parametrize("action", ["apply", "check"])
@pytest.mark.parametrize("kept", [0, 1, 20, -1, -4])
def test_a_list_that_was_cut_off_is_not_followed(host: Host, action: str, kept: int) -> None:
    psql(host)
    sent = password_list(VERIFIER, [server_env(host), ca_file(host)])[: kept or None]
    sent = "" if kept == 0 else sent.rstrip("\n") if kept != -1 else sent[:-1]
    sentence = host.refused("password.sh", action, "librarian_user", stdin=sent)
    assert sentence == (
        "the password of role librarian_user could not be looked at or changed: its list was cut off on the way; run up again"
    )
    assert host.calls("docker") == []
    assert not folder(host).exists()


def test_another_word_is_refused(host: Host) -> None:
    psql(host)
    assert refused(host, action="show") == "usage: password.sh apply|check ROLE"


# --- password.sh check ---


def differences(host: Host, *files: PasswordFile) -> list[str]:
    before = listing(host.srv)
    said = host.must(
        "password.sh", "check", "librarian_user", stdin=password_list(VERIFIER, files)
    ).splitlines()
    # It looks, and changes nothing.
    assert listing(host.srv) == before
    assert not [line for line in said if "canary" in line]
    return said


@pytest.fixture
def placed(host: Host) -> Path:
    """A server.env as it should be, with lines of the application's own."""
    psql(host)
    path = write(host, f"ABOVE=1\n{BEGIN}\n{END}\nYOURS=1\n")
    apply(host, server_env(host), ca_file(host))
    return path


def test_what_is_as_it_was_made_differs_in_nothing(host: Host, placed: Path) -> None:
    assert differences(host, server_env(host), ca_file(host)) == []
    # Other lines are nobody else's business.
    placed.write_text(placed.read_text(encoding="utf-8") + "MORE=1\n", encoding="utf-8")
    assert differences(host, server_env(host), ca_file(host)) == []


def test_what_differs_is_named(host: Host, placed: Path) -> None:
    text = placed.read_text(encoding="utf-8")
    files = (server_env(host), ca_file(host))
    for edited in (
        text.replace("librarian\n", "another\n"),
        text.replace(f"{BLOCK}", ""),
        text.replace(f"{BEGIN}\n{BLOCK}{END}\n", ""),
    ):
        placed.write_text(edited, encoding="utf-8")
        assert differences(host, *files) == [f"{placed} was edited"]
    placed.write_text(text, encoding="utf-8")
    placed.chmod(0o644)
    assert differences(host, *files) == [f"{placed} has not mode 0600 and owner {ME}"]
    placed.unlink()
    (folder(host) / "platform-ca.crt").write_text("another\n", encoding="utf-8")
    assert differences(host, *files) == [
        f"{placed} is missing",
        f"{folder(host)}/platform-ca.crt was edited",
    ]


@pytest.mark.usefixtures("placed")
def test_another_owner_differs(host: Host) -> None:
    other = server_env(host, owner="12:34")
    assert differences(host, other) == [f"{folder(host)}/server.env has not mode 0600 and owner 12:34"]


@pytest.mark.usefixtures("placed")
def test_what_postgresql_says_differs_too(host: Host) -> None:
    host.stand_in("docker", "cat >/dev/null; echo role x has another password than the configured one")
    assert differences(host, server_env(host)) == ["role x has another password than the configured one"]


def test_files_are_looked_at_while_postgresql_is_down(host: Host, placed: Path) -> None:
    host.stand_in("docker", "echo 'Error: No such container: postgres-db' >&2; exit 1")
    placed.unlink()
    assert differences(host, server_env(host)) == ["postgres-db does not answer", f"{placed} is missing"]


# --- close-applications.sh ---


def closed(host: Host, action: str, *applications: str) -> str:
    return host.must("close-applications.sh", action, str(host.srv), *applications)


@pytest.fixture
def left(host: Host) -> dict[str, Path]:
    """Files of an application that is gone, of one that stays, and one that was never the platform's."""
    texts = {
        "old app/server.env": f"YOURS=1\n{BEGIN}\n{BLOCK}{END}\nYOURS=2\n",
        "old app/server.external.env": f"{BEGIN}\n{BLOCK}{END}\n",
        "librarian/server.env": f"{BEGIN}\n{BLOCK}{END}\n",
        "other/server.env": "YOURS=1\n",
    }
    paths: dict[str, Path] = {}
    for name, text in texts.items():
        path = host.srv / "apps" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        paths[name] = path
    host.stand_in("docker", "cat >/dev/null")
    return paths


def test_files_of_an_application_that_is_gone_lose_the_platform_s_lines(
    host: Host, left: dict[str, Path]
) -> None:
    stays = {name: path.read_bytes() for name, path in left.items() if "old" not in name}
    assert closed(host, "apply", "librarian/librarian_user", "trading-app/x") == ""
    old = left["old app/server.env"]
    assert old.read_text(encoding="utf-8") == "YOURS=1\nYOURS=2\n"
    assert mode(old) == "0600"
    # Nothing of it was anybody else's.
    assert [p.name for p in old.parent.iterdir()] == ["server.env"]
    assert {name: left[name].read_bytes() for name in stays} == stays
    assert closed(host, "check", "librarian/librarian_user") == ""


def test_what_is_left_of_an_application_that_is_gone_is_named(host: Host, left: dict[str, Path]) -> None:
    before = listing(host.srv)
    assert closed(host, "check", "librarian/librarian_user").splitlines() == [
        f"{left[name]} holds connections of an application that is not in the settings"
        for name in ("old app/server.env", "old app/server.external.env")
    ]
    assert listing(host.srv) == before


def test_without_applications_every_block_is_too_much(host: Host, left: dict[str, Path]) -> None:
    closed(host, "apply")
    assert not left["librarian/server.env"].exists()
    assert left["other/server.env"].read_text(encoding="utf-8") == "YOURS=1\n"


def test_a_name_that_is_the_beginning_of_another_is_another(host: Host, left: dict[str, Path]) -> None:
    closed(host, "apply", "librarian-2/x", "my-librarian/y")
    assert not left["librarian/server.env"].exists()


def test_a_block_without_an_end_is_left_and_named(host: Host, left: dict[str, Path]) -> None:
    path = left["librarian/server.env"]
    path.write_text(f"{BEGIN}\nOLD=1\nYOURS=1\n", encoding="utf-8")
    before = path.read_bytes()
    sentence = host.refused("close-applications.sh", "apply", str(host.srv))
    assert sentence.startswith(f"{path} has a line '# BEGIN central-data-platform' without its ")
    assert path.read_bytes() == before


@pytest.mark.usefixtures("left")
def test_postgresql_is_told_whose_logins_stay(host: Host) -> None:
    closed(host, "apply", "librarian/librarian_user", "trading-app/Trading-1")
    (call,) = host.calls("docker")
    assert "--set=logins= librarian_user Trading-1 " in call
    closed(host, "apply")
    (call,) = host.calls("docker")
    assert "--set=logins= " in call


def test_files_are_closed_after_the_logins_and_not_without(host: Host, left: dict[str, Path]) -> None:
    host.stand_in("docker", "cat >/dev/null; echo 'psql: error: no connection' >&2; exit 2")
    ran = host.run("close-applications.sh", "apply", str(host.srv))
    assert (ran.returncode, ran.stderr) == (2, "psql: error: no connection\n")
    assert left["librarian/server.env"].exists()
    said = closed(host, "check", "librarian/x").splitlines()
    assert said[0] == "postgres-db does not answer"
    assert len(said) == 3


def test_a_host_without_applications_has_nothing_to_close(host: Host) -> None:
    host.stand_in("docker", "cat >/dev/null")
    assert closed(host, "apply") == closed(host, "check") == ""
    assert host.refused("close-applications.sh", "list", str(host.srv)).startswith(
        "usage: close-applications.sh apply|check "
    )


# --- application.sh ---

TOLD = ["librarian", "Lib-1", "librarian_user", "librarian_owner", "librarian_ro", "librarian_rw", "15", "no"]


def test_an_application_s_names_are_quoted_by_psql(host: Host) -> None:
    host.stand_in("docker", f"cat >>{quoted(host.folder / 'sql')}; echo >>{quoted(host.folder / 'sql')}")
    awkward = ["n'1", 'd"1', "l\\1", "o;1", "r 1", "w$1", "15", "yes"]
    host.must("application.sh", "apply", *awkward, "pg_trgm", "uuid-ossp")
    text = sql(host)
    assert not [word for word in awkward[:6] if word in text]
    for call in host.calls("docker"):
        assert call[:2] == ["exec", "--interactive"]
        for name, value in zip(
            ("database", "login", "owner", "read_only", "read_write", "connections", "hemmed"),
            awkward[1:],
            strict=True,
        ):
            assert f"--set={name}={value}" in call
        assert "--set=mark=central-data-platform application n'1" in call
        assert "--set=extensions=pg_trgm uuid-ossp" in call


def test_what_is_another_s_is_refused_before_anything_is_made(host: Host) -> None:
    host.stand_in(
        "docker", "cat >/dev/null; echo 'role x belongs to \"y\"; write another name for it in applications'"
    )
    assert host.refused("application.sh", "apply", *TOLD) == (
        'application librarian cannot be made: role x belongs to "y"; write another name for it in applications'
    )
    assert len(host.calls("docker")) == 1


def test_a_postgresql_that_is_down_differs_and_holds_up_no_refresh(host: Host) -> None:
    host.stand_in("docker", "echo 'Error: No such container' >&2; exit 1")
    assert host.must("application.sh", "check", *TOLD) == "postgres-db does not answer\n"


@pytest.mark.parametrize(("has_database", "asked"), [("t", 3), ("f", 2)])
def test_a_database_is_looked_into_where_it_is(host: Host, has_database: str, asked: int) -> None:
    host.stand_in(
        "docker", f"sql=$(cat); case $sql in 'SELECT EXISTS'*) echo {has_database} ;; *) echo differs ;; esac"
    )
    said = host.must("application.sh", "check", *TOLD)
    assert said == "differs\n" * (asked - 1)
    databases = [word for call in host.calls("docker") for word in call if word.startswith("--dbname=")]
    assert databases == ["--dbname=postgres", "--dbname=postgres", "--dbname=Lib-1"][:asked]


def test_application_sh_takes_no_other_word(host: Host) -> None:
    assert host.refused("application.sh", "show", *TOLD).startswith("usage: application.sh apply|check ")


# --- redis-running.sh ---

# What the script asks of Redis: of its access list users with a state, rules and passwords, and its settings.
FAKE_REDIS = """
import json, pathlib, shlex, sys
path = sys.argv[1]
users = json.load(open(path))
settings_file = pathlib.Path(path).with_name("settings.json")
settings = json.loads(settings_file.read_text())
me = None
for line in sys.stdin:
    words = line.replace('"', '').split()
    if not words:
        continue
    if words[0] == "AUTH":
        me = "operator" if words[2] == "operator-password" else None
        print("OK" if me else "WRONGPASS invalid username-password pair or user is disabled.")
    elif not me:
        print("NOAUTH Authentication required.")
    elif words[0] == "CONFIG" and words[1] == "GET":
        print(words[2], settings[words[2]], sep="\\n")
    elif words[0] == "CONFIG":
        _, _, name, value = shlex.split(line)
        print("OK" if name in settings else "ERR Unknown option or number of arguments for CONFIG SET - '" + name + "'")
        settings[name] = value
    elif words[1] == "WHOAMI":
        print(me)
    elif words[1] == "USERS":
        print("\\n".join(users))
    elif words[1] == "LIST":
        for name, (state, rules) in users.items():
            print("user", name, state, *sorted(rules))
    elif words[1] == "DELUSER":
        print(sum(users.pop(name, None) is not None for name in words[2:]))
    elif words[1] == "SETUSER":
        state, rules = users.get(words[2], ("off", []))
        for word in words[3:]:
            if word == "reset":
                state, rules = "off", []
            elif word in ("on", "off"):
                state = word
            elif word == "+nonsense":
                print("ERR Error in ACL SETUSER modifier '+nonsense'")
                break
            elif word not in rules:
                rules = [*rules, word]
        else:
            users[words[2]] = (state, rules)
            print("OK")
json.dump(users, open(path, "w"))
settings_file.write_text(json.dumps(settings))
"""
SETTINGS = {
    "maxmemory": "268435456",
    "save": "3600 1 300 100",
    "appendonly": "yes",
    "notify-keyspace-events": "",
}
WANTED = {
    "default": ["off", "sanitize-payload", "-@all"],
    "operator": ["on", "#canary-operator", "+acl"],
    "health": ["on", "nopass", "+ping"],
    "librarian": ["on", "#canary-new", "~librarian:*", "+@read"],
}


@pytest.fixture
def redis(host: Host) -> Path:
    """A Redis that has just the users that are wanted."""
    users = host.folder / "users.json"
    program = host.folder / "fake_redis.py"
    program.write_text(FAKE_REDIS, encoding="utf-8")
    has(users, **WANTED)
    users.with_name("settings.json").write_text(json.dumps(SETTINGS | {"other": "1"}), encoding="utf-8")
    host.stand_in(
        "docker",
        f"""
case "$*" in
  *inspect*) echo true ;;
  *redis-cli) exec {sys.executable} -S {quoted(program)} {quoted(users)} ;;
esac
""",
    )
    return users


def has(users: Path, **said: Sequence[str]) -> None:
    users.write_text(
        json.dumps({name: (state, rules) for name, (state, *rules) in said.items()}), encoding="utf-8"
    )


def found(users: Path) -> dict[str, list[str]]:
    return {name: [s, *rules] for name, (s, rules) in json.loads(users.read_text(encoding="utf-8")).items()}


OPERATOR_PASSWORD = "operator-password"


def user_list(password: str = OPERATOR_PASSWORD, **more: Sequence[str]) -> str:
    users = "".join(f"user {name} {' '.join(rules)}\n" for name, rules in (WANTED | more).items())
    settings = "".join(f"config {name} {value}\n" for name, value in SETTINGS.items())
    return f"AUTH operator {password}\n{users}{settings}end\n"


def redis_differences(host: Host, stdin: str | None = None) -> list[str]:
    return host.must("redis-running.sh", "check", stdin=stdin or user_list()).splitlines()


def test_the_users_that_are_wanted_differ_in_nothing(host: Host, redis: Path) -> None:
    before = found(redis)
    assert redis_differences(host) == []
    # The user by whom rules are compared is gone again.
    assert found(redis) == before
    words = [word for call in host.calls("docker") for word in call]
    assert not [word for word in words if "canary" in word or "operator-password" in word]


LIBRARIAN = WANTED["librarian"]


@pytest.mark.parametrize(
    ("user", "rules", "difference"),
    [
        ("librarian", [*LIBRARIAN, "#canary-old"], "Redis user librarian has other rights or passwords"),
        ("librarian", [*LIBRARIAN, "+@all"], "Redis user librarian has other rights or passwords"),
        ("librarian", LIBRARIAN[:-1], "Redis user librarian has other rights or passwords"),
        ("librarian", ["off", *LIBRARIAN[1:]], "Redis user librarian is off"),
        ("librarian", None, "Redis user librarian is missing"),
        ("health", ["on", "nopass", "+@all"], "Redis user health has other rights or passwords"),
        ("default", ["on", *WANTED["default"][1:]], "Redis user default is on"),
        ("old-app", ["on", "#canary-old", "+@all"], "Redis user old-app is not of the platform"),
        # It is the beginning of one that is.
        ("lib", ["off"], "Redis user lib is not of the platform"),
    ],
)
def test_what_differs_in_redis_is_named_and_repaired(
    host: Host, redis: Path, user: str, rules: Sequence[str] | None, difference: str
) -> None:
    users: dict[str, Any] = WANTED | {user: rules}
    has(redis, **{name: said for name, said in users.items() if said is not None})
    before = found(redis)
    assert redis_differences(host) == [difference]
    assert found(redis) == before
    assert host.must("redis-running.sh", "apply", stdin=user_list()) == ""
    assert redis_differences(host) == []
    assert {name: sorted(said) for name, said in found(redis).items()} == {
        name: sorted(said) for name, said in WANTED.items()
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory", "0"),
        ("save", ""),
        ("save", "3600 1"),
        ("appendonly", "no"),
        ("notify-keyspace-events", "AK"),
    ],
)
def test_a_setting_of_the_running_redis_is_found_and_set(
    host: Host, redis: Path, name: str, value: str
) -> None:
    path = redis.with_name("settings.json")
    path.write_text(json.dumps(SETTINGS | {name: value, "other": "2"}), encoding="utf-8")
    assert redis_differences(host) == [f"Redis has {name} = {value}, not {SETTINGS[name]}"]
    assert host.must("redis-running.sh", "apply", stdin=user_list()) == ""
    # What the platform says nothing of is the operator's own.
    assert json.loads(path.read_text(encoding="utf-8")) == SETTINGS | {"other": "2"}


def test_a_setting_that_redis_does_not_know_is_a_failure(host: Host, redis: Path) -> None:
    redis.with_name("settings.json").write_text("{}", encoding="utf-8")
    assert host.refused("redis-running.sh", "apply", stdin=user_list()).startswith(
        "Redis refused a change of its users or settings: ERR Unknown option"
    )


def test_every_difference_is_named(host: Host, redis: Path) -> None:
    users = {name: rules for name, rules in WANTED.items() if name != "health"}
    has(redis, **users | {"default": ["on", "-@all"], "a": ["on"], "b": ["off"]})
    assert redis_differences(host) == [
        "Redis user default is on",
        "Redis user health is missing",
        "Redis user a is not of the platform",
        "Redis user b is not of the platform",
    ]


@pytest.mark.usefixtures("redis")
def test_a_redis_that_takes_no_password_of_the_operator_s_is_said_to(host: Host) -> None:
    wrong = user_list("wrong")
    assert redis_differences(host, wrong) == ["Redis does not take the password of its user operator"]
    assert host.refused("redis-running.sh", "apply", stdin=wrong) == (
        "Redis refused a change of its users or settings: WRONGPASS invalid username-password pair or user is disabled.; "
        "after a new saltKey, restart it with: docker restart redis-cache"
    )


@pytest.mark.parametrize("answer", ["echo false", "exit 1"])
def test_a_redis_that_does_not_run_differs_and_holds_up_no_refresh(host: Host, answer: str) -> None:
    host.stand_in("docker", answer)
    assert redis_differences(host) == ["redis-cache is not running"]


def test_a_rule_that_redis_does_not_know_is_a_failure(host: Host, redis: Path) -> None:
    before = found(redis)
    sentence = host.refused("redis-running.sh", "apply", stdin=user_list(librarian=["on", "+nonsense"]))
    assert sentence.startswith(
        "Redis refused a change of its users or settings: ERR Error in ACL SETUSER modifier"
    )
    assert found(redis) == before


@pytest.mark.parametrize("action", ["apply", "check"])
@pytest.mark.parametrize(
    "sent", ["", "AUTH operator operator-password\n", user_list()[:-5], user_list()[:-2]]
)
def test_a_list_of_users_that_was_cut_off_is_not_followed(
    host: Host, redis: Path, action: str, sent: str
) -> None:
    before = found(redis)
    assert host.refused("redis-running.sh", action, stdin=sent) == (
        "the users and settings of Redis could not be looked at or changed: their list was cut off on the way; run up again"
    )
    assert found(redis) == before
    assert host.calls("docker") == []


@pytest.mark.usefixtures("redis")
def test_redis_users_sh_takes_no_other_word(host: Host) -> None:
    assert (
        host.refused("redis-running.sh", "show", stdin=user_list()) == "usage: redis-running.sh apply|check"
    )


# --- drop-application.sh ---


@pytest.fixture
def drop(host: Host) -> Path:
    """drop-application.sh on a host that has something left of application old-app; everybody is root."""
    target = host.srv / "apps" / "drop-application.sh"
    target.write_bytes((SCRIPTS / "drop-application.sh").read_bytes())
    (host.srv / "config").mkdir()
    (host.srv / "config/platform.env").write_text(
        "REDIS_ADMIN_PASSWORD=\"canary-it's \\\"\\\\\"\nAPP_LIBRARIAN_DB_PASSWORD='x'\n", encoding="utf-8"
    )
    host.stand_in("id", "echo 0")
    answers(host)
    return target


def answers(host: Host, *, open_role: str = "", cursors: str = "0", dropped: bool = True) -> None:
    """A docker that has what is left until it is dropped, and answers a step through Redis' keys with each cursor in turn."""
    (host.folder / "cursors").write_text("\n".join(cursors.split()) + "\n", encoding="utf-8")
    gone = quoted(host.folder / "gone")
    host.stand_in(
        "docker",
        f"""
input=$(cat)
printf '%s\\n' "$input" >>{quoted(host.folder / "sql")}
case "$*" in
  *redis-cli)
    echo OK
    echo OK
    cursor=$(sed -n 1p {quoted(host.folder / "cursors")})
    [ "$(wc -l <{quoted(host.folder / "cursors")})" -eq 1 ] || sed -i 1d {quoted(host.folder / "cursors")}
    echo "$cursor"
    ;;
  *)
    case $input in
      *'DROP ROLE'*) {"touch " + gone if dropped else ":"} ;;
      *rolcanlogin*) printf '%s' {shlex.quote(open_role)} ;;
      *'SELECT rolname'*) [ -e {gone} ] || printf '%s\\n' old_owner old_user ;;
      *'SELECT datname'*datallowconn*) printf '%s\\n' postgres Tr-1 ;;
      *'SELECT datname'*) [ -e {gone} ] || echo Tr-1 ;;
    esac
    ;;
esac
""",
    )


@pytest.mark.parametrize(
    "words", [[], ["a", "b"], ["a", "--no"], ["a", "--yes", "b"], ["a", ""]], ids=" ".join
)
def test_drop_takes_a_name_and_one_word(host: Host, drop: Path, words: Sequence[str]) -> None:
    assert host.refused(drop, *words) == f"usage: {drop} NAME [--yes]"
    assert host.calls("docker") == []


@pytest.mark.parametrize("name", ["", "Old", "a_b", "a;b", "a'b", "a b", "*", "a\n", "ä"])
def test_drop_refuses_what_is_no_application_s_name(host: Host, drop: Path, name: str) -> None:
    ran = host.run(drop, name, "--yes")
    assert ran.returncode == 1
    assert ran.stderr == f"'{name}' is no application's name; write one of a-z, 0-9 and hyphens\n"
    assert host.calls("docker") == []


def test_only_root_drops(host: Host, drop: Path) -> None:
    host.stand_in("id", "echo 1000")
    assert host.refused(drop, "old-app", "--yes") == (
        f"only root may delete an application; run sudo {drop} old-app --yes"
    )
    assert host.calls("docker") == []


@pytest.mark.parametrize(("name", "open_role"), [("old-app", "old_user"), ("librarian", "")])
def test_an_application_in_the_settings_is_not_dropped(
    host: Host, drop: Path, name: str, open_role: str
) -> None:
    """Its role may log in, or platform.env has its password."""
    answers(host, open_role=open_role)
    assert host.refused(drop, name, "--yes") == (
        f"application {name} is in the settings; take it out of applications and run up first"
    )
    assert not [call for call in host.calls("docker") if "redis-cli" in call]
    assert "DROP" not in sql(host)


def test_without_a_word_it_only_says_what_it_would_delete(host: Host, drop: Path) -> None:
    ran = host.run(drop, "old-app")
    assert ran.returncode == 1
    assert ran.stdout.splitlines() == [
        "database: Tr-1",
        "roles:    old_owner old_user ",
        "Redis:    keys old-app:*",
    ]
    assert ran.stderr == (f"nothing was deleted; run {drop} old-app --yes to delete this for good\n")
    assert "DROP" not in sql(host)


def test_with_it_database_roles_and_keys_are_deleted(host: Host, drop: Path) -> None:
    answers(host, cursors="17 4 0")
    assert host.must(drop, "old-app", "--yes").splitlines()[3:] == [
        "database and roles are deleted",
        "its keys in Redis are deleted",
    ]
    calls = host.calls("docker")
    text = sql(host)
    assert text.index("DROP DATABASE") < text.index("DROP OWNED BY") < text.index("DROP ROLE")
    # In each database in which somebody may have given them something.
    assert {"--dbname=postgres", "--dbname=Tr-1"} <= {w for call in calls for w in call}
    assert all(
        "--set=mark=central-data-platform application old-app" in call for call in calls if "psql" in call
    )
    # Database 0 takes three steps, each from where the last one has come to, every other one of the sixteen one.
    steps = [line.rsplit(" ", 2)[1:] for line in text.splitlines() if line.startswith("EVAL ")]
    assert steps == [["0", "old-app:*"], ["17", "old-app:*"], ["4", "old-app:*"], *[["0", "old-app:*"]] * 15]
    selected = [line for line in text.splitlines() if line.startswith("SELECT ") and line[7:].isdigit()]
    assert list(dict.fromkeys(selected)) == [f"SELECT {n}" for n in range(16)]


def test_redis_password_is_quoted_and_no_word(host: Host, drop: Path) -> None:
    host.must(drop, "old-app", "--yes")
    assert not [word for call in host.calls("docker") for word in call if "canary" in word]
    # As redis-cli reads a word between double quotes.
    assert 'AUTH admin "canary-it\'s \\"\\\\"' in sql(host).splitlines()


def test_a_redis_that_refuses_is_said_to(host: Host, drop: Path) -> None:
    answers(host, cursors="WRONGPASS")
    assert host.refused(drop, "old-app", "--yes") == (
        f"Redis did not delete the keys old-app:*: WRONGPASS; run {drop} old-app --yes again"
    )


def test_what_could_not_be_deleted_is_a_failure(host: Host, drop: Path) -> None:
    answers(host, dropped=False)
    assert host.refused(drop, "old-app", "--yes") == (
        f"something of application old-app is left in PostgreSQL; run {drop} old-app --yes again"
    )


def test_a_postgresql_that_is_down_ends_it_at_once(host: Host, drop: Path) -> None:
    host.stand_in("docker", "echo 'Error: No such container: postgres-db' >&2; exit 1")
    ran = host.run(drop, "old-app", "--yes")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert len(host.calls("docker")) == 1
