"""The simulated machine: what it asks of the Docker engine and of loop devices, and the programs that stand in for Oracle Linux's.

That a machine boots and is a machine is seen on a real engine, by tests/engine/test_production.py.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.machine import __main__ as command
from sandbox.machine import attachments, cgroups, loop, names
from sandbox.machine import machine as machines_module
from sandbox.machine.attachments import Attachment
from sandbox.machine.errors import MachineError
from sandbox.machine.machine import Machines
from sandbox.machine.seed import NO_USER_DATA, seed_files

FOLDER = Path(machines_module.__file__).parent
DEVICE = "/dev/oracleoci/oraclevdb"
INSTANCE = "ocid1.instance.oc1.eu-frankfurt-1.aaaaaaaaaone"
OTHER = "ocid1.instance.oc1.eu-frankfurt-1.aaaaaaaaatwo"
SUBNET = "ocid1.subnet.oc1.eu-frankfurt-1.aaaaaaaaanet"
MACHINE = names.machine(INSTANCE)

# --- texts ---


def test_the_record_of_attachments_is_read_as_it_was_written() -> None:
    found = [
        Attachment(DEVICE, "7:3", Path("/simulated/volumes/one.img")),
        Attachment("/dev/oracleoci/oraclevdc", "7:12", Path("/a folder/with blanks.img")),
    ]
    written = attachments.text(found)
    assert written.splitlines()[0] == f"{DEVICE} 7:3 /simulated/volumes/one.img"
    assert attachments.parse(written) == found
    assert attachments.parse(attachments.text([])) == []


@pytest.mark.parametrize("device", [DEVICE, "/dev/oracleoci/oraclevda"])
def test_a_device_of_oci_is_taken(device: str) -> None:
    attachments.check_device(device)


@pytest.mark.parametrize(
    "device",
    [
        "",
        "oraclevdb",
        "/dev/sdb",
        "/dev/oracleoci/oraclevd",
        "/dev/oracleoci/oraclevd1",
        "/dev/oracleoci/sub/oraclevdb",
        "/dev/oracleoci/../oraclevdb",
        f"{DEVICE} x",
    ],
)
def test_another_device_is_refused(device: str) -> None:
    with pytest.raises(MachineError, match=r"is no device path of OCI: use /dev/oracleoci/oraclevdb"):
        attachments.check_device(device)


def test_names_end_in_what_tells_ids_apart() -> None:
    assert names.machine(INSTANCE) == f"cdp-machine-{INSTANCE[-12:]}"
    assert names.network(SUBNET) == f"cdp-subnet-{SUBNET[-12:]}"
    assert names.short("a") == "a"
    assert names.machine(INSTANCE) != names.machine(OTHER)


@pytest.mark.parametrize("identifier", ["", "..", "-rf", "a/b", "blank blank", "ocid1.instance../../../etc"])
def test_an_id_that_cannot_be_a_name_is_refused(identifier: str) -> None:
    with pytest.raises(MachineError, match="is no id"):
        names.short(identifier)


def seed(**metadata: str) -> dict[str, bytes]:
    return seed_files(INSTANCE, "platform", metadata)


def test_an_instance_s_metadata_become_a_seed() -> None:
    user_data = "#cloud-config\nhostname: ü\n".encode()
    encoded = base64.b64encode(user_data).decode()
    files = seed(
        ssh_authorized_keys="ssh-ed25519 AAA one\n\n  ssh-ed25519 BBB two \n",
        user_data=f"{encoded[:12]}\n{encoded[12:]}\n",
    )
    assert files.keys() == {"meta-data", "user-data"}
    assert json.loads(files["meta-data"]) == {
        "instance-id": INSTANCE,
        "local-hostname": "platform",
        "public-keys": ["ssh-ed25519 AAA one", "ssh-ed25519 BBB two"],
    }
    assert files["user-data"] == user_data


def test_a_seed_without_metadata_has_no_keys_and_user_data_that_do_nothing() -> None:
    files = seed()
    assert json.loads(files["meta-data"])["public-keys"] == []
    assert files["user-data"] == NO_USER_DATA


@pytest.mark.parametrize("user_data", ["#cloud-config", "YQ", "ü" * 4])
def test_user_data_that_are_no_base64_are_refused(user_data: str) -> None:
    with pytest.raises(MachineError, match="user_data is no base64"):
        seed(user_data=user_data)


# --- what the workstation has ---

MEMORY = "31 25 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("", False),
        (MEMORY, False),
        (MEMORY + "32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,xattr,name=systemd\n", True),
        ("32 25 0:28 / /sys/fs/cgroup/x rw - cgroup none rw,name=systemd-like\n", False),
        ("32 25 0:28 / /name=systemd rw - tmpfs none rw\n", False),
        ("32 25 0:28 / /x rw - tmpfs none rw,name=systemd\n", False),
        ("32 25 0:28 / /x rw - cgroup\n", False),
    ],
)
def test_systemd_s_hierarchy_is_known_by_its_name(mounts: str, expected: bool) -> None:
    assert cgroups.has_systemd_hierarchy(mounts) is expected


# Docker's client on an engine that is a folder: containers, networks, and how it was called.
DOCKER = r"""#!/bin/sh
set -eu
echo "docker $*" >>"$FAKE/asked"
echo "${DOCKER_HOST-}" >"$FAKE/host"
refuse() { echo "Error response from daemon: $1" >&2; exit 1; }
list() { # KIND FILTER: of containers by name or label, of networks by label
  for one in "$FAKE/$1"/*; do
    [ -d "$one" ] || continue
    name=${one##*/}
    case $2 in
      "name=^/$name\$") cat "$one/state" ;;
      label=*) [ "label=$(cat "$one/label")" != "$2" ] || echo "$name" ;;
    esac
  done
}
need() { [ -d "$FAKE/$1s/$2" ] || refuse "No such $1: $2"; }
last() { for word; do :; done; echo "$word"; }
addresses() { # NAME
  sed 's/^\(.*\) \(.*\)$/"\1": {"IPAMConfig": {"IPv4Address": "\2"}}/' "$FAKE/containers/$1/networks" | paste -sd , |
    sed 's/.*/{&}/'
}
verb=$1
shift
case $verb in
  run)
    name='' label='' network='' ip=''
    while [ $# -gt 1 ]; do
      case $1 in
        --name) name=$2 ;;
        --label) label=$2 ;;
        --network) network=$2 ;;
        --ip) ip=$2 ;;
      esac
      shift
    done
    mkdir -p "$FAKE/containers/$name"
    echo created >"$FAKE/containers/$name/state"
    echo "$label" >"$FAKE/containers/$name/label"
    echo "$network $ip" >"$FAKE/containers/$name/networks"
    [ ! -e "$FAKE/refuses-run" ] || {
      echo "docker: Error response from daemon: Address already in use." >&2
      echo "See 'docker run --help'." >&2
      exit 125
    }
    echo running >"$FAKE/containers/$name/state"
    ;;
  ps)
    case $* in
      *network=*) grep -ls "^${4#network=} " "$FAKE"/containers/*/networks || : ;;
      *) list containers "$3" ;;
    esac
    ;;
  start) need container "$1"; echo running >"$FAKE/containers/$1/state" ;;
  stop) need container "$1"; echo exited >"$FAKE/containers/$1/state" ;;
  rm)
    name=$(last "$@")
    [ ! -e "$FAKE/refuses-rm" ] || refuse "device or resource busy"
    need container "$name"
    rm -r "$FAKE/containers/$name"
    ;;
  logs) need container "$1"; echo "the console" ;;
  exec) need container "$1" ;;
  info) cat "$FAKE/plugins" ;;
  inspect) addresses "$3" ;;
  network)
    verb=$1
    shift
    name=$(last "$@")
    case $verb in
      ls) list networks "$2" ;;
      inspect) need network "$name" ;;
      rm) need network "$name"; rm -r "$FAKE/networks/$name" ;;
      create)
        mkdir -p "$FAKE/networks/$name"
        while [ "$1" != --label ]; do shift; done
        echo "$2" >"$FAKE/networks/$name/label"
        ;;
      connect) need network "$3"; echo "$3 $2" >>"$FAKE/containers/$4/networks" ;;
      disconnect) sed -i "/^$2 /d" "$FAKE/containers/$3/networks" ;;
      *) refuse "not known here: network $verb" ;;
    esac
    ;;
  *) refuse "not known here: $verb" ;;
esac
"""

# Devices with numbers that no workstation has: MAJOR:MINOR FILE, a line each.
LOSETUP = r"""#!/bin/sh
set -eu
echo "losetup $*" >>"$FAKE/asked"
case $1 in
  --list)
    [ -s "$FAKE/loops" ] || exit 0
    sed 's/^\([^ ]*\) \(.*\)$/{"back-file": "\2", "maj:min": "\1 "}/' "$FAKE/loops" | paste -sd , |
      sed 's/.*/{"loopdevices": [&]}/'
    ;;
  --find)
    [ ! -e "$FAKE/no-root" ] || { echo "losetup: cannot find an unused loop device: Permission denied" >&2; exit 1; }
    echo >>"$FAKE/loops-made"
    echo "7:$((900000 + $(wc -l <"$FAKE/loops-made"))) $2" >>"$FAKE/loops"
    ;;
  --detach)
    # As when another call was quicker, or when there are no rights.
    if [ -e "$FAKE/detach-lost" ]; then sed -i "/^${2#/dev/} /d" "$FAKE/loops"; fi
    if [ -e "$FAKE/detach-lost" ] || [ -e "$FAKE/detach-fails" ]; then
      echo "losetup: $2: detach failed: No such device or address" >&2
      exit 1
    fi
    [ -e "$FAKE/in-use" ] || sed -i "/^${2#/dev/} /d" "$FAKE/loops"
    ;;
  --set-capacity) ;;
  *) exit 1 ;;
esac
"""

PROVIDE = '#!/bin/sh\necho "simulated machine: waiting" >&2\necho cdp-simulated-machine:1\n'


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


class Workstation:
    """A folder with a simulation, and beside it what its stand-ins of `docker` and `losetup` keep."""

    def __init__(self, folder: Path) -> None:
        self.fake = folder / "fake"
        self.cloud = folder / "cloud"
        self.machines = Machines(self.cloud, "unix:///simulated.sock")
        self.volume = self.cloud / "volumes" / "data.img"
        program(folder / "bin" / "docker", DOCKER)
        program(folder / "bin" / "losetup", LOSETUP)
        program(folder / "provide.sh", PROVIDE)
        self.fake.mkdir()
        plugins = [{"Name": "buildx", "Path": "/x/docker-buildx"}, {"Name": "compose", "Path": "/x/compose"}]
        self.write("plugins", json.dumps(plugins))

    def write(self, name: str, text: str = "") -> None:
        """Tell the stand-ins something."""
        (self.fake / name).write_text(text, encoding="utf-8")

    def asked(self, *beginnings: str) -> list[str]:
        """What the stand-ins were asked since the last time."""
        path = self.fake / "asked"
        asked = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in asked if line.startswith(beginnings)]

    def there(self, kind: str) -> list[str]:
        """The containers or networks of the engine."""
        return sorted(path.name for path in (self.fake / kind).glob("*"))

    def loops(self) -> list[str]:
        """The loop devices."""
        path = self.fake / "loops"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def launch(self, instance_id: str = INSTANCE, address: str = "10.0.0.5") -> None:
        metadata = {"ssh_authorized_keys": "ssh-ed25519 AAA one"}
        self.machines.launch(
            instance_id, hostname="platform", network_id=SUBNET, private_ip=address, metadata=metadata
        )

    def launch_with_volume(self) -> None:
        self.launch()
        self.machines.create_volume(self.volume, 1)
        self.machines.attach(INSTANCE, self.volume, DEVICE)

    def set_state(self, state: str) -> None:
        (self.fake / "containers" / MACHINE / "state").write_text(f"{state}\n", encoding="utf-8")

    def folder_of(self, instance_id: str) -> Path:
        return self.cloud / "machines" / names.short(instance_id)

    def record(self, instance_id: str = INSTANCE) -> list[Attachment]:
        return attachments.parse((self.folder_of(instance_id) / "etc" / "volumes").read_text())


@pytest.fixture
def workstation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workstation:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path / "fake"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    made = Workstation(tmp_path)
    monkeypatch.setenv("CDP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CDP_REGISTRY_PORT", raising=False)
    monkeypatch.setattr(machines_module, "PROVIDE", tmp_path / "provide.sh")
    monkeypatch.setattr(cgroups, "provide", lambda: None)
    monkeypatch.setattr(loop.time, "sleep", lambda _: None)
    return made


# --- loop devices ---


def test_a_volume_has_one_loop_device_however_often_it_is_attached(workstation: Workstation) -> None:
    workstation.machines.create_volume(workstation.volume, 1)
    number = loop.attach(workstation.volume)
    assert loop.attach(workstation.volume) == number
    assert workstation.loops() == [f"{number} {workstation.volume}"]
    assert loop.number_of(workstation.volume) == number
    loop.detach(workstation.volume)
    loop.detach(workstation.volume)
    assert workstation.loops() == []
    assert loop.number_of(workstation.volume) is None


def test_a_loop_device_in_use_is_left_to_its_last_user(
    workstation: Workstation, monkeypatch: pytest.MonkeyPatch
) -> None:
    workstation.machines.create_volume(workstation.volume, 1)
    loop.attach(workstation.volume)
    workstation.write("in-use")
    monkeypatch.setattr(loop, "RELEASE_SECONDS", 0)
    loop.detach(workstation.volume)
    assert workstation.asked("losetup --detach")
    assert len(workstation.loops()) == 1


def test_a_loop_device_that_another_call_has_taken_away_is_no_fault(workstation: Workstation) -> None:
    workstation.machines.create_volume(workstation.volume, 1)
    loop.attach(workstation.volume)
    workstation.write("detach-lost")
    loop.detach(workstation.volume)
    assert not workstation.loops()


def test_a_loop_device_that_cannot_be_taken_away_is_told(workstation: Workstation) -> None:
    workstation.machines.create_volume(workstation.volume, 1)
    loop.attach(workstation.volume)
    workstation.write("detach-fails")
    with pytest.raises(MachineError, match=r"losetup --detach .*No such device or address"):
        loop.detach(workstation.volume)


def test_a_volume_that_is_not_there_gets_no_loop_device(workstation: Workstation) -> None:
    with pytest.raises(
        MachineError, match=r"there is no volume .*data\.img: create it before it is attached"
    ):
        loop.attach(workstation.volume)
    assert not workstation.loops()


def test_without_rights_the_reason_of_losetup_is_told(workstation: Workstation) -> None:
    workstation.machines.create_volume(workstation.volume, 1)
    workstation.write("no-root")
    with pytest.raises(MachineError, match=r"losetup --find .*only root can use it.*Permission denied"):
        loop.attach(workstation.volume)


def test_a_missing_program_is_named(workstation: Workstation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(workstation.cloud))
    with pytest.raises(MachineError, match="this workstation has no program losetup: install it"):
        loop.number_of(workstation.volume)


# --- networks ---


def test_a_subnet_is_a_network_with_its_first_address_as_gateway(workstation: Workstation) -> None:
    workstation.machines.create_network(SUBNET, "10.9.8.0/25")
    (words,) = workstation.asked("docker network create")
    assert words == (
        "docker network create --driver bridge --subnet 10.9.8.0/25 --gateway 10.9.8.1 "
        f"--label {names.LABEL}={workstation.cloud} {names.network(SUBNET)}"
    )
    workstation.machines.create_network(SUBNET, "10.9.8.0/25")
    assert not workstation.asked("docker network create")
    workstation.machines.remove_network(SUBNET)
    workstation.machines.remove_network(SUBNET)
    assert workstation.there("networks") == []


@pytest.mark.parametrize("cidr", ["10.0.0.7/24", "everything"])
def test_a_subnet_has_an_address_range(workstation: Workstation, cidr: str) -> None:
    with pytest.raises(MachineError, match=r"is no address range .*: write it as 10\.0\.0\.0/24"):
        workstation.machines.create_network(SUBNET, cidr)
    assert workstation.there("networks") == []


# --- machines ---


def test_a_launch_asks_for_a_container_that_boots(workstation: Workstation) -> None:
    workstation.launch()
    (words,) = workstation.asked("docker run")
    for part in (
        f"--detach --tty --name {MACHINE} --hostname platform ",
        "--stop-signal SIGRTMIN+3 ",
        "--cgroupns private ",
        f"--network {names.network(SUBNET)} --ip 10.0.0.5 ",
        f"--label {names.LABEL}={workstation.cloud} ",
        f'"src={workstation.folder_of(INSTANCE) / "seed"}",dst=/var/lib/cloud/seed/nocloud,readonly',
        f'"src={workstation.folder_of(INSTANCE) / "etc"}",dst=/etc/cdp-sim,readonly',
        f'"src={workstation.fake.parent / "cache/registry"}",dst=/var/lib/cdp-sim/registry,readonly',
        '"src=/x/compose",dst=/usr/lib/cdp-sim/docker-compose,readonly',
    ):
        assert part in words
    assert words.endswith(" cdp-simulated-machine:1")
    assert "privileged" not in words
    assert "--publish" not in words
    assert (workstation.fake / "host").read_text() == "unix:///simulated.sock\n"
    seeded = json.loads((workstation.folder_of(INSTANCE) / "seed" / "meta-data").read_text())
    assert seeded["public-keys"] == ["ssh-ed25519 AAA one"]
    environment = (workstation.folder_of(INSTANCE) / "etc" / "registry.env").read_text()
    assert environment == "REGISTRY_HTTP_ADDR=127.0.0.1:5443\n"


def test_a_second_launch_changes_nothing(workstation: Workstation) -> None:
    assert workstation.machines.state(INSTANCE) is None
    workstation.launch_with_volume()
    workstation.asked()
    workstation.launch()
    assert workstation.machines.state(INSTANCE) == "RUNNING"
    assert not workstation.asked("docker run", "docker start", "losetup")
    assert [found.file for found in workstation.record()] == [workstation.volume]


def test_a_launch_starts_a_machine_that_has_stopped(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    before = workstation.record()
    # As after a restart of the workstation.
    workstation.set_state("exited")
    workstation.write("loops")
    assert workstation.machines.state(INSTANCE) == "STOPPED"
    workstation.asked()
    workstation.launch()
    assert workstation.asked("docker run", "docker start") == [f"docker start {MACHINE}"]
    (after,) = workstation.record()
    assert after.file == before[0].file
    assert after.number != before[0].number
    assert workstation.loops() == [f"{after.number} {workstation.volume}"]


def test_a_launch_that_fails_leaves_nothing(workstation: Workstation) -> None:
    workstation.write("refuses-run")
    with pytest.raises(
        MachineError, match=r"^the simulated machine .* does not start: Address already in use\.$"
    ):
        workstation.launch()
    assert workstation.there("containers") == []
    assert not workstation.folder_of(INSTANCE).exists()


@pytest.mark.parametrize("plugins", ["null", '[{"Name": "buildx", "Path": "/x"}]'])
def test_without_compose_on_the_workstation_nothing_is_launched(
    workstation: Workstation, plugins: str
) -> None:
    workstation.write("plugins", plugins)
    with pytest.raises(MachineError, match="no compose plugin: run 'make setup'"):
        workstation.launch()
    assert not workstation.asked("docker run")
    assert not workstation.folder_of(INSTANCE).exists()


def test_an_image_that_cannot_be_built_says_why(workstation: Workstation) -> None:
    program(machines_module.PROVIDE, "#!/bin/sh\necho 'provide.sh: no engine answers' >&2\nexit 1\n")
    with pytest.raises(
        MachineError, match=r"no image of the simulated machine: provide\.sh: no engine answers"
    ):
        workstation.launch()


def test_a_machine_in_restart_runs(workstation: Workstation) -> None:
    workstation.launch()
    workstation.set_state("restarting")
    assert workstation.machines.state(INSTANCE) == "RUNNING"


def test_the_console_is_what_the_container_has_printed(workstation: Workstation) -> None:
    with pytest.raises(MachineError, match=r"the console of .* cannot be read: No such container"):
        workstation.machines.console(INSTANCE)
    workstation.launch()
    assert workstation.machines.console(INSTANCE) == "the console\n"


def test_a_terminated_machine_leaves_its_volumes_detached(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    workstation.machines.terminate(INSTANCE)
    asked = workstation.asked("docker stop", "docker rm", "losetup --detach")
    assert [" ".join(words.split()[:2]) for words in asked] == [
        "docker stop",
        "docker rm",
        "losetup --detach",
    ]
    assert f"docker rm --force --volumes {MACHINE}" in asked
    assert workstation.machines.state(INSTANCE) is None
    assert not workstation.folder_of(INSTANCE).exists()
    assert workstation.volume.exists()
    workstation.machines.terminate(INSTANCE)


def test_a_machine_that_cannot_be_removed_keeps_its_record(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    workstation.write("refuses-rm")
    with pytest.raises(MachineError, match="cannot be removed: device or resource busy"):
        workstation.machines.terminate(INSTANCE)
    assert len(workstation.record()) == len(workstation.loops()) == 1


# --- volumes ---


def test_a_volume_grows_and_takes_no_space(workstation: Workstation) -> None:
    workstation.machines.create_volume(workstation.volume, 2)
    assert not workstation.asked("losetup --set-capacity")
    number = loop.attach(workstation.volume)
    workstation.machines.create_volume(workstation.volume, 3)
    assert workstation.asked("losetup --set-capacity") == [f"losetup --set-capacity /dev/{number}"]
    assert workstation.volume.stat().st_size == 3 * 1024**3
    assert workstation.volume.stat().st_blocks == 0


def test_a_volume_does_not_shrink(workstation: Workstation) -> None:
    workstation.machines.create_volume(workstation.volume, 2)
    with pytest.raises(MachineError, match="is larger than 1 GiB: a volume can only grow"):
        workstation.machines.create_volume(workstation.volume, 1)
    assert workstation.volume.stat().st_size == 2 * 1024**3


def test_an_attached_volume_is_not_deleted(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    with pytest.raises(MachineError, match="is attached: detach it before it is deleted"):
        workstation.machines.delete_volume(workstation.volume)
    workstation.machines.detach(INSTANCE, workstation.volume)
    workstation.machines.delete_volume(workstation.volume)
    assert not workstation.volume.exists()
    workstation.machines.delete_volume(workstation.volume)


def test_a_machine_is_told_of_its_volumes(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    tell = f"docker exec {MACHINE} {machines_module.INSIDE_RECORD}"
    assert workstation.asked("docker exec") == [tell]
    (found,) = workstation.record()
    assert (found.device, found.file) == (DEVICE, workstation.volume)
    workstation.machines.attach(INSTANCE, workstation.volume, DEVICE)
    assert workstation.record() == [found]
    workstation.asked()
    workstation.machines.detach(INSTANCE, workstation.volume)
    assert workstation.asked("docker exec") == [tell]
    assert workstation.record() == workstation.loops() == []


def test_a_stopped_machine_is_told_at_its_next_start(workstation: Workstation) -> None:
    workstation.launch()
    workstation.set_state("exited")
    workstation.machines.create_volume(workstation.volume, 1)
    workstation.machines.attach(INSTANCE, workstation.volume, DEVICE)
    assert not workstation.asked("docker exec")
    assert len(workstation.record()) == 1


def test_a_volume_is_attached_to_one_machine_as_one_device(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    workstation.launch(OTHER, "10.0.0.6")
    second = workstation.volume.with_name("second.img")
    workstation.machines.create_volume(second, 1)
    before = workstation.loops()
    for instance, volume, device, reason in (
        (
            OTHER,
            workstation.volume,
            DEVICE,
            f"is attached to machine {names.short(INSTANCE)}: detach it there",
        ),
        (INSTANCE, workstation.volume, "/dev/oracleoci/oraclevdc", "detach it there first"),
        (INSTANCE, second, DEVICE, f"{DEVICE} of machine .* is {workstation.volume}: detach that first"),
        (OTHER, workstation.volume, "/dev/sdb", "is no device path of OCI"),
        ("nobody", second, DEVICE, "there is no machine nobody: launch it first"),
    ):
        with pytest.raises(MachineError, match=reason):
            workstation.machines.attach(instance, volume, device)
    assert workstation.loops() == before
    assert workstation.record(OTHER) == []
    workstation.machines.attach(OTHER, second, DEVICE)
    workstation.machines.attach(INSTANCE, second.with_name("data.img"), DEVICE)
    assert [found.file for found in workstation.record(OTHER)] == [second]


def test_a_volume_is_not_taken_from_a_machine_that_has_it_by_now(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    workstation.launch(OTHER, "10.0.0.6")
    before = workstation.loops()
    workstation.machines.detach(OTHER, workstation.volume)
    assert workstation.loops() == before
    assert len(workstation.record()) == 1


def test_a_detach_that_was_cut_off_is_finished(workstation: Workstation) -> None:
    workstation.launch_with_volume()
    (workstation.folder_of(INSTANCE) / "etc" / "volumes").write_text("")
    workstation.machines.detach(INSTANCE, workstation.volume)
    assert workstation.loops() == []


# --- public addresses ---


def test_a_public_address_is_one_of_the_internet_s_network(workstation: Workstation) -> None:
    with pytest.raises(MachineError, match="there is no machine"):
        workstation.machines.connect_public(INSTANCE, "198.51.100.7")
    workstation.launch()
    workstation.machines.connect_public(INSTANCE, "198.51.100.7")
    assert workstation.there("networks") == [names.INTERNET]
    connect = f"docker network connect --ip 198.51.100.7 {names.INTERNET} {MACHINE}"
    assert workstation.asked("docker network connect") == [connect]
    workstation.machines.connect_public(INSTANCE, "198.51.100.7")
    workstation.machines.disconnect_public(INSTANCE, "198.51.100.8")
    workstation.machines.disconnect_public(OTHER, "198.51.100.7")
    assert not workstation.asked("docker network connect", "docker network disconnect")
    workstation.machines.disconnect_public(INSTANCE, "198.51.100.7")
    assert workstation.asked("docker network disconnect") == [
        f"docker network disconnect --force {names.INTERNET} {MACHINE}"
    ]


# --- the end ---


def test_a_simulation_removes_what_is_its_own(workstation: Workstation, tmp_path: Path) -> None:
    workstation.machines.create_network(SUBNET, "10.0.0.0/24")
    workstation.launch_with_volume()
    workstation.machines.connect_public(INSTANCE, "198.51.100.7")
    neighbour = Machines(tmp_path / "cloud-2", None)
    neighbour.create_network("theirs", "10.1.0.0/24")
    neighbour.launch(OTHER, hostname="x", network_id="theirs", private_ip="10.1.0.5", metadata={})
    neighbour.create_volume(tmp_path / "cloud-2" / "data.img", 1)
    neighbour.attach(OTHER, tmp_path / "cloud-2" / "data.img", DEVICE)
    neighbour.connect_public(OTHER, "198.51.100.8")

    workstation.machines.remove_everything()
    assert workstation.there("containers") == [names.machine(OTHER)]
    assert workstation.there("networks") == sorted([names.INTERNET, "cdp-subnet-theirs"])
    assert [line.split(" ", 1)[1] for line in workstation.loops()] == [str(tmp_path / "cloud-2" / "data.img")]
    assert not (workstation.cloud / "machines").exists()
    assert workstation.volume.exists()

    neighbour.terminate(OTHER)
    workstation.machines.remove_everything()
    assert workstation.there("networks") == ["cdp-subnet-theirs"]


def test_the_command_removes_a_simulation(
    workstation: Workstation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workstation.launch_with_volume()
    monkeypatch.setenv("DOCKER_HOST", "unix:///from-the-environment.sock")
    monkeypatch.setattr(sys, "argv", ["sandbox.machine", "remove", str(workstation.cloud)])
    workstation.write("refuses-rm")
    assert command.main() == 1
    assert capsys.readouterr().err.startswith(f"error: the simulated machine {MACHINE} cannot be removed")
    (workstation.fake / "refuses-rm").unlink()
    assert command.main() == 0
    assert workstation.there("containers") == []
    assert (workstation.fake / "host").read_text() == "unix:///from-the-environment.sock\n"


# --- the programs that stand in for Oracle Linux's ---

# Root folders of absolute paths in their texts; the one at the end of a line is where a package's files go.
ROOTED = re.compile(r"(?<![\w/.}*])/(?=(?:etc|usr|var)/|$)", re.MULTILINE)
LEFT = re.compile(r"(?<![\w/.}*])/(?:etc|usr|var|root|home|srv)/")
REAL = [
    "awk",
    "basename",
    "cat",
    "cp",
    "cut",
    "dirname",
    "grep",
    "ln",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "tr",
]
LOCKS = "etc/dnf/plugins/versionlock.list"
PLUGINS = ["dnf-plugins-core", "python3-dnf-plugin-versionlock"]
REPOSITORY = "https://example.test/linux/rhel/docker-ce.repo"
FIVE = ["docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin"]


class Shims:
    """Copies of the shims with a folder in place of /, and a PATH without anything that changes a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "machine"
        self.tools = folder / "tools"
        for source in (FOLDER / "files").rglob("*"):
            if source.is_file():
                text = ROOTED.sub(f"{self.root}/", source.read_text(encoding="utf-8"))
                assert not LEFT.search(text.replace(str(self.root), "ROOT")), source
                program(self.root / source.relative_to(FOLDER / "files"), text)
        self.tools.mkdir()
        for name in REAL:
            (self.tools / name).symlink_to(shutil.which(name) or name)
        program(self.tools / "id", "#!/bin/sh\necho ${USER_ID-0}\n")
        program(self.tools / "uname", "#!/bin/sh\necho x86_64\n")
        for name in ("getent", "groupadd", "systemctl"):
            program(self.tools / name, f'#!/bin/sh\necho "{name} $*" >>{folder}/asked\n')

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        (path,) = self.root.glob(f"usr/*/{words[0]}")
        return subprocess.run(
            [path, *words[1:]],
            env={"PATH": str(self.tools), **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )

    def must(self, *words: str) -> str:
        """Standard output of a call that must do well, and say that it is simulated if it says anything."""
        ran = self.run(*words)
        assert ran.returncode == 0, ran.stderr
        assert all(f"{words[0]} (simulated machine): " in line for line in ran.stderr.splitlines())
        return ran.stdout

    def refused(self, *words: str, **environment: str) -> str:
        """The one sentence of a refusal, without the part that says that it is a simulation's."""
        ran = self.run(*words, **environment)
        assert ran.returncode == 1, ran
        (sentence,) = ran.stderr.splitlines()
        beginning = f"{words[0]} (simulated machine): "
        assert sentence.startswith(beginning)
        return sentence.removeprefix(beginning).replace(str(self.root), "")

    def calls(self) -> list[str]:
        return (self.root / "var/lib/cdp-sim/calls").read_text(encoding="utf-8").splitlines()

    def with_repository(self) -> None:
        self.must("dnf", "-y", "install", *PLUGINS)
        self.must("dnf", "config-manager", "--add-repo", REPOSITORY)


@pytest.fixture
def shims(tmp_path: Path) -> Shims:
    made = Shims(tmp_path)
    program(made.root / "usr/lib/cdp-sim/docker-compose", "")
    return made


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "update",
            "No such command: 'update'; only install, config-manager, versionlock and list are simulated",
        ),
        ("", "No such command: ''; only install,"),
        ("--best install chrony", "unknown option --best"),
        ("install", "install: no package is named"),
        ("install nonsense", "Unable to find a match: nonsense"),
        ("install chrony nonsense-1.2", "Unable to find a match: nonsense-1.2"),
        (
            "install docker-ce",
            "Unable to find a match: docker-ce. Its repository docker-ce-stable is not added",
        ),
        ("list --installed chrony", "list: unknown option --installed"),
        ("list nonsense", "No matching packages to list"),
        ("list docker-ce", "No matching packages to list"),
        (
            "config-manager --add-repo x",
            "No such command: config-manager. It is in the package dnf-plugins-core",
        ),
        (
            "versionlock list",
            "No such command: versionlock. It is in the package python3-dnf-plugin-versionlock",
        ),
    ],
)
def test_dnf_refuses_what_it_does_not_know(shims: Shims, words: str, reason: str) -> None:
    assert shims.refused("dnf", *words.split()).startswith(reason)
    assert not (shims.root / "var/lib/cdp-sim/installed").exists()


def test_sysctl_keeps_from_the_workstation_what_is_not_of_the_network(shims: Shims) -> None:
    real = shims.root / "usr/lib/cdp-sim/sysctl"
    program(real, f'#!/bin/sh\necho "$*" >>{shims.folder}/asked\n[ "$2" != vm.nonsense ] && echo 60\n')
    file = shims.folder / "own.conf"
    file.write_text("# kernel\nnet.ipv4.tcp_mtu_probing = 1\nvm.swappiness = 1\n", encoding="utf-8")
    assert shims.must("sysctl", "-n", "vm.swappiness") == "60\n"
    shims.must("sysctl", "--quiet", f"--load={file}")
    assert shims.must("sysctl", "-n", "vm.swappiness") == "1\n"
    asked = (shims.folder / "asked").read_text(encoding="utf-8").splitlines()
    assert asked == ["-n vm.swappiness", "--quiet --write net.ipv4.tcp_mtu_probing=1", "-n vm.swappiness"]
    assert shims.refused("sysctl", "--write", "vm.swappiness=1") == "unknown words: --write vm.swappiness=1"
    file.write_text("vm.nonsense = 1\n", encoding="utf-8")
    assert shims.run("sysctl", "--quiet", f"--load={file}").returncode == 1


def test_dnf_is_for_root(shims: Shims) -> None:
    reason = shims.refused("dnf", "-y", "install", "chrony", USER_ID="1000")
    assert reason == "This command has to be run with superuser privileges"


def test_dnf_says_that_it_is_simulated_and_keeps_what_it_was_told(shims: Shims) -> None:
    ran = shims.run("dnf", "-y", "-q", "--setopt=install_weak_deps=False", "install", "dnf-automatic")
    assert ran.returncode == 0
    assert ran.stdout == ""
    assert ran.stderr == (
        "dnf (simulated machine): installed dnf-automatic-4.20.0-10.el10 in name; what runs is Debian's or the workstation's\n"
    )
    assert shims.calls() == ["dnf -y -q --setopt=install_weak_deps=False install dnf-automatic"]
    assert (shims.root / "usr/bin/dnf-automatic").exists()
    assert (shims.folder / "asked").read_text() == "systemctl daemon-reload\n"
    again = shims.run("dnf", "-y", "install", "dnf-automatic")
    assert again.stderr.endswith("dnf-automatic-4.20.0-10.el10 is already installed\n")


def test_dnf_knows_docker_once_its_repository_is_added(shims: Shims) -> None:
    shims.must("dnf", "-y", "install", *PLUGINS)
    assert "knows docker-ce.repo alone" in shims.refused(
        "dnf", "config-manager", "--add-repo", "https://example.test/x.repo"
    )
    assert "only --add-repo URL" in shims.refused("dnf", "config-manager", "--disable", "x")
    shims.must("dnf", "config-manager", "--add-repo", REPOSITORY)
    listed = shims.must("dnf", "-q", "list", "--showduplicates", "--available", "docker-ce")
    assert listed == "Available Packages\ndocker-ce.x86_64 3:29.1.2-1.el10 docker-ce-stable\n"
    shims.must("dnf", "-y", "install", "docker-ce-3:28.5.2-1.el10", "docker-compose-plugin")
    assert (shims.root / "usr/libexec/docker/cli-plugins/docker-compose").exists()
    assert shims.must("rpm", "-q", "docker-ce", "docker-compose-plugin") == (
        "docker-ce-28.5.2-1.el10.x86_64\ndocker-compose-plugin-5.0.1-1.el10.x86_64\n"
    )


def test_versionlock_holds_several_packages(shims: Shims) -> None:
    shims.with_repository()
    shims.must("dnf", "-y", "install", *FIVE)
    reason = shims.refused("dnf", "versionlock", "add", "docker-ce", "nonsense")
    assert reason == "versionlock: no installed package nonsense"
    shims.must("dnf", "-q", "versionlock", "add", *FIVE)
    shims.must("dnf", "-q", "versionlock", "add", *FIVE)
    locks = [
        "docker-ce-3:29.1.2-1.el10.*",
        "docker-ce-cli-1:29.1.2-1.el10.*",
        "containerd.io-0:2.2.0-2.el10.*",
        "docker-compose-plugin-0:5.0.1-1.el10.*",
    ]
    kept = (shims.root / LOCKS).read_text(encoding="utf-8").splitlines()
    assert [line for line in kept if line.endswith("*")] == locks
    assert "docker-ce is locked at another version" in shims.refused(
        "dnf", "-y", "install", "docker-ce-28.5.2"
    )
    shims.must("dnf", "versionlock", "delete", "docker-ce")
    assert shims.must("dnf", "versionlock", "list").split() == locks[1:]
    assert (
        shims.refused("dnf", "versionlock", "delete", "docker-ce")
        == "versionlock: no package matched: docker-ce"
    )
    shims.must("dnf", "-y", "install", "docker-ce-28.5.2")


def test_versionlock_refuses_what_it_does_not_know(shims: Shims) -> None:
    shims.must("dnf", "-y", "install", *PLUGINS)
    for words in (["add"], ["clear"], ["exclude", "chrony"], []):
        assert "only 'add PACKAGE...', 'delete PACKAGE' and 'list' are simulated" in shims.refused(
            "dnf", "versionlock", *words
        )


def test_rpm_answers_from_the_list_of_packages(shims: Shims) -> None:
    shims.with_repository()
    assert shims.must("rpm", "-q", "chrony", "openssl-3.2.2", "openssl-1:3.2.2-16.el10").split() == [
        "chrony-4.6.1-1.el10.x86_64",
        *["openssl-3.2.2-16.el10.x86_64"] * 2,
    ]
    missing = shims.run("rpm", "-q", "chrony-4.0.0", "docker-ce", "nonsense", "chrony")
    assert missing.returncode == 3
    assert missing.stdout.splitlines() == [
        "package chrony-4.0.0 is not installed",
        "package docker-ce is not installed",
        "package nonsense is not installed",
        "chrony-4.6.1-1.el10.x86_64",
    ]


def test_rpm_prints_what_the_lock_file_of_dnf_has(shims: Shims) -> None:
    shims.with_repository()
    shims.must("dnf", "-y", "install", "docker-ce")
    shims.must("dnf", "versionlock", "add", "docker-ce")
    form = r"%{NAME}-%|EPOCH?{%{EPOCH}}:{0}|:%{VERSION}-%{RELEASE}.*\n"
    printed = shims.must("rpm", "-q", "--queryformat", form, "docker-ce", "chrony")
    assert printed == "docker-ce-3:29.1.2-1.el10.*\nchrony-0:4.6.1-1.el10.*\n"
    assert printed.splitlines()[0] in (shims.root / LOCKS).read_text(encoding="utf-8").splitlines()
    assert shims.must("rpm", "-q", "--qf", "%{EPOCH} ", "chrony", "openssl") == "(none) 1 "


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("-i x.rpm", "only 'rpm -q [--queryformat FORMAT] PACKAGE...' is simulated"),
        ("-q", "no package is named"),
        ("-q --queryformat", "--queryformat lacks its value"),
        ("-q -a", "unknown option -a"),
        ("-q --qf %{ARCH} chrony", "--queryformat is known with NAME, EPOCH, VERSION and RELEASE alone"),
    ],
)
def test_rpm_refuses_what_it_does_not_know(shims: Shims, words: str, reason: str) -> None:
    assert shims.refused("rpm", *words.split()) == reason


def test_semanage_keeps_the_rules_that_it_is_given(shims: Shims) -> None:
    spec = r"/srv/it\.s(/.*)?"
    assert shims.must("semanage", "fcontext", "--list", "--locallist", "--noheading") == ""
    shims.must("semanage", "fcontext", "--add", "--type", "container_file_t", spec)
    shims.must("semanage", "fcontext", "-a", "-t", "etc_t", "/srv/other")
    assert "already defined" in shims.refused("semanage", "fcontext", "-a", "-t", "etc_t", spec)
    shims.must("semanage", "fcontext", "--modify", "--type", "var_t", spec)
    listed = shims.must("semanage", "fcontext", "-l", "-C").splitlines()
    assert [line.split() for line in listed] == [
        ["/srv/other", "all", "files", "system_u:object_r:etc_t:s0"],
        [spec, "all", "files", "system_u:object_r:var_t:s0"],
    ]
    shims.must("semanage", "fcontext", "-d", spec)
    assert "is not defined" in shims.refused("semanage", "fcontext", "-d", spec)
    assert spec not in shims.must("semanage", "fcontext", "-l")
    assert f"semanage fcontext --modify --type var_t {spec}" in shims.calls()


@pytest.mark.parametrize(
    "words", ["", "port -l", "fcontext", "fcontext -a x", "fcontext -a -t", "fcontext --clean"]
)
def test_semanage_refuses_what_it_does_not_know(shims: Shims, words: str) -> None:
    assert "are simulated" in shims.refused("semanage", *words.split())


def test_restorecon_notes_its_calls(shims: Shims, tmp_path: Path) -> None:
    said = shims.run("restorecon", "-R", str(tmp_path)).stderr
    assert said == "restorecon (simulated machine): no SELinux here; noted, no label is set\n"
    assert shims.calls() == [f"restorecon -R {tmp_path}"]
    assert "no such file" in shims.refused("restorecon", "-RF", str(tmp_path / "gone"))
    assert shims.refused("restorecon", "--all", str(tmp_path)) == "unknown option --all"
    assert shims.refused("restorecon", "-R") == "usage: restorecon [-RFv] PATH..."


def test_the_others_say_that_they_are_simulated(shims: Shims) -> None:
    enforcing = shims.run("getenforce")
    assert enforcing.stdout == "Enforcing\n"
    assert enforcing.stderr.startswith("getenforce (simulated machine): ")
    grown = shims.run("oci-growfs", "-y")
    assert grown.returncode == 0
    assert grown.stderr.startswith("oci-growfs (simulated machine): ")
    assert shims.refused("oci-growfs", "--all") == "unknown option --all"
