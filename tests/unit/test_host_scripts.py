"""scripts/host as processes: in folders with awkward names, twice, cut off half-way, and with a docker that only notes what it is asked."""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.files import HostFile, file_list, sums_of
from components.hosts.base import shell_words
from tests.unit.scripted_host import SCRIPTS, Host, listing, mode, wait_for


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host on which nobody needs to be root: chown only notes what it is asked."""
    made = Host(tmp_path)
    made.stand_in("chown")
    return made


# --- make-tree.sh ---

TREE = {
    "config": ("0755", "0:0"),
    "config/postgres": ("0755", "0:0"),
    "config/redis": ("0755", "0:0"),
    "config/pgbouncer": ("0755", "0:0"),
    "config/backup": ("0755", "0:0"),
    "apps": ("0755", "0:0"),
    "apps/postgres-stack": ("0755", "0:0"),
    "apps/bootstrap.d": ("0755", "0:0"),
    "apps/backup.d": ("0755", "0:0"),
    "apps/status.d": ("0755", "0:0"),
    "data": ("0711", "0:0"),
    "data/postgres": ("0700", "999:999"),
    "data/redis": ("0700", "999:999"),
    "backups": ("0700", "0:0"),
    "backups/dumps": ("0700", "0:0"),
    "backups/base": ("0700", "999:999"),
    "backups/wal": ("0700", "999:999"),
    "backups/state": ("0700", "0:0"),
    "backups/drills": ("0700", "0:0"),
    "run": ("0755", "0:0"),
    "run/postgresql": ("0775", "999:999"),
    "run/pgbouncer": ("0755", "1001:1001"),
}


def assert_tree(host: Host) -> None:
    folders = {str(p.relative_to(host.srv)): mode(p) for p in host.srv.rglob("*") if p.is_dir()}
    assert folders == {path: wanted for path, (wanted, _) in TREE.items()}


def owners(host: Host) -> dict[str, str]:
    """The owner that each folder was given."""
    return {
        str(Path(path).relative_to(host.srv)).removesuffix(".new"): owner
        for owner, path in host.calls("chown")
    }


def test_the_tree_is_made_whatever_the_umask(host: Host) -> None:
    before = os.umask(0o077)
    try:
        host.must("make-tree.sh", str(host.srv), "local")
    finally:
        os.umask(before)
    assert_tree(host)
    assert owners(host) == {path: owner for path, (_, owner) in TREE.items()}
    assert (host.srv / ".central-data-platform").read_text(encoding="utf-8") == "local\n"


def test_a_second_run_touches_nothing(host: Host) -> None:
    host.must("make-tree.sh", str(host.srv), "local")
    (host.srv / "data/postgres").chmod(0o750)
    (host.srv / "data/postgres/PG_VERSION").touch()
    host.calls("chown")
    before = listing(host.srv)
    host.must("make-tree.sh", str(host.srv), "local")
    assert listing(host.srv) == before
    assert host.calls("chown") == []


def test_an_empty_folder_is_taken(host: Host) -> None:
    (host.srv / "lost+found").mkdir(parents=True)
    host.must("make-tree.sh", str(host.srv), "local")
    assert (host.srv / "data/postgres").is_dir()


def test_a_folder_with_other_things_is_left_alone_and_named(host: Host) -> None:
    host.srv.mkdir()
    (host.srv / "somebody's file").write_text("precious", encoding="utf-8")
    before = listing(host.srv)
    sentence = host.refused("make-tree.sh", str(host.srv), "local")
    assert sentence == (
        f"{host.srv} holds files that are not the platform's ({host.srv}/somebody's file ); "
        "move them, or set central-data-platform:srvRoot to an empty folder"
    )
    assert listing(host.srv) == before


def test_a_file_in_the_way_is_left_alone_and_named(host: Host) -> None:
    host.srv.write_text("precious", encoding="utf-8")
    sentence = host.refused("make-tree.sh", str(host.srv), "local")
    assert sentence == (
        f"{host.srv} is not a folder; move it away, or set central-data-platform:srvRoot to another folder"
    )
    assert host.srv.read_text(encoding="utf-8") == "precious"


def test_the_folder_of_another_stack_is_left_alone_and_named(host: Host) -> None:
    host.must("make-tree.sh", str(host.srv), "prod")
    before = listing(host.srv)
    sentence = host.refused("make-tree.sh", str(host.srv), "local")
    assert sentence == (
        f"{host.srv} belongs to stack 'prod', not to 'local'; "
        "set central-data-platform:srvRoot to a folder of this stack's own"
    )
    assert listing(host.srv) == before


@pytest.mark.parametrize("cut_off_at", range(1, len(TREE) + 1, 4))
def test_a_run_that_was_cut_off_is_finished_by_the_next(host: Host, cut_off_at: int) -> None:
    count = shlex.quote(str(host.folder / "count"))
    host.stand_in("chown", f'echo >>{count}; [ "$(wc -l <{count})" -ne {cut_off_at} ] || kill -KILL $PPID')
    assert host.run("make-tree.sh", str(host.srv), "local").returncode == -signal.SIGKILL
    host.must("make-tree.sh", str(host.srv), "local")
    assert_tree(host)
    assert owners(host) == {path: owner for path, (_, owner) in TREE.items()}


def test_a_run_that_was_cut_off_before_the_marker_is_finished_by_the_next(host: Host) -> None:
    host.srv.mkdir()
    (host.srv / ".central-data-platform.new").touch()
    host.must("make-tree.sh", str(host.srv), "local")
    assert_tree(host)


# --- write-files.sh ---


def listed(path: Path, text: str, file_mode: str = "0640", owner: str = "12:34") -> str:
    file = HostFile(path=path.name, content=text, mode=file_mode, owner=owner)
    return file_list(str(path.parent), [file], [text])


def write(host: Host, path: Path, text: str, file_mode: str = "0640", owner: str = "12:34") -> None:
    host.must("write-files.sh", "apply", stdin=listed(path, text, file_mode, owner))


AWKWARD = [
    "plain\n",
    "no line end",
    "",
    "\n",
    "\n\n",
    "back\\slash \\n $HOME `id` 'single' \"double\" % %s\n",
    "tab\tand\rreturn\n",
    "ümlaut €\n",
    "end\n",
    "end",
    "file 0644 0:0 3 /a\nabc\nend\n",
    "x" * 200_000,
]


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_a_file_is_written_exactly(host: Host, text: str) -> None:
    path = host.folder / "a 'quoted' \"file\""
    write(host, path, text)
    assert path.read_bytes() == text.encode()
    assert mode(path) == "0640"
    ((owner, _),) = host.calls("chown")
    assert owner == "12:34"


def test_a_file_is_replaced_by_a_new_one(host: Host) -> None:
    path = host.folder / "file"
    write(host, path, "old\n")
    with path.open(encoding="utf-8") as reader:
        write(host, path, "new\n", file_mode="0600")
        # Who reads it meanwhile has the old one to its end.
        assert reader.read() == "old\n"
    assert path.read_text(encoding="utf-8") == "new\n"
    assert mode(path) == "0600"


def test_nothing_is_left_beside_a_file(host: Host) -> None:
    folder = host.folder / "config"
    folder.mkdir()
    for _ in range(2):
        write(host, folder / "file", "text\n")
    assert [p.name for p in folder.iterdir()] == ["file"]


def test_a_missing_folder_is_named(host: Host) -> None:
    path = host.folder / "missing" / "file"
    sentence = host.refused("write-files.sh", "apply", stdin=listed(path, "x"))
    assert sentence == (
        f"cannot write {path}: folder {path.parent} is missing; "
        "is the data volume mounted? Bring the platform's folders back, then run up again"
    )


@pytest.mark.parametrize("kept", [0, 4, 30, -5, -1])
def test_a_sender_that_was_killed_leaves_the_old_file(host: Host, kept: int) -> None:
    folder = host.folder / "config"
    folder.mkdir()
    write(host, folder / "file", "old\n")
    whole = listed(folder / "other", "1") + listed(folder / "file", "new\n" * 10)
    sentence = host.refused("write-files.sh", "apply", stdin=whole[:kept] if kept != -1 else f"{whole}more\n")
    assert sentence == (
        "the files of the platform could not be looked at or written: their list was cut off on the way; the old ones stay, run up again"
    )
    assert listing(folder).keys() == {"file"}
    assert (folder / "file").read_text(encoding="utf-8") == "old\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_script_that_is_ended_half_way_leaves_the_old_file(host: Host, number: signal.Signals) -> None:
    folder = host.folder / "config"
    folder.mkdir()
    write(host, folder / "file", "old\n")
    sleeps = host.folder / "sleeps"
    # A signal that comes while a shell starts a program may miss the program: it is sent when that one is there.
    host.stand_in("chown", f"case $2 in */second.new) : >{shlex.quote(str(sleeps))}; exec sleep 60 ;; esac")
    process = host.start("write-files.sh", "apply")
    assert process.stdin is not None
    process.stdin.write(both_listed(folder))
    process.stdin.close()
    process.stdin = None
    wait_for(sleeps)
    assert (folder / "second.new").exists()
    os.killpg(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert listing(folder).keys() == {"file"}
    assert (folder / "file").read_text(encoding="utf-8") == "old\n"


def test_files_are_written_together_or_not_at_all(host: Host) -> None:
    folder = host.folder / "config"
    folder.mkdir()
    write(host, folder / "file", "old\n")
    host.stand_in("chown", 'case $2 in */second.new) echo "chown: no such owner" >&2; exit 1 ;; esac')
    ran = host.run("write-files.sh", "apply", stdin=both_listed(folder))
    assert (ran.returncode, ran.stderr) == (1, "chown: no such owner\n")
    assert listing(folder).keys() == {"file"}
    assert (folder / "file").read_text(encoding="utf-8") == "old\n"
    host.stand_in("chown")
    host.must("write-files.sh", "apply", stdin=both_listed(folder))
    assert {p.name: p.read_text(encoding="utf-8") for p in folder.iterdir()} == {
        "file": "new",
        "second": "2\n",
    }


def both_listed(folder: Path) -> str:
    files = [HostFile(path="file", content="new"), HostFile(path="second", content="2\n")]
    return file_list(str(folder), files, ["new", "2\n"])


def test_what_was_changed_by_hand_is_found_and_nothing_is_touched(host: Host) -> None:
    folder = host.folder / "con fig"
    folder.mkdir()
    owner = f"{os.getuid()}:{os.getgid()}"
    files = [
        HostFile(path=name, content=text, owner=owner, mode="0600")
        for name, text in {"same": "1\n", "text": "2\n", "mode": "3", "gone": "", "longer": "5"}.items()
    ]
    sent = file_list(str(folder), files, [str(file.content) for file in files])
    host.must("write-files.sh", "apply", stdin=sent)
    assert host.must("write-files.sh", "check", stdin=sent) == ""
    (folder / "text").write_text("3\n", encoding="utf-8")
    (folder / "mode").chmod(0o644)
    (folder / "gone").unlink()
    (folder / "longer").write_text("5\n", encoding="utf-8")
    before = listing(folder)
    assert host.must("write-files.sh", "check", stdin=sent).splitlines() == [
        f"{folder}/text has another text",
        f"{folder}/mode has mode and owner 0644 {owner}, not 0600 {owner}",
        f"{folder}/gone is missing",
        f"{folder}/longer has another text",
    ]
    assert listing(folder) == before


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
@settings(max_examples=25, deadline=None)
def test_any_text_is_written_and_found_again(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        owner = f"{os.getuid()}:{os.getgid()}"
        files = [HostFile(path=f"f{n}", content=text, owner=owner) for n, text in enumerate(texts)]
        sent = file_list(folder, files, texts)
        for action in ("apply", "check"):
            ran = subprocess.run(
                ["sh", str(SCRIPTS / "write-files.sh"), action],
                input=sent.encode(),
                capture_output=True,
                check=True,
            )
            assert (ran.stdout, ran.stderr) == (b"", b"")
        assert [(Path(folder) / f"f{n}").read_bytes() for n in range(len(texts))] == [
            t.encode() for t in texts
        ]


def test_a_file_is_never_readable_by_others_before_it_is_whole(host: Host) -> None:
    host.stand_in("chown", f'stat -c %a "$2" >>{shlex.quote(str(host.folder / "modes"))}')
    write(host, host.folder / "file", "secret", file_mode="0644")
    assert (host.folder / "modes").read_text(encoding="utf-8") == "600\n"


def test_a_full_disk_leaves_the_old_file(host: Host) -> None:
    folder = host.folder / "config"
    folder.mkdir()
    write(host, folder / "file", "old\n")
    host.stand_in("head", 'echo "head: write error: No space left on device" >&2; exit 1')
    ran = host.run("write-files.sh", "apply", stdin=listed(folder / "file", "new\n"))
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr
    assert listing(folder).keys() == {"file"}
    assert (folder / "file").read_text(encoding="utf-8") == "old\n"


def test_the_command_line_of_a_host_runs_the_scripts_own_text(host: Host) -> None:
    path = host.folder / "a 'quoted' \"file\" $HOME"
    environment = ["env", f"PATH={host.commands}:{os.environ['PATH']}"]
    line = shlex.join([*environment, *shell_words("write-files.sh", ["apply"])])
    subprocess.run(["sh", "-c", line], input=listed(path, "text"), text=True, check=True)
    assert path.read_text(encoding="utf-8") == "text"


# --- init-postgres.sh ---

# Does what the image's initdb does, as far as the script can see.
INITDB = """
case " $* " in
  *" initdb "*)
    for word; do case $word in *:/var/lib/postgresql/data) echo 17 >"${word%:*}/PG_VERSION" ;; esac; done ;;
esac
"""


@pytest.fixture
def tree(host: Host) -> Host:
    """A host with the data's folders, whose docker can run initdb."""
    for name in ("postgres", "redis"):
        (host.srv / "data" / name).mkdir(parents=True, mode=0o700)
    host.stand_in("docker", INITDB)
    return host


def init(host: Host, provider: str = "builtin", locale: str = "C.UTF-8") -> list[str]:
    return ["init-postgres.sh", "postgres@sha256:1", str(host.srv), provider, locale]


def test_a_cluster_is_made_without_network_rights_or_password(tree: Host) -> None:
    tree.must(*init(tree))
    (run,) = [call for call in tree.calls("docker") if call[0] == "run"]
    fresh = tree.srv / "data/.postgres.new"
    options = "run --rm --name postgres-db-init --network none --user 999:999 --cap-drop ALL --security-opt no-new-privileges:true"
    assert run[: run.index("initdb")] == [
        *options.split(),
        "--volume",
        f"{fresh}:/var/lib/postgresql/data",
        "postgres@sha256:1",
    ]
    assert run[run.index("initdb") + 1 :] == [
        "--pgdata=/var/lib/postgresql/data",
        "--username=platform_admin",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    assert tree.calls("chown") == [["999:999", str(fresh)]]
    assert (tree.srv / "data/postgres/PG_VERSION").exists()
    assert mode(tree.srv / "data/postgres") == "0700"
    assert not fresh.exists()


def test_a_cluster_may_have_an_icu_locale(tree: Host) -> None:
    tree.must(*init(tree, "icu", "de-DE"))
    (run,) = [call for call in tree.calls("docker") if call[0] == "run"]
    assert run[-2:] == ["--locale-provider=icu", "--icu-locale=de-DE"]


def test_a_cluster_that_is_there_is_kept(tree: Host) -> None:
    tree.must(*init(tree))
    tree.calls("docker")
    before = listing(tree.srv)
    tree.must(*init(tree))
    assert listing(tree.srv) == before
    assert tree.calls("docker") == []


def test_another_locale_is_refused_for_a_cluster_that_is_there(tree: Host) -> None:
    tree.must(*init(tree))
    sentence = tree.refused(*init(tree, "icu", "de-DE"))
    assert sentence == (
        f"the cluster in {tree.srv}/data/postgres was made with locale 'builtin C.UTF-8', which cannot become 'icu de-DE' in place; "
        "set central-data-platform:postgres.locale back, or dump and restore into a new cluster"
    )


def test_a_folder_that_is_not_mounted_is_no_new_cluster(tree: Host) -> None:
    (tree.srv / "data/postgres").rmdir()
    sentence = tree.refused(*init(tree))
    assert sentence == (
        f"the data directory {tree.srv}/data/postgres is missing; is the volume of {tree.srv} mounted?"
    )
    assert tree.calls("docker") == []


def test_files_without_a_cluster_are_left_alone(tree: Host) -> None:
    (tree.srv / "data/postgres/base").mkdir()
    sentence = tree.refused(*init(tree))
    assert sentence == (
        f"{tree.srv}/data/postgres holds files but no PostgreSQL cluster (PG_VERSION is missing); "
        "move them away, then run up again"
    )
    assert (tree.srv / "data/postgres/base").is_dir()
    assert tree.calls("docker") == []


def test_an_unknown_provider_is_named(tree: Host) -> None:
    assert tree.refused(*init(tree, "libc")) == "unknown locale provider 'libc'; write builtin or icu"
    assert tree.calls("docker") == []


def test_an_initdb_that_fails_leaves_nothing(tree: Host) -> None:
    tree.stand_in("docker", INITDB + 'case $1 in run) echo "initdb: bad locale" >&2; exit 1 ;; esac')
    ran = tree.run(*init(tree, "icu", "xx"))
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "initdb: bad locale",
        f"initdb failed in {tree.srv}/data/.postgres.new (the lines above say why); nothing was kept, correct it and run up again",
    ]
    assert sorted(p.name for p in (tree.srv / "data").iterdir()) == ["postgres", "redis"]
    assert not list((tree.srv / "data/postgres").iterdir())
    tree.stand_in("docker", INITDB)
    tree.must(*init(tree))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_initdb_that_is_cut_off_is_done_again(tree: Host, number: signal.Signals) -> None:
    started = tree.folder / "started"
    # Not sh: dash may lose a SIGINT that comes between two commands.
    program = f"import time; open({str(started)!r}, 'w'); time.sleep(20)"
    run = f"exec {sys.executable} -S -c {shlex.quote(program)}"
    tree.stand_in("docker", f"{INITDB}\ncase $1 in run) {run} ;; esac")
    process = tree.start(*init(tree))
    wait_for(started)
    os.killpg(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert not (tree.srv / "data/postgres/PG_VERSION").exists()
    tree.stand_in("docker", INITDB)
    tree.calls("docker")
    tree.must(*init(tree))
    # The container of the run that was cut off goes first.
    assert tree.calls("docker")[0] == ["rm", "--force", "postgres-db-init"]
    assert (tree.srv / "data/postgres/PG_VERSION").exists()
    assert sorted(p.name for p in (tree.srv / "data").iterdir()) == ["postgres", "postgres.locale", "redis"]


def test_a_signal_after_the_initdb_does_not_lose_the_data_directory(tree: Host) -> None:
    tree.stand_in("docker", f"{INITDB}\ncase $1 in run) kill -TERM $PPID ;; esac")
    assert tree.run(*init(tree)).returncode == 130
    assert (tree.srv / "data/postgres").is_dir()
    tree.stand_in("docker", INITDB)
    tree.must(*init(tree))


def test_the_cluster_comes_to_its_place_in_one_step(tree: Host) -> None:
    tree.stand_in("mv", f'case $1 in -T) kill -KILL $PPID; exit 1 ;; esac; exec {shutil.which("mv")} "$@"')
    assert tree.run(*init(tree)).returncode == -signal.SIGKILL
    assert (tree.srv / "data/postgres").is_dir()
    (tree.commands / "mv").unlink()
    tree.must(*init(tree))
    assert (tree.srv / "data/postgres/PG_VERSION").exists()


# --- remove-stray-container.sh ---


def stray(host: Host, project: str | None, folder: str) -> list[str]:
    """A docker that has the container, with these labels, or not at all."""
    host.stand_in(
        "docker",
        f"""
case "$*" in
  *inspect*) {"exit 1" if project is None else ":"} ;;
esac
case "$*" in
  *working_dir*) echo {shlex.quote(folder)} ;;
  *inspect*) echo {shlex.quote(project or "")} ;;
esac
""",
    )
    return ["remove-stray-container.sh", "postgres-db", "postgres-stack", str(host.srv), "120"]


def changes(host: Host) -> list[list[str]]:
    return [call for call in host.calls("docker") if call[0] != "container"]


def test_nothing_in_the_way_is_nothing_to_do(host: Host) -> None:
    host.must(*stray(host, None, ""))
    assert changes(host) == []


def test_a_container_of_ours_is_stopped_in_peace_and_removed(host: Host) -> None:
    host.must(*stray(host, "postgres-stack", f"{host.srv}/apps/postgres-stack"))
    assert changes(host) == [["stop", "--time", "120", "postgres-db"], ["rm", "postgres-db"]]


@pytest.mark.parametrize(
    ("project", "folder"),
    [("", ""), ("<no value>", "<no value>"), ("other", "same"), ("postgres-stack", "/elsewhere")],
)
def test_a_container_of_somebody_else_is_left_alone_and_named(host: Host, project: str, folder: str) -> None:
    ours = f"{host.srv}/apps/postgres-stack"
    sentence = host.refused(*stray(host, project, ours if folder == "same" else folder))
    assert sentence == (
        "a container named postgres-db is there that is not this platform's; rename or remove it, then run up again"
    )
    assert changes(host) == []


# --- network-room.sh ---


def stray_network(host: Host, project: str | None, containers: dict[str, str]) -> list[str]:
    """A docker that has the network with this project's label, or not at all, and on it containers by their folder."""
    folders = "".join(
        f"  *'working_dir\"}}}} {name}') echo {shlex.quote(folder)} ;;\n"
        for name, folder in containers.items()
    )
    host.stand_in(
        "docker",
        f"""
case "$*" in
  'network inspect '*IPAM*) {"exit 1" if project is None else "echo 172.28.0.0/24 172.28.0.1 172.28.0.0/25"} ;;
  *'.Labels "com.docker.compose.project"}}}} bridge0') echo {shlex.quote(project or "")} ;;
  *'.Labels "com.docker.compose.network"}}}} bridge0') echo bridge0 ;;
  'ps '*) printf '%s\\n' {" ".join(containers)} ;;
{folders}  'container inspect '*) echo postgres-stack ;;
esac
""",
    )
    return ["network-room.sh", "make", "bridge0", "postgres-stack", str(host.srv)]


def checked(words: list[str], subnet: str) -> list[str]:
    """The same network, asked for before anything goes."""
    return [words[0], "check", *words[2:], subnet, "172.28.0.1", "172.28.0.0/25"]


def removals(host: Host) -> list[str]:
    calls = [" ".join(call) for call in host.calls("docker")]
    return [call for call in calls if call.startswith(("stop", "rm", "network rm"))]


def test_no_network_in_the_way_is_nothing_to_do(host: Host) -> None:
    host.must(*stray_network(host, None, {}))
    assert removals(host) == []


def test_a_network_of_ours_goes_with_our_containers_on_it(host: Host) -> None:
    ours = f"{host.srv}/apps/postgres-stack"
    host.must(*stray_network(host, "postgres-stack", {"redis-cache": ours, "pgbouncer": ours}))
    assert removals(host) == [
        "stop --time 120 redis-cache",
        "rm redis-cache",
        "stop --time 120 pgbouncer",
        "rm pgbouncer",
        "network rm bridge0",
    ]


def test_a_foreign_network_is_named_and_left_alone(host: Host) -> None:
    sentence = host.refused(*stray_network(host, "somebody", {}))
    assert "a network named bridge0 is there that is not this platform's" in sentence
    assert removals(host) == []


def test_a_network_with_other_containers_on_it_is_left_alone_with_all_of_them(host: Host) -> None:
    on_it = {"redis-cache": f"{host.srv}/apps/postgres-stack", "librarian": "/srv/apps/librarian"}
    sentence = host.refused(*stray_network(host, "postgres-stack", on_it))
    assert "other containers are on it: librarian;" in sentence
    assert removals(host) == []


@pytest.mark.parametrize(
    ("subnet", "on_it", "said"),
    [
        ("172.28.0.0/24", {"librarian": "/srv/apps/librarian"}, ""),
        ("172.29.0.0/24", {"librarian": "/srv/apps/librarian"}, "other containers are on it: librarian;"),
        ("172.29.0.0/24", {}, ""),
    ],
    ids=["stays", "others are on it", "free"],
)
def test_others_on_a_network_that_changes_are_named_before_anything_goes(
    host: Host, subnet: str, on_it: dict[str, str], said: str
) -> None:
    words = stray_network(host, "postgres-stack", {"redis-cache": f"{host.srv}/apps/postgres-stack", **on_it})
    if said:
        assert said in host.refused(*checked(words, subnet))
    else:
        host.must(*checked(words, subnet))
    assert removals(host) == []


def test_a_network_that_is_not_there_yet_is_in_nobodys_way(host: Host) -> None:
    host.must(*checked(stray_network(host, None, {}), "172.28.0.0/24"))


# --- scripts that an operator runs from /srv/apps ---


def install(host: Host, script: str) -> Path:
    """The script where it is on a host."""
    target = host.srv / "apps" / script
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SCRIPTS / script, target)
    return target


# --- pooler.sh ---

IMAGES = """
case "$*" in
  *--images) printf '%s\\n' redis@sha256:2 postgres@sha256:1 percona/percona-pgbouncer@sha256:3 ;;
esac
"""


@pytest.fixture
def pooler(host: Host) -> Path:
    """pooler.sh on a host whose PgBouncer runs."""
    (host.srv / "apps/postgres-stack").mkdir(parents=True)
    (host.srv / "run/pgbouncer").mkdir(parents=True)
    os.mknod(host.srv / "run/pgbouncer/.s.PGSQL.6432", 0o600 | stat.S_IFSOCK)
    host.stand_in("docker", IMAGES)
    return install(host, "pooler.sh")


def said_to_console(host: Host) -> list[str]:
    return [call[call.index("--command") + 1] for call in host.calls("docker") if call[0] == "run"]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["pause"], "PAUSE"),
        (["resume"], "RESUME"),
        (["reload"], "RELOAD"),
        (["show"], "SHOW pools"),
        (["show", "prepared_statements"], "SHOW prepared_statements"),
    ],
)
def test_the_console_is_told_what_was_asked(
    host: Host, pooler: Path, words: Sequence[str], command: str
) -> None:
    host.must(pooler, *words)
    assert said_to_console(host) == [command]


def test_several_answers_of_the_console_cost_one_connection(host: Host, pooler: Path) -> None:
    host.must(pooler, "show", "version", "pools")
    (run,) = [call for call in host.calls("docker") if call[0] == "run"]
    assert run[-4:] == ["--command", "SHOW version", "--command", "SHOW pools"]


def test_the_console_is_reached_over_its_socket_without_network_or_password(host: Host, pooler: Path) -> None:
    host.must(pooler, "show")
    (run,) = [call for call in host.calls("docker") if call[0] == "run"]
    name = run[run.index("--name") + 1]
    assert run[: run.index("--entrypoint")] == [
        *f"run --rm --name {name} --network none --user 1001:1001 --cap-drop ALL --security-opt label=disable".split(),
        *["--env", "PGCONNECT_TIMEOUT=4", "--volume"],
        f"{host.srv}/run/pgbouncer:/var/run/pgbouncer",
    ]
    assert run[run.index("--entrypoint") + 1 :][:2] == ["psql", "postgres@sha256:1"]
    assert "--username=pgbouncer" in run


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["stop"],
        ["pause", "now"],
        ["show", "pools; SHUTDOWN"],
        ["show", "x'"],
        ["show", "pools", "x;"],
        ["--help"],
    ],
)
def test_the_console_is_told_nothing_else(host: Host, pooler: Path, words: Sequence[str]) -> None:
    ran = host.run(pooler, *words)
    assert ran.returncode == 2
    assert ran.stderr == (
        f"usage: {pooler} pause|resume|reload|show [pools|clients|servers|stats|databases|config]...\n"
    )
    assert host.calls("docker") == []


def test_a_pause_that_takes_too_long_is_taken_back(host: Host, pooler: Path) -> None:
    host.environment["POOLER_TIMEOUT"] = "1"
    host.stand_in("docker", IMAGES + 'case "$*" in *PAUSE) exec sleep 20 ;; esac')
    sentence = host.refused(pooler, "pause")
    assert sentence == (
        "a query was still running after 1 s, so clients were let go on; try again, or set POOLER_TIMEOUT"
    )
    calls = host.calls("docker")
    assert [call[-1] for call in calls if call[0] == "run"] == ["PAUSE", "RESUME"]
    # The client whose process was ended is still a container.
    assert [call[0] for call in calls[2:]] == ["rm", "run", "rm"]


def test_a_pooler_that_does_not_run_is_named(host: Host, pooler: Path) -> None:
    (host.srv / "run/pgbouncer/.s.PGSQL.6432").unlink()
    sentence = host.refused(pooler, "show")
    assert sentence == (
        f"PgBouncer's socket {host.srv}/run/pgbouncer/.s.PGSQL.6432 is missing; is the container running? (docker compose ps)"
    )


def test_a_stack_without_postgres_is_named(host: Host, pooler: Path) -> None:
    host.stand_in("docker", "echo redis@sha256:2")
    assert host.refused(pooler, "show") == (
        f"no PostgreSQL image in {host.srv}/apps/postgres-stack/docker-compose.yml; run pulumi up"
    )


# --- the short ones ---


def test_the_engines_architecture_comes_without_a_line_end(host: Host) -> None:
    host.stand_in("docker", "echo arm64")
    assert host.must("engine-architecture.sh") == "arm64"
    assert host.calls("docker") == [["version", "--format", "{{.Server.Arch}}"]]


def test_an_engine_that_does_not_answer_is_named(host: Host) -> None:
    host.environment["DOCKER_HOST"] = "unix:///run/x.sock"
    host.stand_in("docker", "echo Cannot connect >&2; exit 1")
    assert host.refused("engine-architecture.sh") == (
        "the Docker engine at unix:///run/x.sock does not answer: Cannot connect; "
        "start it, or correct central-data-platform:host.socket"
    )


def test_composes_hash_is_that_of_the_service(host: Host) -> None:
    host.stand_in("docker", "cat >/dev/null; echo postgres-db 123abc")
    assert host.must("compose-hash.sh", "postgres-db", stdin="name: x\n") == "123abc"
    assert host.calls("docker") == [["compose", "--file", "-", "config", "--hash", "postgres-db"]]


def test_a_compose_that_gives_no_hash_is_named(host: Host) -> None:
    host.stand_in("docker", "cat >/dev/null")
    assert host.refused("compose-hash.sh", "postgres-db", stdin="name: x\n") == (
        "docker compose gave no hash for postgres-db; is 'docker compose version' 2.20 or newer?"
    )


@pytest.mark.parametrize("answer", ["OK\nOK", "OK\n\nOK\n"])
def test_redis_took_its_access_list(host: Host, answer: str) -> None:
    host.stand_in("docker", f"cat >/dev/null; printf '%s' {shlex.quote(answer)}")
    assert host.must("reload-redis.sh", stdin="ACL SETUSER x\nend\n") == ""


def test_a_refusal_of_redis_is_shown_although_its_client_says_all_is_well(host: Host) -> None:
    host.stand_in("docker", "cat >/dev/null; echo OK; echo WRONGPASS invalid username-password pair")
    ran = host.run("reload-redis.sh", stdin="AUTH x y\nend\n")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0] == (
        "Redis refused a change of its access list: WRONGPASS invalid username-password pair"
    )


@pytest.mark.parametrize("sent", ["", "AUTH x y\n", "AUTH x y\nACL SETUSER a\nen", "AUTH x y\nend of it\n"])
def test_redis_is_told_nothing_by_a_sender_that_was_killed(host: Host, sent: str) -> None:
    host.stand_in("docker")
    assert host.refused("reload-redis.sh", stdin=sent) == (
        "Redis was not changed: its commands were cut off on the way; run up again"
    )
    assert host.calls("docker") == []


def test_redis_is_told_all_but_the_mark_of_the_end(host: Host) -> None:
    host.stand_in("docker", f"cat >{shlex.quote(str(host.folder / 'told'))}; echo OK")
    host.must("reload-redis.sh", stdin="AUTH x y\nACL SETUSER end\nend\n")
    assert (host.folder / "told").read_text(encoding="utf-8").rstrip("\n") == "AUTH x y\nACL SETUSER end"


# A PostgreSQL that has read its files a moment after it was told to.
RELOADS = """
case "$*" in
  *pg_reload_conf*) touch "$STATE/told" ;;
  *pg_conf_load_time*) if [ -e "$STATE/told" ]; then echo later; else echo earlier; fi ;;
esac
"""


@pytest.fixture
def database(host: Host) -> Host:
    host.environment["STATE"] = str(host.folder)
    host.stand_in("docker", RELOADS)
    return host


def test_postgres_reads_its_files_and_forgets_what_was_set_past_them(database: Host) -> None:
    database.must("postgres-running.sh", "apply", stdin="end\n")
    asked = [" ".join(call) for call in database.calls("docker")]
    assert [("RESET ALL" in a, "pg_reload_conf" in a) for a in asked] == [
        *([(False, False)] * 2),
        (True, True),
        (False, False),
    ]
    assert "ALTER SYSTEM RESET ALL" in asked[2]
    assert "ALTER ROLE ALL RESET ALL" in asked[2]


def test_postgres_does_not_read_what_has_a_fault(host: Host) -> None:
    host.stand_in("docker", "echo 'pg_hba.conf line 3: invalid'")
    ran = host.run("postgres-running.sh", "apply", stdin="end\n")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "PostgreSQL refuses its configuration and goes on with the old one:",
        "pg_hba.conf line 3: invalid",
    ]
    assert len(host.calls("docker")) == 1


def test_postgres_that_does_not_read_its_files_again_is_a_fault(host: Host) -> None:
    host.stand_in("docker", 'case "$*" in *format*) ;; *) echo earlier ;; esac')
    host.stand_in("sleep")
    assert host.refused("postgres-running.sh", "apply", stdin="end\n") == (
        "PostgreSQL has not read its configuration again within 10 s; see docker logs postgres-db, then run up again"
    )


@pytest.mark.parametrize("server", ["postgres", "pgbouncer"])
def test_a_server_may_have_read_files_that_somebody_has_changed(host: Host, server: str) -> None:
    (host.srv / "apps").mkdir(parents=True)
    (host.srv / "config/pgbouncer").mkdir(parents=True)
    for file in ("config/pgbouncer/pgbouncer.ini", "one", "two"):
        (host.srv / file).write_text("text\n", encoding="utf-8")
    (host.srv / "apps/pooler.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (host.srv / "apps/pooler.sh").chmod(0o755)
    host.stand_in("docker", 'case "$*" in *State.Running*) echo true ;; esac')
    files = [HostFile(path=path, content="text\n") for path in ("one", "two")]
    script, arguments = f"{server}-running.sh", [str(host.srv)] if server == "pgbouncer" else []
    sums = sums_of(str(host.srv), files, ["text\n"] * 2)
    assert host.must(script, "check", *arguments, stdin=sums) == ""
    (host.srv / "two").write_text("other\n", encoding="utf-8")
    (host.srv / "one").unlink()
    name = {"postgres": "PostgreSQL", "pgbouncer": "PgBouncer"}[server]
    assert host.must(script, "check", *arguments, stdin=sums).splitlines() == [
        f"{host.srv}/one has another text, and {name} may have read it",
        f"{host.srv}/two has another text, and {name} may have read it",
    ]


@pytest.mark.parametrize("server", ["postgres", "pgbouncer"])
@pytest.mark.parametrize("action", ["apply", "check"])
def test_a_list_of_files_that_was_cut_off_is_refused(host: Host, server: str, action: str) -> None:
    host.stand_in("docker")
    sentence = host.refused(f"{server}-running.sh", action, str(host.srv), stdin="0123  /srv/config/o")
    assert "the list of its files was cut off on the way; run up again" in sentence
    assert host.calls("docker") == []


@pytest.mark.parametrize("server", ["postgres", "pgbouncer"])
def test_a_server_that_is_down_is_the_one_difference(host: Host, server: str) -> None:
    host.stand_in("docker", "exit 1")
    container = {"postgres": "postgres-db"}.get(server, server)
    said = host.must(f"{server}-running.sh", "check", str(host.srv), stdin="end\n")
    assert said == f"{container} is not running\n"


# As PgBouncer's console answers.
CONSOLE = """\
 key | value | default | changeable
-----+-------+---------+------------
 conffile | /etc/pgbouncer/pgbouncer.ini |  | yes
 default_pool_size | {pool} | 20 | yes
 dns_max_ttl | 5 | 15 | yes
 listen_port | 6432 | 6432 | no
 query_timeout | {timeout} | 0 | yes
 unix_socket_mode | 511 | 0777 | no
 verbose | 0 |  | yes
(7 rows)
"""
INI = "; text\n[databases]\n* = host=postgres-db port=5432\n\n[pgbouncer]\nlisten_port = 6432\ndefault_pool_size = 7\n;query_timeout = 3\ndns_max_ttl = 5\n"


@pytest.mark.parametrize(
    ("pool", "timeout", "said"),
    [
        ("7", "0", []),
        ("99", "0", ["PgBouncer has default_pool_size = 99, not 7"]),
        ("7", "3", ["PgBouncer has query_timeout = 3, not its default 0"]),
    ],
)
def test_what_was_set_on_pgbouncer_s_console_is_found(
    host: Host, pool: str, timeout: str, said: list[str]
) -> None:
    (host.srv / "apps").mkdir(parents=True)
    (host.srv / "config/pgbouncer").mkdir(parents=True)
    (host.srv / "config/pgbouncer/pgbouncer.ini").write_text(INI, encoding="utf-8")
    console = CONSOLE.format(pool=pool, timeout=timeout)
    (host.srv / "apps/pooler.sh").write_text(f"#!/bin/sh\ncat <<'E'\n{console}E\n", encoding="utf-8")
    (host.srv / "apps/pooler.sh").chmod(0o755)
    host.stand_in("docker", 'case "$*" in *State.Running*) echo true ;; esac')
    out = host.must("pgbouncer-running.sh", "check", str(host.srv), stdin="end\n")
    assert out.splitlines() == said


def test_psql_stops_at_the_first_fault(host: Host) -> None:
    host.stand_in("docker", "cat")
    assert host.must("psql.sh", stdin="SELECT 1;\n") == "SELECT 1;\n"
    (call,) = host.calls("docker")
    assert call[:3] == ["exec", "--interactive", "postgres-db"]
    assert "--set=ON_ERROR_STOP=1" in call


def test_pgbouncer_reloads_by_a_signal(host: Host) -> None:
    host.stand_in("docker")
    assert host.must("pgbouncer-running.sh", "apply", str(host.srv), stdin="end\n") == ""
    assert host.calls("docker") == [["exec", "pgbouncer", "sh", "-c", "kill -HUP 1"]]


def test_every_script_has_a_test() -> None:
    tests = "".join(p.read_text(encoding="utf-8") for p in Path(__file__).parents[1].rglob("test_*.py"))
    # What others read (backup.d) is tested with them.
    programs = [p for p in SCRIPTS.rglob("*.sh") if p.read_text(encoding="utf-8").startswith("#!")]
    assert not [p.name for p in programs if f'"{p.name}"' not in tests]
