"""The simulated machine's parts that need neither Docker nor root: records, seeds, names, and what docker and losetup are told."""

import base64
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sandbox.machine import attachments, cgroups, loop, names
from sandbox.machine.attachments import Attachment
from sandbox.machine.errors import MachineError
from sandbox.machine.machine import Machines
from sandbox.machine.seed import seed_files

FILES = Path(loop.__file__).with_name("files")
INSTANCE = "ocid1.instance.oc1.eu-frankfurt-1.aaaabbbbcccc"
OTHER = "ocid1.instance.oc1.eu-frankfurt-1.aaaaddddeeee"
DEVICE = "/dev/oracleoci/oraclevdb"

# docker: containers are files whose text is their state.
DOCKER = """\
#!/bin/sh
state=$(dirname "$0")/containers
echo "$*" >>"$(dirname "$0")/docker.log"
case $1 in
  ps) for f in "$state"/*; do [ -e "$f" ] && case "$*" in *"/${f##*/}$"*) cat "$f" ;; esac; done; : ;;
  run)
    [ ! -e "$(dirname "$0")/fail" ] || { echo "no space" >&2; exit 1; }
    while [ $# -gt 0 ]; do [ "$1" != --name ] || echo running >"$state/$2"; shift; done ;;
  start) echo running >"$state/$2" ;;
  rm) for name; do rm -f "$state/$name"; done ;;
  info) echo '[{"Name": "compose", "Path": "/bin/true"}]' ;;
  network) [ "$2" != inspect ] ;;
esac
"""
# losetup: a device is a line of a table; `busy` keeps devices in use.
LOSETUP = """\
#!/usr/bin/env python3
import json, pathlib, sys
folder = pathlib.Path(sys.argv[0]).parent
table = folder / "loops.json"
loops = json.loads(table.read_text()) if table.exists() else {}
words = sys.argv[1:]
if words[0] == "--list":
    print(json.dumps({"loopdevices": [{"back-file": f, "maj:min": n} for f, n in loops.items()]}))
elif words[0] == "--find":
    loops[words[1]] = f"7:{len(loops)}"
elif words[0] == "--detach" and not (folder / "busy").exists():
    loops = {}
table.write_text(json.dumps(loops))
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins, first on PATH."""
    folder = tmp_path / "tools"
    (folder / "containers").mkdir(parents=True)
    for name, text in {"docker": DOCKER, "losetup": LOSETUP}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    provide = folder / "provide.sh"
    provide.write_text("#!/bin/sh\necho cdp-simulated-machine:x\n", encoding="utf-8")
    provide.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CDP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("sandbox.machine.machine.PROVIDE", provide)
    monkeypatch.setattr(cgroups, "provide", lambda: None)
    monkeypatch.setattr(loop, "RELEASE_SECONDS", 0.2)
    return folder


@pytest.fixture
def machines(tools: Path, tmp_path: Path) -> Machines:  # noqa: ARG001
    return Machines(tmp_path / "a cloud", None)


def launch(machines: Machines, instance: str = INSTANCE) -> None:
    machines.launch(
        instance,
        hostname="db",
        network_id="ocid1.subnet.oc1.x.aaaabbbbdddd",
        private_ip="10.20.1.10",
        metadata={},
    )


def asked(tools: Path, verb: str) -> list[list[str]]:
    lines = (tools / "docker.log").read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line.startswith(f"{verb} ")]


# --- records, names, seeds ---


@given(st.lists(st.from_regex(r"/[A-Za-z0-9 _./-]{1,20}[A-Za-z0-9]", fullmatch=True)))
def test_a_record_is_read_as_it_was_written(files: list[str]) -> None:
    written = [Attachment(DEVICE, f"7:{n}", Path(file)) for n, file in enumerate(files)]
    assert attachments.parse(attachments.text(written)) == written


@pytest.mark.parametrize(
    "device", ["/dev/sdb", "/dev/oracleoci/../sda", "/dev/oracleoci/oraclevd", "oraclevdb"]
)
def test_a_device_that_oci_would_not_give_is_refused(device: str) -> None:
    with pytest.raises(MachineError, match="is no device path of OCI"):
        attachments.check_device(device)


def test_names_hold_the_end_of_an_id() -> None:
    assert names.machine(INSTANCE) == "cdp-machine-aaaabbbbcccc"
    with pytest.raises(MachineError, match="is no id"):
        names.machine("../../etc/passwd")


def test_metadata_becomes_a_seed() -> None:
    text = "#cloud-config\nssh_pwauth: false\n"
    seed = seed_files(
        INSTANCE,
        "db",
        {
            "ssh_authorized_keys": "ssh-ed25519 A\n\nssh-ed25519 B\n",
            "user_data": base64.b64encode(text.encode()).decode(),
        },
    )
    assert yaml.safe_load(seed["meta-data"])["public-keys"] == ["ssh-ed25519 A", "ssh-ed25519 B"]
    assert seed["user-data"].decode() == text
    with pytest.raises(MachineError, match="is no base64"):
        seed_files(INSTANCE, "db", {"user_data": "#cloud-config"})


def test_systemd_s_hierarchy_is_known_by_its_name() -> None:
    line = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,{}name=systemd"
    assert cgroups.has_systemd_hierarchy(line.format("xattr,"))
    assert not cgroups.has_systemd_hierarchy(line.replace("name=systemd", "cpu").format(""))


# --- machines ---


def test_a_launch_is_done_once_and_starts_a_stopped_machine(machines: Machines, tools: Path) -> None:
    launch(machines)
    launch(machines)
    assert len(asked(tools, "run")) == 1
    assert machines.state(INSTANCE) == "RUNNING"
    (tools / "containers" / names.machine(INSTANCE)).write_text("exited\n", encoding="utf-8")
    assert machines.state(INSTANCE) == "STOPPED"
    launch(machines)
    assert machines.state(INSTANCE) == "RUNNING"
    assert len(asked(tools, "run")) == 1


def test_a_machine_gets_its_address_and_no_published_port(machines: Machines, tools: Path) -> None:
    launch(machines)
    (words,) = asked(tools, "run")
    assert words[words.index("--ip") + 1] == "10.20.1.10"
    assert "--privileged" not in words
    assert not {"-p", "--publish"} & set(words)


def test_a_launch_that_fails_leaves_nothing(machines: Machines, tools: Path, tmp_path: Path) -> None:
    (tools / "fail").touch()
    with pytest.raises(MachineError, match="does not start: no space"):
        launch(machines)
    assert not list((tmp_path / "a cloud/machines").iterdir())
    assert machines.state(INSTANCE) is None


def test_a_subnet_s_gateway_is_its_first_address(machines: Machines, tools: Path) -> None:
    machines.create_network("ocid1.subnet.oc1.x.aaaabbbbdddd", "10.20.1.0/24")
    (words,) = [words for words in asked(tools, "network") if words[1] == "create"]
    assert words[words.index("--gateway") + 1] == "10.20.1.1"
    assert any(word.startswith(names.LABEL) for word in words)


# --- volumes ---


def test_a_volume_is_sparse_and_only_grows(machines: Machines, tmp_path: Path) -> None:
    volume = tmp_path / "v.img"
    machines.create_volume(volume, 50)
    assert volume.stat().st_size == 50 * 1024**3
    assert volume.stat().st_blocks == 0
    with pytest.raises(MachineError, match="a volume can only grow"):
        machines.create_volume(volume, 49)


def test_a_volume_is_in_one_machine_and_a_device_has_one_volume(machines: Machines, tmp_path: Path) -> None:
    first, second = tmp_path / "first.img", tmp_path / "second.img"
    for volume in (first, second):
        machines.create_volume(volume, 50)
    for instance in (INSTANCE, OTHER):
        launch(machines, instance)
    machines.attach(INSTANCE, first, DEVICE)
    machines.attach(INSTANCE, first, DEVICE)
    with pytest.raises(MachineError, match="is attached to machine aaaabbbbcccc"):
        machines.attach(OTHER, first, DEVICE)
    with pytest.raises(MachineError, match=r"first\.img: detach that first"):
        machines.attach(INSTANCE, second, DEVICE)
    machines.terminate(INSTANCE)
    assert loop.number_of(first) is None
    machines.attach(OTHER, first, DEVICE)


def test_a_volume_in_use_is_detached_without_an_end_of_waiting(
    machines: Machines, tools: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "v.img"
    machines.create_volume(volume, 50)
    launch(machines)
    machines.attach(INSTANCE, volume, DEVICE)
    (tools / "busy").touch()
    machines.detach(INSTANCE, volume)
    record = tmp_path / "a cloud/machines/aaaabbbbcccc/etc/volumes"
    assert record.read_text(encoding="utf-8") == ""
    with pytest.raises(MachineError, match="detach it before it is deleted"):
        machines.delete_volume(volume)


# --- shims ---


class Shims:
    """The machine's own programs, on a root folder in place of /."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path in FILES.rglob("*"):
            if path.is_file() and "packages/" not in str(path):
                target = root / path.relative_to(FILES)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text(encoding="utf-8")
                target.write_text(
                    re.sub(r"(?<![\w}])/(etc|usr/lib/cdp-sim|var/lib)\b", rf"{root}/\1", text),
                    encoding="utf-8",
                )
                target.chmod(0o755)
        (root / "var/lib").mkdir(parents=True)

    def run(self, program: str, words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.root / program, *shlex.split(words)], capture_output=True, text=True, check=False
        )


@pytest.fixture
def shims(tmp_path: Path) -> Shims:
    return Shims(tmp_path / "root")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("usr/bin/dnf", "install -y emacs"),
        ("usr/bin/dnf", "history"),
        ("usr/bin/rpm", "--erase chrony"),
        ("usr/sbin/semanage", "port --list"),
    ],
)
def test_what_a_shim_does_not_know_is_an_error_that_says_that_it_is_one(
    shims: Shims, program: str, words: str
) -> None:
    ran = shims.run(program, words)
    assert ran.returncode != 0
    assert "(simulated machine)" in ran.stderr


def test_the_shims_keep_what_they_were_told(shims: Shims) -> None:
    assert (
        shims.run("usr/sbin/semanage", "fcontext --add --type bin_t '/srv/apps/[^/]*\\.sh'").returncode == 0
    )
    listed = shims.run("usr/sbin/semanage", "fcontext --list --locallist").stdout
    assert "/srv/apps/[^/]*\\.sh" in listed
    assert ":bin_t:" in listed
    assert "fcontext --add" in (shims.root / "var/lib/cdp-sim/calls").read_text(encoding="utf-8")


def test_json_is_what_losetup_prints(tools: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.img"
    file.touch()
    assert loop.attach(file) == loop.attach(file) == "7:0"
    assert json.loads((tools / "loops.json").read_text(encoding="utf-8")) == {str(file): "7:0"}
