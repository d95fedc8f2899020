"""The scripts that prepare an Oracle Linux machine, on one that is only played: a root folder in place of /, and a PATH that
holds nothing but what a test has put there, so that no command that changes a machine is ever the real one.

The scripts are run as the program runs them, as text for `sh -c`. In that text the absolute paths get the root folder before
them; nothing else is changed, and a script that came to name another path fails here.
"""

import functools
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from components.render import machine as texts
from components.tuning import Machine as Shape
from components.tuning import kernel_parameters

ROOT = Path(__file__).parents[2]
REDIRECTED = re.compile(r"(?<![\w/.}*])/(?=(?:etc|sys|usr/libexec)/|dev/oracleoci)")
ABSOLUTE = re.compile(
    r"(?<![\w/.}*:@-])/(?:bin|boot|dev|etc|home|lib|opt|proc|root|run|srv|sys|usr|var)/[^\s\"');]*"
)
# Programs that are the real ones: they change nothing but the files that they are given.
REAL = {
    name: shutil.which(name)
    for name in (
        *(
            "awk",
            "basename",
            "cat",
            "chmod",
            "cp",
            "cut",
            "dirname",
            "env",
            "grep",
            "head",
            "ls",
            "mktemp",
            "mkdir",
            "mv",
            "numfmt",
            "openssl",
        ),
        *(
            "printf",
            "readlink",
            "rm",
            "sed",
            "sh",
            "sha256sum",
            "sort",
            "ssh-keygen",
            "tail",
            "timeout",
            "tr",
        ),
    )
}
# Of status.sh, what there is on a machine only, or where it has the program for it.
STATUS = ROOT / "scripts/host/status.d"
MINE = re.compile(r"tls-|data-volume$|machine$|.*-checks$")
KERNEL = "6.12.0-107.59.3.3.el10uek.aarch64"
OLD_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS"
NEW_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH9sIb9x1cRmzRQdRoTgdhBxUmKd2sCYgFqXcCk3y0kq"
HAND_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEPsPnrnSCnOKGYDXBwW/OAAmmiFAZBZIRoutIQq2X0J"


def stand_in(path: Path, script: str = "") -> None:
    """A command that notes its words and then does what a test has written.

    Where `KNOWN` lists commands, one that is not among them kills the script and all that it has started.
    """
    path.write_text(
        f"""#!/bin/sh
STATE=$FOLDER/state ROOT=$FOLDER/root DEVICE=$FOLDER/root/dev/oracleoci/oraclevdb
{{ printf '%s\\0' {path.name} "$@"; printf '\\1'; }} >>"$FOLDER/calls"
case "${{KNOWN-all}}" in
  all | *"
{path.name} $*
"*) ;;
  *) kill -KILL 0 ;;
esac
{script}
""",
        encoding="utf-8",
    )
    path.chmod(0o755)


@dataclass
class Machine:
    """What a machine is to the scripts: files below `root`, and stand-ins that keep their state in files of `state`."""

    folder: Path
    # The commands of every machine; those of `own` come first.
    standard: Path
    environment: dict[str, str] = field(default_factory=dict)
    umask: int = 0o022

    def __post_init__(self) -> None:
        self.root = self.folder / "root"
        self.state = self.folder / "state"
        self.own_commands = self.folder / "bin"
        self.srv = self.folder / "it's the srv"
        self.device = self.root / "dev/oracleoci/oraclevdb"
        self.path = f"{self.own_commands}:{self.standard}"
        for path in (self.root / "etc", self.state, self.own_commands, self.device.parent):
            path.mkdir(parents=True)

    def stand_in(self, name: str, script: str = "") -> None:
        """A command of this machine alone."""
        stand_in(self.own_commands / name, script)

    def without(self, *names: str) -> None:
        """A machine that has not these commands."""
        for path in self.standard.iterdir():
            if path.name not in names and not (self.own_commands / path.name).exists():
                (self.own_commands / path.name).symlink_to(path)
        self.path = str(self.own_commands)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a script."""
        return {"PATH": self.path, "FOLDER": str(self.folder), **self.environment}

    def calls(self, *names: str) -> list[str]:
        """What was asked of stand-ins, as lines of a shell with a machine's own paths, and forgets it."""
        return [
            shlex.join(self.own(word) for word in call)
            for call in self.noted()
            if not names or call[0] in names
        ]

    def noted(self) -> list[list[str]]:
        """The words of each command that was given since the last time."""
        path = self.folder / "calls"
        noted = path.read_text(encoding="utf-8") if path.exists() else ""
        path.unlink(missing_ok=True)
        return [call.split("\0")[:-1] for call in noted.split("\1")[:-1]]

    def own(self, text: str) -> str:
        """A text with the paths that it would have on a machine."""
        plain = str(self.srv)
        in_rules = re.sub(r"[^A-Za-z0-9/_-]", r"\\\g<0>", plain).replace("\\ ", "\\s")
        for path in (plain, plain.replace(" ", "\\040"), in_rules):
            text = text.replace(path, "/srv")
        return text.replace(str(self.root), "")

    def text(self, script: str) -> str:
        path = ROOT / ("scripts/workstation" if script == "wait-for-boot.sh" else "scripts/host") / script
        return REDIRECTED.sub(f"{self.root}/", path.read_text(encoding="utf-8"))

    def run(self, script: str, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        process = subprocess.Popen(
            ["/bin/sh", "-c", self.text(script), script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.variables,
            cwd=self.folder,
            umask=self.umask,
            start_new_session=True,
        )
        out, err = process.communicate(stdin, timeout=20)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def must(self, script: str, *arguments: str, stdin: str = "") -> str:
        """Standard output of a script that must do well and say nothing on standard error."""
        ran = self.run(script, *arguments, stdin=stdin)
        assert not ran.returncode, ran.stderr
        assert ran.stderr == ""
        return self.own(ran.stdout)

    def refused(self, script: str, *arguments: str, stdin: str = "") -> str:
        """The one sentence with which a script refuses."""
        ran = self.run(script, *arguments, stdin=stdin)
        assert ran.returncode == 1, ran
        (sentence,) = ran.stderr.splitlines()
        return self.own(sentence)

    def made(self) -> dict[str, tuple[str, str]]:
        """All that there is now: text and mode of all that is on the machine, and what the stand-ins keep."""
        found: dict[str, tuple[str, str]] = {}
        for path in sorted([*self.root.rglob("*"), *self.state.iterdir()]):
            text = self.own(path.read_text(encoding="utf-8")) if path.is_file() else ""
            if not path.is_symlink():
                shown = mode(path) if path.is_relative_to(self.root) else ""
                found[str(path.relative_to(self.folder))] = (text, shown)
        return found


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


# --- the machine that the scripts expect ---

# A unit that runs is a file in the state, holding the configuration that it was started with.
SYSTEMCTL = """
case $1 in --quiet) shift ;; esac
verb=$1
shift
[ "${1:-}" != --now ] || { shift; verb=enable-now; }
configuration() {
  case $1 in
    docker.service) cat "$ROOT/etc/docker/daemon.json" ;;
    chronyd.service) cat "$ROOT/etc/chrony.conf" ;;
  esac
}
case $verb in
  is-active) [ -e "$STATE/active-$1" ] ;;
  is-enabled) [ -e "$STATE/enabled-$1" ] ;;
  enable) : >"$STATE/enabled-$1" ;;
  enable-now)
    : >"$STATE/enabled-$1"
    [ -e "$STATE/active-$1" ] || configuration "$1" >"$STATE/active-$1"
    ;;
  start) [ -e "$STATE/active-$1" ] || configuration "$1" >"$STATE/active-$1" ;;
  restart) configuration "$1" >"$STATE/active-$1" ;;
  stop) rm -f "$STATE/active-$1" ;;
  show) echo "ExecStart={ path=/usr/bin/dockerd ; argv[]=/usr/bin/dockerd -H fd:// }" ;;
esac
"""

STAND_INS = {
    "systemctl": SYSTEMCTL,
    "sleep": "",
    "sync": "",
    "chown": "",
    "restorecon": "",
    "oci-growfs": "",
    # --- disks ---
    "dd": "",
    "stat": 'case " $* " in *"%f $DEVICE "*) echo 61b0 ;; *) exit 1 ;; esac',
    "mountpoint": '[ -e "$STATE/mounted" ]',
    "findmnt": """
case " $* " in
  *' UUID '*) cat "$STATE/mounted" ;;
  *' SOURCE / '*) echo /dev/mapper/ocivolume-root ;;
  *' SOURCE '*) echo "$DEVICE" ;;
  *' FSTYPE '*) echo xfs ;;
esac""",
    "blkid": """
[ -s "$STATE/volume" ] || exit 2
read -r type uuid <"$STATE/volume"
case " $* " in
  *' value '*) echo "$uuid" ;;
  *) printf '%s\\n' "UUID=$uuid" "TYPE=$type" ;;
esac""",
    "mkfs.xfs": 'echo "xfs 11-22" >"$STATE/volume"',
    "xfs_db": "echo inprogress = 0",
    "xfs_growfs": "",
    "mount": 'read -r _ uuid <"$STATE/volume"; echo "$uuid" >"$STATE/mounted"',
    "umount": 'rm "$STATE/mounted"',
    "df": 'echo Filesystem Size; echo / "$([ -e "$STATE/grown" ] && echo 96G || echo 46G)"',
    "lsblk": "echo lvm",
    "lvs": "echo '  ocivolume'",
    "pvs": "echo '  /dev/sda3'",
    "vgs": 'echo "  $([ -e "$STATE/grown" ] && echo 0 || echo 12800)"',
    "pvresize": "",
    "lvextend": ': >"$STATE/grown"',
    # --- packages: each is a file, with and without its version ---
    "uname": f"echo {KERNEL}",
    "rpm": """
shift
if [ "$1" = --queryformat ]; then
  [ -e "$STATE/rpm-$3" ] || exit 1
  printf '%s-3:%s-1.el10.*\\n' "$3" "$(cat "$STATE/rpm-$3")"
  exit
fi
for name; do [ -e "$STATE/rpm-$name" ] || exit 1; done""",
    "dnf": """
locks=$ROOT/etc/dnf/plugins/versionlock.list
while :; do case $1 in -*) shift ;; *) break ;; esac; done
case "$1 ${2:-}" in
  "install "*)
    shift
    for name; do
      case $name in *-99.*) echo "No match for argument: $name" >&2; exit 1 ;; esac
    done
    for name; do
      plain=${name%-[0-9]*.[0-9]*.[0-9]*}
      version=${name#"$plain"}
      for old in "$STATE/rpm-$plain"-[0-9]*.[0-9]*.[0-9]*; do rm -f "$old"; done
      echo "${version#-}" >"$STATE/rpm-$plain"
      : >"$STATE/rpm-$name$([ "$name" = "$plain" ] && echo -0.0.0)"
      [ -s "$STATE/rpm-$plain" ] || echo 0 >"$STATE/rpm-$plain"
    done ;;
  "config-manager "*) mkdir -p "$ROOT/etc/yum.repos.d"; echo '[docker-ce-stable]' >"$ROOT/etc/yum.repos.d/docker-ce.repo" ;;
  "versionlock add") mkdir -p "$ROOT/etc/dnf/plugins"; shift 2
    for name; do printf '%s-3:%s-1.el10.*\\n' "$name" "$(cat "$STATE/rpm-$name")"; done >>"$locks" ;;
  "versionlock delete") grep -v "^$3-[0-9]" "$locks" >"$locks.x"; cat "$locks.x" >"$locks"; rm "$locks.x" ;;
  "list "*) printf '%s\\n' Available "x.aarch64 3:28.5.2-1.el10 stable" "x.aarch64 3:28.5.1-1.el10 stable" ;;
esac""",
    "sysctl": "",
    "modprobe": '[ "$2" != ip6table_nat ]',
    # --- Docker ---
    "dockerd": 'case $1 in --help) echo "  --validate  Validate" ;; *) ! grep -q nonsense "$3" ;; esac',
    "docker": """
case $1 in
  version) [ -e "$STATE/active-docker.service" ] ;;
  info) echo true ;;
  ps) printf '%s\\n' aaa bbb ;;
esac""",
    "id": """
case $1 in
  -nG) echo opc; [ ! -e "$STATE/group" ] || cat "$STATE/group" ;;
  -gn) echo opc ;;
  -u) echo "${FAKE_UID:-0}" ;;
esac""",
    "usermod": 'echo docker >"$STATE/group"',
    # --- SSH ---
    "getent": 'echo "opc:x:1000:1000::$ROOT/home/opc:/bin/bash"',
    "cloud-init": f"printf '%s\\n' '[' ' \"{OLD_KEY} first boot\"' ']'",
    "sshd": """
drop_in=$ROOT/etc/ssh/sshd_config.d/00-central-data-platform.conf
case $1 in
  -t) ! grep -n Nonsense "$3" >&2 ;;
  -T) grep -v '^#' "$drop_in" | tr A-Z a-z; echo port 22 ;;
esac""",
    # --- services of the machine ---
    "firewall-cmd": """
case $1 in --quiet) shift ;; esac
file=$STATE/runtime
case $1 in --permanent) file=$STATE/permanent; shift ;; esac
case $1 in --get-default-zone) echo public; exit ;; esac
case $2 in
  --list-services) grep -v / "$file" | tr '\\n' ' ' ;;
  --list-ports) grep / "$file" | tr '\\n' ' ' || : ;;
  --add-*) echo "${2#*=}" >>"$file" ;;
  --remove-*) grep -vxF "${2#*=}" "$file" >"$file.x"; cat "$file.x" >"$file"; rm "$file.x" ;;
esac""",
    "chronyd": "",
    "chronyc": "! grep -q 169.254.169.254 \"$STATE/active-chronyd.service\" || echo '^* 169.254.169.254   2   6'",
    "getenforce": "echo Enforcing",
    "semanage": """
case $2 in
  --list) [ ! -e "$STATE/rules" ] || cat "$STATE/rules" ;;
  --add) printf '%s  all files  system_u:object_r:%s:s0\\n' "$5" "$4" >>"$STATE/rules" ;;
  --modify)
    awk -v p="$5" '$1 != p' "$STATE/rules" >"$STATE/rules.x"
    mv "$STATE/rules.x" "$STATE/rules"
    printf '%s  all files  system_u:object_r:%s:s0\\n' "$5" "$4" >>"$STATE/rules"
    ;;
esac""",
}

FILES = {
    "etc/fstab": "# made by hand, about /srv\nUUID=root / xfs defaults 0 0\nUUID=gone /srv-of-old xfs defaults 0 0\n",
    "etc/chrony.conf": "pool 2.pool.ntp.org iburst\n",
    "home/opc/.ssh/authorized_keys": f"{OLD_KEY} first boot\n# a colleague\n{HAND_KEY} by hand\n",
}


def new_machine(folder: Path, standard: Path) -> Machine:
    """An Oracle Linux machine after its first boot, with everything on it that the scripts use."""
    made = Machine(folder, standard)
    for path, text in FILES.items():
        (made.root / path).parent.mkdir(parents=True, exist_ok=True)
        (made.root / path).write_text(text, encoding="utf-8")
    for path in ("etc/ssh/sshd_config.d", "etc/dnf", "etc/modules-load.d", "usr/libexec"):
        (made.root / path).mkdir(parents=True)
    # By its path it is called by its name, which a test may give another meaning.
    growfs = made.root / "usr/libexec/oci-growfs"
    growfs.write_text('#!/bin/sh\nexec oci-growfs "$@"\n', encoding="utf-8")
    growfs.chmod(0o755)
    for name in ("runtime", "permanent"):
        (made.state / name).write_text("cockpit\nssh\ndhcpv6-client\n9090/tcp\n", encoding="utf-8")
    made.srv.mkdir()
    return made


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an Oracle Linux machine, and no others."""
    folder = tmp_path_factory.mktemp("standard")
    for name, found in REAL.items():
        if found:
            (folder / name).symlink_to(found)
    for name, script in STAND_INS.items():
        stand_in(folder / name, script)
    return folder


@pytest.fixture
def machine(tmp_path: Path, standard: Path) -> Machine:
    return new_machine(tmp_path, standard)


# How each script is called, and its standard input.
CALLS: dict[str, tuple[Callable[[Machine], Sequence[str]], str]] = {
    "grow-root.sh": (lambda _: [], ""),
    "attach-data.sh": (lambda m: [str(m.device), str(m.srv)], ""),
    "authorize-key.sh": (lambda _: ["opc"], f"{NEW_KEY}\n"),
    "configure-sshd.sh": (lambda _: [], texts.sshd_drop_in()),
    "configure-firewall.sh": (lambda _: [], ""),
    "configure-network.sh": (lambda _: [], texts.sysctl_conf({"vm.swappiness": "1"})),
    "configure-time.sh": (lambda _: [], ""),
    "install-docker.sh": (lambda _: ["28.5.2", "2.40.3"], ""),
    "configure-docker.sh": (lambda _: ["opc"], texts.daemon_json()),
    "configure-shutdown.sh": (lambda _: [], texts.shutdown_unit()),
    "configure-updates.sh": (lambda _: [], texts.automatic_conf()),
    "label-tree.sh": (lambda m: [str(m.srv)], ""),
    "release-data.sh": (lambda m: [str(m.srv)], ""),
}


def call(machine: Machine, script: str) -> str:
    arguments, stdin = CALLS[script]
    return machine.must(script, *arguments(machine), stdin=stdin)


def before(machine: Machine, script: str) -> None:
    """What has to be there for a script to have something to do."""
    if script == "release-data.sh":
        (machine.state / "mounted").write_text("11-22\n", encoding="utf-8")
        for unit in ("docker.service", "docker.socket"):
            (machine.state / f"active-{unit}").touch()


def commands(machine: Machine) -> str:
    """Every command that the scripts give on a fresh machine, in their order."""
    text = ""
    for script in CALLS:
        before(machine, script)
        arguments = shlex.join(machine.own(word) for word in CALLS[script][0](machine))
        call(machine, script)
        text += "\n".join([f"# {script} {arguments}".rstrip(), *machine.calls(), "", ""])
    return text.removesuffix("\n")


# --- all of them ---


def test_the_commands_on_a_fresh_machine_are_the_golden_ones(
    machine: Machine, golden: Callable[[str, str], None]
) -> None:
    golden("machine-commands.txt", commands(machine))


@pytest.mark.parametrize("script", [*CALLS, "wait-for-boot.sh"])
def test_a_script_names_no_path_that_a_test_would_not_redirect(machine: Machine, script: str) -> None:
    code = re.sub(r"(?m)^\s*#.*$", "", machine.text(script))
    messages = re.compile(r'(?s)(?:fail|say) "[^"]*"')
    named = set(ABSOLUTE.findall(messages.sub("", code).replace(str(machine.root), "@")))
    assert named <= {"/dev/null"}


Whole = Callable[[str], tuple[Machine, Mapping[str, tuple[str, str]]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, standard: Path) -> Whole:
    """A machine on which a script has run when nothing came in its way, and what was on it then."""

    @functools.cache
    def prepared(script: str) -> tuple[Machine, Mapping[str, tuple[str, str]]]:
        machine = new_machine(tmp_path_factory.mktemp("whole"), standard)
        before(machine, script)
        call(machine, script)
        return machine, machine.made()

    return prepared


@pytest.mark.parametrize("script", CALLS)
def test_a_second_run_changes_nothing(script: str, whole: Whole) -> None:
    machine, made = whole(script)
    machine.calls()
    call(machine, script)
    assert machine.made() == made
    changes = "mkfs|mount |umount|install|restart|reload docker|stop|usermod|lvextend|--add|--remove|--modify|add-repo|versionlock add"
    assert not [line for line in machine.calls() if re.search(f"(^| )({changes})", line)]


@pytest.mark.parametrize("script", CALLS)
def test_a_script_that_is_cut_off_at_each_command_comes_to_the_same_end(
    machine: Machine, script: str, whole: Whole
) -> None:
    # Between writing and renaming is where a cut hurts.
    machine.stand_in("mv", f'exec {REAL["mv"]} "$@"')
    machine.umask = 0o077
    before(machine, script)
    arguments, stdin = CALLS[script]
    machine.environment["KNOWN"] = "\n"
    cuts = 0
    while (ran := machine.run(script, *arguments(machine), stdin=stdin)).returncode:
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        name, *words = machine.noted()[-1]
        machine.environment["KNOWN"] += "{} {}\n".format(name, " ".join(words))
        cuts += 1
        assert cuts < 50
    assert cuts >= 3
    assert machine.made() == whole(script)[1]


@pytest.mark.parametrize("script", CALLS)
def test_a_hostile_environment_changes_nothing(machine: Machine, script: str, whole: Whole) -> None:
    machine.umask = 0o000
    machine.environment = {
        "IFS": "/e",
        "CDPATH": f"{machine.folder}:/",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "de",
        "HOME": "/nowhere",
        "ENV": "/nowhere",
        "POSIXLY_CORRECT": "1",
    }
    before(machine, script)
    call(machine, script)
    assert machine.made() == whole(script)[1]


def test_a_missing_oci_growfs_is_installed_or_named(machine: Machine) -> None:
    (machine.root / "usr/libexec/oci-growfs").unlink()
    machine.stand_in("dnf", "exit 1")
    sentence = machine.refused("grow-root.sh")
    assert sentence.startswith("/usr/libexec/oci-growfs is missing and dnf could not install oci-utils")
    assert machine.calls("dnf") == ["dnf -y -q install oci-utils"]


@pytest.mark.parametrize(
    ("script", "tool", "sentence"),
    [
        ("install-docker.sh", "dnf", "this machine has no dnf; use an image of Oracle Linux 10"),
        ("install-docker.sh", "rpm", "this machine has no rpm; use an image of Oracle Linux 10"),
        ("configure-docker.sh", "dockerd", "Docker is not installed on this machine; run install-docker.sh first"),
        ("configure-time.sh", "/etc/chrony.conf", "/etc/chrony.conf is missing; put it back"),
        ("configure-sshd.sh", "/etc/ssh/sshd_config.d", "/etc/ssh/sshd_config.d is missing, so this sshd reads no drop-ins"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(machine: Machine, script: str, tool: str, sentence: str) -> None:
    gone = machine.root / tool.lstrip("/")
    if not tool.startswith("/"):
        machine.without(tool)
    elif gone.is_dir():
        gone.rmdir()
    else:
        gone.unlink()
    arguments, stdin = CALLS[script]
    assert machine.refused(script, *arguments(machine), stdin=stdin).startswith(sentence)


@pytest.mark.parametrize(
    ("script", "tool", "package"),
    [
        ("configure-firewall.sh", "firewall-cmd", "firewalld"),
        ("configure-time.sh", "chronyd", "chrony"),
        ("configure-updates.sh", "nothing", "dnf-automatic"),
        ("label-tree.sh", "semanage", "policycoreutils-python-utils"),
    ],
)
def test_a_missing_tool_is_installed_or_named(machine: Machine, script: str, tool: str, package: str) -> None:
    machine.without(tool, "dnf")
    machine.stand_in("dnf", 'echo "dnf: no network" >&2; exit 1')
    arguments, stdin = CALLS[script]
    ran = machine.run(script, *arguments(machine), stdin=stdin)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0] == "dnf: no network"
    assert len(ran.stderr.splitlines()) == 2
    assert machine.calls("dnf") == [f"dnf -y -q install {package}"]


# --- grow-root.sh ---


def test_a_root_that_is_grown_already_is_fine(machine: Machine) -> None:
    (machine.state / "grown").touch()
    machine.stand_in("oci-growfs", "echo NOCHANGE: partition 3 is size 96. it cannot be grown; exit 1")
    assert machine.must("grow-root.sh") == "the root file system has all of its boot volume already: 96G\n"
    assert machine.calls("lvextend") == []


def test_a_root_whose_partition_alone_has_grown_is_finished(machine: Machine) -> None:
    machine.stand_in("oci-growfs", "echo NOCHANGE; exit 1")
    assert machine.must("grow-root.sh") == "the root file system has grown from 46G to 96G\n"


def test_a_root_without_volume_group_or_xfs_needs_no_more(machine: Machine) -> None:
    machine.stand_in("findmnt", "echo overlay")
    machine.stand_in("lsblk", "echo overlay: not a block device >&2; exit 1")
    machine.must("grow-root.sh")
    assert machine.calls("lvs", "xfs_growfs") == []


def test_a_root_that_cannot_be_grown_is_named(machine: Machine) -> None:
    machine.stand_in("oci-growfs", "echo FAILED: disk is on fire; exit 1")
    ran = machine.run("grow-root.sh")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "FAILED: disk is on fire",
        "oci-growfs could not grow the root file system (the lines above say why); correct it and run up again",
    ]


# --- attach-data.sh, release-data.sh ---


def attach(machine: Machine) -> list[str]:
    return ["attach-data.sh", str(machine.device), str(machine.srv)]


def test_the_volume_is_mounted_at_each_boot_and_docker_does_not_start_without_it(machine: Machine) -> None:
    machine.must(*attach(machine))
    lines = (machine.root / "etc/fstab").read_text(encoding="utf-8").splitlines()
    where = str(machine.srv).replace(" ", "\\040")
    assert lines[:3] == FILES["etc/fstab"].splitlines()
    assert lines[3:] == [f"UUID=11-22 {where} xfs defaults,nofail,x-systemd.device-timeout=120s 0 0"]
    drop_in = machine.root / "etc/systemd/system/docker.service.d/50-data-volume.conf"
    assert drop_in.read_text(encoding="utf-8").splitlines()[1:] == [
        "[Unit]",
        f'RequiresMountsFor="{machine.srv}"',
    ]


def test_a_volume_with_data_is_mounted_as_it_is(machine: Machine) -> None:
    (machine.state / "volume").write_text("xfs 77-88\n", encoding="utf-8")
    machine.must(*attach(machine))
    assert machine.calls("mkfs.xfs") == []
    assert (machine.state / "mounted").read_text(encoding="utf-8") == "77-88\n"


def test_another_volume_takes_the_line_of_the_old_one(machine: Machine) -> None:
    machine.must(*attach(machine))
    (machine.state / "mounted").unlink()
    (machine.state / "volume").write_text("xfs 77-88\n", encoding="utf-8")
    machine.must(*attach(machine))
    fstab = (machine.root / "etc/fstab").read_text(encoding="utf-8")
    assert "11-22" not in fstab
    assert fstab.count("77-88") == 1


def test_a_file_system_that_was_never_finished_is_made_again(machine: Machine) -> None:
    (machine.state / "volume").write_text("xfs 0-0\n", encoding="utf-8")
    machine.stand_in("xfs_db", "echo inprogress = 1")
    machine.must(*attach(machine))
    assert machine.calls("mkfs.xfs") == ["mkfs.xfs -q -f /dev/oracleoci/oraclevdb"]


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo TYPE=ext4", "/dev/oracleoci/oraclevdb is no data volume of this platform but holds TYPE=ext4;"),
        ("echo PTTYPE=gpt", "/dev/oracleoci/oraclevdb is no data volume of this platform but holds PTTYPE=gpt;"),
        ("exit 8", "blkid cannot tell what /dev/oracleoci/oraclevdb holds (exit code 8);"),
    ],
)  # fmt: skip
def test_a_volume_with_anything_else_is_left_alone(machine: Machine, script: str, sentence: str) -> None:
    machine.stand_in("blkid", script)
    assert machine.refused(*attach(machine)).startswith(sentence)
    assert machine.calls("mkfs.xfs", "mount") == []
    assert (machine.root / "etc/fstab").read_text(encoding="utf-8") == FILES["etc/fstab"]


def test_a_volume_that_cannot_be_read_is_left_alone(machine: Machine) -> None:
    machine.stand_in("dd", "echo dd: Input/output error >&2; exit 1")
    ran = machine.run(*attach(machine))
    assert ran.returncode == 1
    assert "cannot be read" in ran.stderr.splitlines()[1]
    assert machine.calls("mkfs.xfs") == []


def test_a_volume_that_is_not_attached_is_waited_for_and_named(machine: Machine) -> None:
    machine.stand_in("stat", "echo 81a4")
    sentence = machine.refused(*attach(machine))
    assert sentence == (
        "there is no block device /dev/oracleoci/oraclevdb after 120 s; see in OCI's console that the data volume is attached "
        "to this instance with that device path, then run up again"
    )
    assert len(machine.calls("sleep")) == 120


def test_files_on_the_root_file_system_are_not_hidden(machine: Machine) -> None:
    (machine.srv / "precious").touch()
    assert machine.refused(*attach(machine)) == (
        "/srv holds files on the root file system, which the data volume would hide; move them away, then run up again"
    )
    assert machine.calls("mkfs.xfs", "mount") == []


@pytest.mark.parametrize("volume", ["", "xfs 77-88\n"])
def test_another_file_system_at_its_place_is_named(machine: Machine, volume: str) -> None:
    (machine.state / "mounted").write_text("99-99\n", encoding="utf-8")
    (machine.state / "volume").write_text(volume, encoding="utf-8")
    assert machine.refused(*attach(machine)).startswith("/srv has another file system mounted")
    assert machine.calls("mkfs.xfs", "mount", "systemctl") == []


def test_a_volume_that_does_not_mount_is_named(machine: Machine) -> None:
    machine.stand_in("mount", "echo mount: structure needs cleaning >&2; exit 32")
    ran = machine.run(*attach(machine))
    assert ran.returncode == 1
    assert machine.own(ran.stderr.splitlines()[1]).startswith(
        "the data volume /dev/oracleoci/oraclevdb could not be mounted at /srv (the lines above say why)"
    )


def test_a_volume_that_was_enlarged_is_grown_from_the_disk_on(machine: Machine) -> None:
    rescan = machine.root / "sys/class/block/sdb/device/rescan"
    rescan.parent.mkdir(parents=True)
    rescan.touch()
    (machine.root / "dev/sdb").touch()
    machine.device.symlink_to("../sdb")
    machine.must(*attach(machine))
    assert rescan.read_text(encoding="utf-8") == "1\n"
    assert machine.calls("xfs_growfs") == ["xfs_growfs /srv"]


def test_a_volume_that_somebody_has_mounted_is_kept_at_boot(machine: Machine) -> None:
    (machine.state / "volume").write_text("xfs 77-88\n", encoding="utf-8")
    (machine.state / "mounted").write_text("77-88\n", encoding="utf-8")
    machine.must("attach-data.sh", "mounted", str(machine.srv))
    assert "UUID=77-88" in (machine.root / "etc/fstab").read_text(encoding="utf-8")
    assert machine.calls("mkfs.xfs", "mount") == []


def test_a_tree_that_was_unpacked_needs_no_volume(machine: Machine) -> None:
    (machine.srv / "config").mkdir()
    assert machine.must("attach-data.sh", "mounted", str(machine.srv)) == (
        "/srv is a folder of the root file system: there is no volume to mount\n"
    )
    assert (machine.root / "etc/fstab").read_text(encoding="utf-8") == FILES["etc/fstab"]


def test_nothing_mounted_is_nothing_to_release(machine: Machine) -> None:
    machine.must("release-data.sh", str(machine.srv))
    assert machine.calls("docker", "umount", "systemctl") == []


def test_a_volume_is_released_before_docker_is_installed(machine: Machine) -> None:
    (machine.state / "mounted").touch()
    machine.without("docker")
    machine.must("release-data.sh", str(machine.srv))
    assert machine.calls("umount") == ["umount /srv"]


@pytest.mark.parametrize(
    ("tool", "script", "sentence"),
    [
        ("docker", "exit 1", "the Docker engine runs but does not answer"),
        ("docker", "case $1 in ps) echo aaa ;; *) exit 1 ;; esac", "not every container could be stopped"),
        ("umount", "exit 32", "/srv is still in use and stays mounted"),
    ],
)
def test_a_volume_in_use_stays_mounted_and_says_so(
    machine: Machine, tool: str, script: str, sentence: str
) -> None:
    before(machine, "release-data.sh")
    machine.stand_in(tool, script)
    assert machine.refused("release-data.sh", str(machine.srv)).startswith(sentence)
    assert (machine.state / "mounted").exists()


# --- install-docker.sh, configure-docker.sh ---


def test_docker_is_locked_at_its_version(machine: Machine) -> None:
    call(machine, "install-docker.sh")
    locks = (machine.root / "etc/dnf/plugins/versionlock.list").read_text(encoding="utf-8").splitlines()
    assert locks[0] == "docker-ce-3:28.5.2-1.el10.*"
    assert [line.rpartition("-3:")[0] for line in locks] == [
        "docker-ce",
        "docker-ce-cli",
        "containerd.io",
        "docker-compose-plugin",
    ]
    load = machine.root / "etc/modules-load.d/central-data-platform.conf"
    assert load.read_text(encoding="utf-8").split() == ["br_netfilter", "xt_addrtype", "iptable_nat"]


def test_another_version_is_let_through_the_lock(machine: Machine) -> None:
    call(machine, "install-docker.sh")
    machine.calls()
    machine.must("install-docker.sh", "28.6.0", "2.40.3")
    locks = (machine.root / "etc/dnf/plugins/versionlock.list").read_text(encoding="utf-8").splitlines()
    assert sorted(locks)[1:3] == ["docker-ce-3:28.6.0-1.el10.*", "docker-ce-cli-3:28.6.0-1.el10.*"]
    assert len(locks) == 4


def test_the_newest_stays_what_it_was_at_first(machine: Machine) -> None:
    call(machine, "install-docker.sh")
    machine.calls()
    machine.must("install-docker.sh", "newest", "newest")
    assert machine.calls("dnf") == []


def test_a_version_that_is_not_there_names_those_that_are(machine: Machine) -> None:
    ran = machine.run("install-docker.sh", "99.0.0", "2.40.3")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0].startswith("No match for argument")
    assert "there are docker-ce 28.5.1 28.5.2  and docker-compose-plugin 28.5.1 28.5.2 :" in ran.stderr
    assert ran.stderr.splitlines()[1].endswith(
        "correct central-data-platform:host.dockerVersion or composeVersion"
    )


def test_a_repository_that_does_not_answer_is_named(machine: Machine) -> None:
    dnf = STAND_INS["dnf"].replace('"list "*)', '"list "*) exit 1 ;;\n  never)')
    machine.stand_in("dnf", dnf)
    ran = machine.run("install-docker.sh", "99.0.0", "2.40.3")
    assert ran.stderr.splitlines()[-1].startswith("Docker's repository does not answer")


@pytest.mark.parametrize(
    ("kernel", "package"),
    [
        (KERNEL, f"kernel-uek-modules-extra-netfilter-{KERNEL}"),
        ("6.12.0-55.el10_0.aarch64", "kernel-modules-extra-6.12.0-55.el10_0.aarch64"),
        ("6.1.0-28-cloud-arm64", None),
    ],
)
def test_the_modules_are_those_of_the_running_kernel(
    machine: Machine, kernel: str, package: str | None
) -> None:
    machine.stand_in("uname", f"echo {kernel}")
    call(machine, "install-docker.sh")
    installed = [line for line in machine.calls("dnf") if "kernel" in line]
    expected = [f"dnf -y -q --setopt=install_weak_deps=False install {package}"] if package else []
    assert installed == expected


def test_docker_runs_with_its_text_and_for_the_user(machine: Machine) -> None:
    call(machine, "configure-docker.sh")
    assert (machine.state / "active-docker.service").read_text(encoding="utf-8") == texts.daemon_json()
    assert (machine.state / "enabled-docker.service").exists()
    assert (machine.state / "group").read_text(encoding="utf-8") == "docker\n"
    assert mode(machine.root / "etc/docker/daemon.json") == "0644"


def test_a_new_text_is_taken_while_containers_go_on(machine: Machine) -> None:
    call(machine, "configure-docker.sh")
    machine.calls()
    machine.must("configure-docker.sh", "opc", stdin='{\n  "debug": true\n}\n')
    assert [line for line in machine.calls() if re.search("reload|info|restart|start", line)] == [
        "systemctl reload docker.service",
        "docker info --format '{{.LiveRestoreEnabled}}'",
        "systemctl restart docker.service",
    ]
    assert "debug" in (machine.state / "active-docker.service").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{\n  "debug": ', "cannot write /etc/docker/daemon.json: its text was cut off on the way"),
        ('{\n  "hosts": ["tcp://0.0.0.0:2375"]\n}\n', "daemon.json names hosts"),
        ('{\n  "nonsense": true\n}\n', "dockerd refuses the new daemon.json"),
    ],
)
def test_a_bad_text_leaves_docker_as_it_is(machine: Machine, text: str, sentence: str) -> None:
    call(machine, "configure-docker.sh")
    machine.calls()
    assert machine.refused("configure-docker.sh", "opc", stdin=text).startswith(sentence)
    assert machine.calls("systemctl") == []
    assert (machine.root / "etc/docker/daemon.json").read_text(encoding="utf-8") == texts.daemon_json()


def test_a_docker_that_cannot_check_its_text_is_believed(machine: Machine) -> None:
    machine.stand_in("dockerd", 'case $1 in --help) echo "  --version" ;; *) exit 125 ;; esac')
    call(machine, "configure-docker.sh")


def test_a_docker_that_does_not_answer_is_named(machine: Machine) -> None:
    machine.stand_in("docker", "exit 1")
    assert machine.refused("configure-docker.sh", "opc", stdin=texts.daemon_json()).startswith(
        "the Docker engine gave no answer for 60 s"
    )


def test_a_docker_that_does_not_start_is_named(machine: Machine) -> None:
    machine.stand_in("systemctl", SYSTEMCTL.replace("start) [", "start) exit 1; ["))
    assert machine.refused("configure-docker.sh", "opc", stdin=texts.daemon_json()).startswith(
        "the Docker engine does not start"
    )


def test_a_docker_with_a_tcp_address_is_named(machine: Machine) -> None:
    machine.stand_in("systemctl", SYSTEMCTL.replace("-H fd://", "-H fd:// -H tcp://0.0.0.0:2375"))
    assert machine.refused("configure-docker.sh", "opc", stdin=texts.daemon_json()).startswith(
        "docker.service is started with a TCP address"
    )


# --- authorize-key.sh ---


def authorized(machine: Machine) -> list[str]:
    path = machine.root / "home/opc/.ssh/authorized_keys"
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def test_the_key_of_the_first_boot_goes_and_those_added_by_hand_stay(machine: Machine) -> None:
    call(machine, "authorize-key.sh")
    assert authorized(machine) == [f"{HAND_KEY} by hand", NEW_KEY]
    assert mode(machine.root / "home/opc/.ssh/authorized_keys") == "0600"
    assert machine.calls("chown") == ["chown opc:opc /home/opc/.ssh /home/opc/.ssh/authorized_keys.new"]


def test_a_changed_key_takes_the_place_of_the_old_one(machine: Machine) -> None:
    machine.must("authorize-key.sh", "opc", stdin=f"{OLD_KEY} with a comment\n")
    assert authorized(machine) == [f"{HAND_KEY} by hand", f"{OLD_KEY} with a comment"]
    machine.must("authorize-key.sh", "opc", stdin=f"{OLD_KEY}\n{NEW_KEY}\n")
    assert authorized(machine) == [f"{HAND_KEY} by hand", OLD_KEY, NEW_KEY]
    machine.must("authorize-key.sh", "opc", stdin=f"{NEW_KEY}\n")
    assert authorized(machine) == [f"{HAND_KEY} by hand", NEW_KEY]


def test_a_user_without_keys_gets_one(machine: Machine) -> None:
    shutil.rmtree(machine.root / "home/opc/.ssh")
    machine.without("cloud-init", "restorecon")
    call(machine, "authorize-key.sh")
    assert authorized(machine) == [NEW_KEY]
    assert mode(machine.root / "home/opc/.ssh") == "0700"


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        ("", "no public key came on standard input"),
        ("\n# nothing\n", "no public key came on standard input"),
        (f"{NEW_KEY[:40]}\n", "central-data-platform:host.sshPublicKey is not a public key"),
        (f"{NEW_KEY}\nssh-ed25519 AAAA\n", "central-data-platform:host.sshPublicKey is not a public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "central-data-platform:host.sshPublicKey is not a public key"),
    ],
)  # fmt: skip
def test_what_is_no_key_locks_nobody_out(machine: Machine, stdin: str, sentence: str) -> None:
    assert machine.refused("authorize-key.sh", "opc", stdin=stdin).startswith(sentence)
    path = machine.root / "home/opc/.ssh/authorized_keys"
    assert path.read_text(encoding="utf-8") == FILES["home/opc/.ssh/authorized_keys"]


@pytest.mark.parametrize(
    ("tool", "sentence"),
    [
        ("getent", "there is no user opc on this machine"),
        ("cloud-init", "cloud-init does not say which keys"),
    ],
)
def test_a_machine_that_does_not_say_whose_keys_are_there_is_left_alone(
    machine: Machine, tool: str, sentence: str
) -> None:
    machine.stand_in(tool, "exit 1")
    assert machine.refused("authorize-key.sh", "opc", stdin=NEW_KEY).startswith(sentence)
    assert authorized(machine)[0] == f"{OLD_KEY} first boot"


# --- configure-sshd.sh ---

DROP_IN = "etc/ssh/sshd_config.d/00-central-data-platform.conf"


def test_sshd_takes_the_drop_in(machine: Machine) -> None:
    call(machine, "configure-sshd.sh")
    assert (machine.root / DROP_IN).read_text(encoding="utf-8") == texts.sshd_drop_in()
    assert mode(machine.root / DROP_IN) == "0600"
    assert machine.calls("systemctl") == ["systemctl reload sshd.service"]


@pytest.mark.parametrize("earlier", [False, True])
def test_sshd_keeps_what_it_had_where_it_would_not_take_the_new_text(machine: Machine, earlier: bool) -> None:
    if earlier:
        call(machine, "configure-sshd.sh")
    had = machine.made()
    for text, line in (("MaxStartups 5\n", 0), ("Nonsense yes\n# end\n", 1)):
        ran = machine.run("configure-sshd.sh", stdin=text)
        assert ran.returncode == 1
        assert "the old " in ran.stderr.splitlines()[line]
    # Another file of the folder says something else, and comes first.
    machine.stand_in("sshd", "case $1 in -T) echo port 22 ;; esac")
    sentence = machine.refused("configure-sshd.sh", stdin="MaxStartups 5\n# end\n")
    assert sentence.startswith(
        "sshd does not take the new drop-in together with its other files (MaxStartups 5); the old one is back"
    )
    machine.stand_in("sshd", "case $1 in -T) echo missing privilege separation >&2; exit 1 ;; esac")
    assert machine.run("configure-sshd.sh", stdin="MaxStartups 5\n# end\n").returncode == 1
    (machine.root / f"{DROP_IN}.new").unlink(missing_ok=True)
    assert machine.made() == had


# --- firewall, time, updates, labels ---


def test_nothing_but_ssh_gets_through_the_firewall(machine: Machine) -> None:
    (machine.state / "permanent").write_text("cockpit\n", encoding="utf-8")
    call(machine, "configure-firewall.sh")
    assert (machine.state / "permanent").read_text(encoding="utf-8").split() == ["ssh"]
    assert (machine.state / "runtime").read_text(encoding="utf-8").split() == ["ssh", "dhcpv6-client"]
    assert (machine.state / "active-firewalld.service").exists()
    assert not [line for line in machine.calls("firewall-cmd") if "reload" in line]


def test_a_refusal_of_the_firewall_is_named(machine: Machine) -> None:
    machine.stand_in("firewall-cmd", STAND_INS["firewall-cmd"] + '\ncase "$*" in *remove*) exit 1 ;; esac')
    assert machine.refused("configure-firewall.sh").startswith(
        "firewalld refuses: firewall-cmd --permanent --zone=public --remove-service=cockpit;"
    )


# --- what somebody has changed since ---

KERNEL_AS_SET = (
    'case $1 in -n) sed -n "s/^$2 *= *//p" "$STATE/kernel" ;; *) cp "${2#*=}" "$STATE/kernel" ;; esac'
)


@pytest.fixture
def prepared(machine: Machine) -> Machine:
    """A machine after all that prepares one, with its bootstrap scripts."""
    machine.stand_in("sysctl", KERNEL_AS_SET)
    for script in CALLS:
        if script != "release-data.sh":
            call(machine, script)
    scripts = machine.srv / "apps/bootstrap.d"
    scripts.mkdir(parents=True)
    (scripts / "configure-firewall.sh").write_text(machine.text("configure-firewall.sh"), encoding="utf-8")
    return machine


def expected(machine: Machine) -> str:
    """What the program has machine-running.sh look for."""
    files = {
        str(machine.root / path.removeprefix("/")): CALLS[script][1] for script, path in texts.FILES.items()
    }
    return texts.machine_list(files, texts.UNITS)


def differing(machine: Machine) -> list[str]:
    return machine.must("machine-running.sh", "check", str(machine.srv), stdin=expected(machine)).splitlines()


def test_a_prepared_machine_is_as_it_was_left(prepared: Machine) -> None:
    assert differing(prepared) == []
    prepared.calls()
    # Nothing is done, and no bootstrap.sh is needed.
    prepared.must("machine-running.sh", "apply", str(prepared.srv), stdin=expected(prepared))
    assert not [line for line in prepared.calls() if re.search("(^| )(restart|reload|--add|--remove)", line)]


def _edit(machine: Machine, path: str) -> None:
    with (machine.root / path).open("a", encoding="utf-8") as file:
        file.write("PasswordAuthentication yes\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda m: _edit(m, "etc/ssh/sshd_config.d/00-central-data-platform.conf"),
            ["/etc/ssh/sshd_config.d/00-central-data-platform.conf has another text"],
        ),
        (lambda m: (m.root / "etc/docker/daemon.json").unlink(), ["/etc/docker/daemon.json is missing"]),
        (lambda m: (m.state / "active-firewalld.service").unlink(), ["firewalld.service does not run"]),
        (
            lambda m: (m.state / "enabled-dnf-automatic.timer").unlink(),
            ["dnf-automatic.timer does not start at the next boot"],
        ),
        (
            lambda m: (m.state / "kernel").write_text("net.ipv4.tcp_mtu_probing = 0\nvm.swappiness = 60\n"),
            [
                "the kernel has net.ipv4.tcp_mtu_probing = 0, not 1",
                "the kernel has vm.swappiness = 60, not 1",
            ],
        ),
        (
            lambda m: (m.state / "runtime").write_text("ssh\nhttp\n5432/tcp\n"),
            ["the firewall lets in http", "the firewall lets in port 5432/tcp"],
        ),
        (
            lambda m: (m.state / "permanent").write_text("cockpit\n"),
            [
                "the firewall does not let in ssh from the next boot on",
                "the firewall lets in cockpit from the next boot on",
            ],
        ),
    ],
    ids=["sshd", "docker", "stopped", "disabled", "kernel", "firewall", "firewall-at-boot"],
)
def test_what_was_changed_on_the_machine_is_found_and_bootstrap_puts_it_in_order(
    prepared: Machine, change: Callable[[Machine], object], said: list[str]
) -> None:
    change(prepared)
    assert differing(prepared) == said
    bootstrap = prepared.srv / "apps/bootstrap.sh"
    bootstrap.write_text(f'echo "it speaks"; : >{shlex.quote(str(prepared.state))}/ran\n', encoding="utf-8")
    out = prepared.must("machine-running.sh", "apply", str(prepared.srv), stdin=expected(prepared))
    assert out == ""
    assert (prepared.state / "ran").exists()


@pytest.mark.parametrize("action", ["apply", "check"])
def test_a_list_of_the_machine_that_was_cut_off_is_refused(prepared: Machine, action: str) -> None:
    prepared.calls()
    sentence = prepared.refused(
        "machine-running.sh", action, str(prepared.srv), stdin=expected(prepared)[: -len("end\n")]
    )
    assert sentence == (
        "the machine could not be looked at: the list of its files and units was cut off on the way; run up again"
    )
    assert prepared.calls() == []


def test_the_clock_follows_ocis_own_source(machine: Machine) -> None:
    (machine.state / "active-chronyd.service").write_text("pool x\n", encoding="utf-8")
    call(machine, "configure-time.sh")
    text = (machine.root / "etc/chrony.conf").read_text(encoding="utf-8")
    assert text.startswith(FILES["etc/chrony.conf"])
    assert text.endswith("\nserver 169.254.169.254 iburst\n")
    assert (machine.state / "active-chronyd.service").read_text(encoding="utf-8") == text


def test_an_image_that_has_ocis_time_source_keeps_its_file(machine: Machine) -> None:
    text = "server 169.254.169.254 iburst prefer\n"
    (machine.root / "etc/chrony.conf").write_text(text, encoding="utf-8")
    call(machine, "configure-time.sh")
    assert (machine.root / "etc/chrony.conf").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("configure-network.sh", "etc/sysctl.d/60-central-data-platform.conf"),
        ("configure-shutdown.sh", "etc/systemd/system/central-data-platform-containers.service"),
    ],
)
def test_a_file_that_was_cut_off_on_the_way_leaves_the_old_one(
    machine: Machine, script: str, path: str
) -> None:
    call(machine, script)
    text = CALLS[script][1]
    assert machine.refused(script, stdin=text[:40]).startswith(f"cannot write /{path}: its text was cut off")
    assert (machine.root / path).read_text(encoding="utf-8") == text


def test_updates_that_were_cut_off_on_the_way_leave_the_old_ones(machine: Machine) -> None:
    call(machine, "configure-updates.sh")
    sentence = machine.refused("configure-updates.sh", stdin=texts.automatic_conf()[:100])
    assert sentence.startswith("cannot write /etc/dnf/automatic.conf: its text was cut off on the way")
    assert (machine.root / "etc/dnf/automatic.conf").read_text(encoding="utf-8") == texts.automatic_conf()
    assert (machine.state / "active-dnf-automatic.timer").exists()


def labels(machine: Machine) -> list[tuple[str, str]]:
    lines = (machine.state / "rules").read_text(encoding="utf-8").splitlines()
    return [(line.split()[0], line.split(":")[2]) for line in lines]


def test_rules_fit_the_files_that_they_are_for(machine: Machine) -> None:
    call(machine, "label-tree.sh")
    rules = labels(machine)
    expected = {
        "data/postgres/17/base": "container_file_t",
        "config/platform.env": "container_file_t",
        "run/pgbouncer": "container_file_t",
        "backups": "container_file_t",
        "apps/status.sh": "bin_t",
        "apps/status.sh.new": "bin_t",
        "apps/bootstrap.d/grow-root.sh": "bin_t",
        "apps/backup.d": "bin_t",
        "apps/backup.d/common.sh.new": "bin_t",
        "apps/status.d/10-services.sh": "bin_t",
        "config/backup/key": "container_file_t",
        "apps/librarian/server.env": "container_file_t",
        "apps/librarian": None,
        "database": None,
    }
    for path, label in expected.items():
        found = [name for rule, name in rules if re.fullmatch(rule, f"{machine.srv}/{path}")]
        assert found == ([label] if label else []), path


def test_a_wrong_rule_is_corrected(machine: Machine) -> None:
    call(machine, "label-tree.sh")
    rules = machine.state / "rules"
    rules.write_text(rules.read_text(encoding="utf-8").replace("bin_t", "var_t"), encoding="utf-8")
    call(machine, "label-tree.sh")
    assert [name for _, name in labels(machine)].count("bin_t") == 4
    assert len(labels(machine)) == 9


@pytest.mark.parametrize("state", ["echo Disabled", "exit 1"])
def test_without_selinux_there_is_nothing_to_label(machine: Machine, state: str) -> None:
    machine.stand_in("getenforce", state)
    assert call(machine, "label-tree.sh") == "SELinux is off on this machine: nothing to label\n"
    assert machine.calls("semanage", "restorecon") == []


# --- write-files.sh: what it does on a machine only ---


def test_a_file_has_its_label_before_its_name_and_nothing_of_a_killed_write_stays(machine: Machine) -> None:
    path = machine.folder / "platform.env"
    path.with_name("platform.env.new").write_text("half of a secret", encoding="utf-8")
    path.with_name("platform.env.new").chmod(0o644)
    machine.stand_in("restorecon", 'cat "$1" >"$STATE/labelled"; [ ! -e "${1%.new}" ]')
    machine.stand_in("chown", 'ls -l "$2" >"$STATE/before"')
    machine.must("write-files.sh", "apply", stdin=f"file 0640 0:0 5 {path}\ntext\n\nend\n")
    # Not with the mode of what was left there.
    assert (machine.state / "before").read_text(encoding="utf-8").startswith("-rw-------")
    assert (machine.state / "labelled").read_text(encoding="utf-8") == "text\n"
    assert [p.name for p in machine.folder.glob("platform*")] == ["platform.env"]


# --- status.sh: what it says on a machine only ---


@pytest.fixture
def status(machine: Machine) -> Callable[[], dict[str, tuple[str, str]]]:
    """The checks that a machine adds: name, state and detail."""
    apps = machine.srv / "apps"
    apps.mkdir()
    machine.stand_in("docker", "exit 1")
    machine.stand_in("df", "echo Filesystem; echo /dev/x 100 1 1 40% /srv")
    machine.stand_in("date", "echo 2026-01-01T00:00:00Z")

    def run() -> dict[str, tuple[str, str]]:
        (apps / "status.d").mkdir(exist_ok=True)
        for name in ("status.sh", *(f"status.d/{path.name}" for path in STATUS.glob("*.sh"))):
            (apps / name).write_text(machine.text(name), encoding="utf-8")
        ran = subprocess.run(
            ["/bin/sh", str(apps / "status.sh"), "--json"],
            env=machine.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stderr == ""
        checks = json.loads(ran.stdout)["checks"]
        return {c["name"]: (c["state"], machine.own(c["detail"])) for c in checks if MINE.match(c["name"])}

    return run


def test_status_says_nothing_of_a_machine_elsewhere(status: Callable[[], dict[str, tuple[str, str]]]) -> None:
    assert status() == {}


def test_status_knows_whether_the_volume_is_mounted_and_all_runs(
    machine: Machine, status: Callable[[], dict[str, tuple[str, str]]]
) -> None:
    shutil.move(machine.srv / "apps", machine.folder / "apps")
    machine.must(*attach(machine))
    shutil.move(machine.folder / "apps", machine.srv / "apps")
    for unit in ("docker.service", "firewalld.service", "chronyd.service", "dnf-automatic.timer"):
        (machine.state / f"active-{unit}").touch()
        (machine.state / f"enabled-{unit}").touch()
    assert status() == {
        "data-volume": ("ok", "mounted at /srv, UUID 11-22"),
        "machine": ("ok", "its services run, now and after a reboot"),
    }
    (machine.state / "mounted").write_text("99-99\n", encoding="utf-8")
    (machine.state / "enabled-docker.service").unlink()
    (machine.state / "active-chronyd.service").unlink()
    found = status()
    assert found["data-volume"][0] == "fail"
    assert found["machine"] == (
        "fail",
        "not running, or not after a reboot: docker.service chronyd.service; "
        "systemctl enable --now docker.service chronyd.service",
    )


def test_status_knows_when_certificates_end(
    machine: Machine, status: Callable[[], dict[str, tuple[str, str]]]
) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    config = machine.srv / "config"
    days = {
        "postgres/tls/server.crt": 31,
        "redis/tls/server.crt": 29,
        "pgbouncer/tls/server.crt": 6,
        "tls/ca.crt": 0,
    }
    for path, left in days.items():
        (config / path).parent.mkdir(parents=True)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", os.devnull]
        made = [
            "openssl",
            "req",
            "-x509",
            *key,
            "-subj",
            "/CN=x",
            "-days",
            str(left or 1),
            "-out",
            config / path,
        ]
        subprocess.run(made, check=True, capture_output=True)
    (config / "tls/ca.crt").write_text("not a certificate", encoding="utf-8")
    found = status()
    assert {name: state for name, (state, _) in found.items()} == {
        "tls-postgres": "ok",
        "tls-redis": "warn",
        "tls-pgbouncer": "fail",
        "tls-ca": "fail",
    }
    assert found["tls-ca"][1] == "/srv/config/tls/ca.crt cannot be read as a certificate; run make up"
    assert re.fullmatch(r"valid until \w+ +\d+ [\d:]+ \d{4} GMT", found["tls-postgres"][1])
    machine.without("openssl")
    assert status() == {}


# --- wait-for-boot.sh ---


@pytest.fixture
def workstation(tmp_path: Path, standard: Path) -> Machine:
    """A workstation whose ssh gives the answers of a file one after the other, the last for ever; each pause takes 10 s."""
    made = Machine(tmp_path, standard)
    made.stand_in(
        "date",
        'read -r now <"$STATE/now"; echo "$now"; echo $((now + 10)) >"$STATE/now"',
    )
    made.stand_in(
        "ssh",
        """
read -r line <"$STATE/answers"
[ "$(grep -c . "$STATE/answers")" = 1 ] || { tail -n +2 "$STATE/answers" >"$STATE/x"; cat "$STATE/x" >"$STATE/answers"; }
echo "${line#* }" >&2
exit "${line%% *}" """,
    )
    (made.state / "now").write_text("1000\n", encoding="utf-8")
    return made


def wait(
    workstation: Machine, *answers: str, limit: str = "60", options: Sequence[str] = ()
) -> "subprocess.CompletedProcess[str]":
    (workstation.state / "answers").write_text("\n".join(answers) + "\n", encoding="utf-8")
    return workstation.run("wait-for-boot.sh", "--limit", limit, "opc@198.51.100.7", *options)


REFUSED = "255 ssh: connect to host 198.51.100.7 port 22: Connection refused"
DENIED = "255 opc@198.51.100.7: Permission denied (publickey)."
SILENT = "255 ssh: connect to host 198.51.100.7 port 22: Connection timed out"
DONE = "0 status: done"


def test_the_machine_is_waited_for(workstation: Machine) -> None:
    ran = wait(workstation, SILENT, SILENT, REFUSED, DENIED, DONE, limit="300")
    assert ran.returncode == 0
    assert [line.partition(": ")[0] for line in ran.stderr.splitlines()] == ["waiting for 198.51.100.7"] * 3


def test_ssh_is_asked_so_that_nothing_secret_goes_out(workstation: Machine) -> None:
    ran = wait(workstation, DONE, options=["-o", "IdentityFile=/a b"])
    assert (ran.returncode, ran.stderr) == (0, "")
    (line,) = workstation.calls("ssh")
    words = shlex.split(line)
    options = dict(word.split("=", 1) for word in words if "=" in word)
    assert options == {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "BatchMode": "yes",
        "PasswordAuthentication": "no",
        "GSSAPIAuthentication": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        "LogLevel": "ERROR",
        "IdentityFile": "/a b",
    }
    assert words[-2:] == ["opc@198.51.100.7", "timeout 60 cloud-init status --wait --long"]


@pytest.mark.parametrize("answer", ["2 status: done", "0 extended_status: degraded done"])
def test_errors_that_cloud_init_got_over_are_noted(workstation: Machine, answer: str) -> None:
    ran = wait(workstation, answer)
    assert ran.returncode == 0
    assert ran.stderr == (
        "198.51.100.7 is up, and cloud-init noted errors that it got over: sudo cloud-init status --long\n"
    )


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (SILENT, "198.51.100.7 gave no answer on port 22 for 60 s (ssh: connect to host 198.51.100.7 port 22: Connection timed out); "
                 "see that the instance runs, and that host.sshCidrs holds this workstation's own address"),
        (REFUSED, "198.51.100.7 refuses connections to port 22 after 60 s: the machine is there and its sshd is not; "
                  "see its console in OCI, then run up again"),
        (DENIED, "198.51.100.7 refuses the login (opc@198.51.100.7: Permission denied (publickey).): central-data-platform:host.sshPublicKey "
                 "does not belong to host.sshKeyFile, or to a key that ssh-add -l lists"),
        ("124 ....", "cloud-init is still running on 198.51.100.7 after 60 s; see what it does (sudo cloud-init status --long), then run up again"),
        ("1 status: error", "cloud-init failed on 198.51.100.7 (exit code 1); log in and see: sudo cloud-init status --long, "
                            "sudo less /var/log/cloud-init-output.log"),
        ("127 sh: cloud-init: not found", "198.51.100.7 has no cloud-init or no timeout, so it is not one of Oracle Linux's platform images: "
                                          "sh: cloud-init: not found"),
        ("255 command-line: line 0: Bad configuration option: nonsense", "ssh cannot do what it was asked: command-line: line 0: "
                                                                         "Bad configuration option: nonsense"),
    ],
)  # fmt: skip
def test_what_keeps_the_machine_is_named(workstation: Machine, answer: str, sentence: str) -> None:
    ran = wait(workstation, answer)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == sentence
    assert len(ran.stderr.splitlines()) <= 2


def test_a_refused_login_is_not_waited_for_to_the_end(workstation: Machine) -> None:
    wait(workstation, DENIED, limit="900")
    assert len(workstation.calls("ssh")) <= 12


def test_a_workstation_without_ssh_is_told(workstation: Machine) -> None:
    (workstation.own_commands / "ssh").unlink()
    assert workstation.refused("wait-for-boot.sh", "opc@198.51.100.7") == (
        "there is no ssh on this workstation; install OpenSSH's client"
    )


# --- texts ---

RENDERED: dict[str, Callable[[], str]] = {
    "daemon.json": texts.daemon_json,
    "sshd-drop-in.conf": texts.sshd_drop_in,
    "automatic.conf": texts.automatic_conf,
    "sysctl.conf": lambda: texts.sysctl_conf(
        kernel_parameters(Shape(cpus=2, memory=12 * 1024, disk_gib=100, disk="network"))
    ),
    "containers.service": texts.shutdown_unit,
    "cloud-config.yml": texts.cloud_config,
    "bootstrap.sh": lambda: texts.bootstrap_sh(
        [
            ("attach-data.sh", ["mounted", "/srv"], None),
            ("configure-docker.sh", ["opc"], texts.daemon_json()),
        ]
    ),
}


@pytest.mark.parametrize("name", RENDERED)
def test_the_text_is_the_golden_one(name: str, golden: Callable[[str, str], None]) -> None:
    golden(name, RENDERED[name]())


def test_cloud_config_is_yaml_that_prints_the_key_that_is_pinned_and_holds_no_key() -> None:
    text = texts.cloud_config()
    assert text.startswith("#cloud-config\n")
    settings = yaml.safe_load(text)
    assert settings["ssh"]["emit_keys_to_console"] is True
    assert settings["ssh_genkeytypes"] == ["ed25519"]
    assert "ssh-ed25519" not in settings["ssh_key_console_blacklist"]
    assert "AAAA" not in text
    assert "PRIVATE" not in text


def test_docker_listens_to_no_address() -> None:
    settings = json.loads(texts.daemon_json())
    assert "hosts" not in settings
    assert settings["live-restore"] is True


# --- bootstrap.sh ---


def bootstrap(machine: Machine, *steps: tuple[str, Sequence[str], str | None]) -> Path:
    apps = machine.srv / "apps"
    (apps / "bootstrap.d").mkdir(parents=True)
    for script, _, _ in steps:
        name = shlex.quote(str(machine.state / "noted"))
        body = f'{{ printf \'%s|\' {script} "$@"; cat; }} >>{name}\n[ "$1" != broken ]\n'
        (apps / "bootstrap.d" / script).write_text(body, encoding="utf-8")
    (apps / "bootstrap.sh").write_text(texts.bootstrap_sh(steps), encoding="utf-8")
    return apps / "bootstrap.sh"


def run_bootstrap(machine: Machine, path: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", os.path.relpath(path, machine.folder)],
        cwd=machine.folder,
        env={**machine.variables, "CDPATH": f"{machine.folder}:/tmp", **environment},
        capture_output=True,
        text=True,
        check=False,
        input="nothing of this is for a step",
    )


def test_bootstrap_runs_each_step_with_its_words_and_its_text(machine: Machine) -> None:
    awkward = "END\n$HOME `id` \\ 'x' \"y\"\nEND_\n"
    path = bootstrap(machine, ("first.sh", ["it's", "a b"], None), ("second.sh", ["-"], awkward))
    ran = run_bootstrap(machine, path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["== first.sh", "== second.sh", "the machine is prepared"]
    assert (machine.state / "noted").read_text(encoding="utf-8") == f"first.sh|it's|a b|second.sh|-|{awkward}"


def test_bootstrap_ends_at_the_first_step_that_fails_and_names_it(machine: Machine) -> None:
    path = bootstrap(machine, ("first.sh", ["broken"], None), ("second.sh", ["-"], ""))
    ran = run_bootstrap(machine, path)
    assert ran.returncode == 1
    assert ran.stderr == (
        "bootstrap.sh ended at first.sh (the lines above say why); correct it, then run bootstrap.sh again\n"
    )
    assert "second" not in (machine.state / "noted").read_text(encoding="utf-8")


def test_bootstrap_is_for_root(machine: Machine) -> None:
    path = bootstrap(machine, ("first.sh", ["x"], None))
    ran = run_bootstrap(machine, path, FAKE_UID="1000")
    assert ran.returncode == 1
    assert ran.stderr.startswith("only root can prepare the machine; run sudo ")
    assert not (machine.state / "noted").exists()
