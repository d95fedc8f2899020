"""Machines of a simulated OCI, as containers of a Docker engine on this workstation.

Whatever a machine needs that is not in its container is in the simulation's folder: machines/<id>/seed is what
cloud-init reads, machines/<id>/etc what the machine's own units read (/etc/cdp-sim there).
"""

import json
import os
import shutil
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sandbox.machine import attachments, cgroups, loop, names
from sandbox.machine.attachments import Attachment
from sandbox.machine.docker import Docker, reason, run
from sandbox.machine.errors import MachineError
from sandbox.machine.seed import seed_files

PROVIDE = Path(__file__).with_name("provide.sh")
STOP_SECONDS = 60
CAPABILITIES = [
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYS_PTRACE",
    "SYS_NICE",
    "SYS_BOOT",
    "IPC_LOCK",
    "DAC_READ_SEARCH",
    "AUDIT_CONTROL",
    "LINUX_IMMUTABLE",
    "SYSLOG",
]
"""What systemd and a Docker engine need. Not among them: SYS_TIME and SYS_MODULE, which would change the workstation."""
LOOP_DEVICES = "b 7:* rwm"
INSIDE_RECORD = "/usr/lib/cdp-sim/volumes"


class Machines:
    """The machines, networks and volumes of one simulation."""

    def __init__(self, folder: Path, docker_host: str | None) -> None:
        """`folder` holds the simulation's files; `docker_host` is as in DOCKER_HOST, None the client's default."""
        self._folder = folder.resolve()
        self._docker = Docker(docker_host)
        self._label = f"{names.LABEL}={self._folder}"

    # Networks

    def create_network(self, id: str, cidr: str) -> None:
        """A subnet. Its first address is the gateway, as in OCI."""
        self._make_network(names.network(id), cidr)

    def remove_network(self, id: str) -> None:
        """Remove a subnet, if it is there."""
        self._remove_network(names.network(id))

    # Machines

    def launch(
        self, instance_id: str, *, hostname: str, network_id: str, private_ip: str, metadata: dict[str, str]
    ) -> None:
        """Start an instance; ends when it runs, which is before it has booted. Starts one that has stopped.

        `metadata` is as in OCI: ssh_authorized_keys, and user_data in base64.
        """
        cgroups.provide()
        state = self.state(instance_id)
        if state == "STOPPED":
            self._start(instance_id)
        if state is not None:
            return
        seed = seed_files(instance_id, hostname, metadata)
        image = self._image()
        folder = self._machine_folder(instance_id)
        name = names.machine(instance_id)
        words = ["--name", name, "--hostname", hostname, *self._environment(folder)]
        words += ["--network", names.network(network_id), "--ip", private_ip, "--label", self._label]
        shutil.rmtree(folder, ignore_errors=True)
        for file, content in seed.items():
            _write(folder / "seed" / file, content)
        _write(folder / "etc" / "registry.env", f"REGISTRY_HTTP_ADDR=127.0.0.1:{_registry_port()}\n".encode())
        self._write_attachments(instance_id, [])
        result = self._docker.attempt("run", "--detach", "--tty", *words, image)
        if result.returncode:
            self._docker.attempt("rm", "--force", "--volumes", name)
            shutil.rmtree(folder, ignore_errors=True)
            raise MachineError(f"the simulated machine {name} does not start: {reason(result)}")

    def state(self, instance_id: str) -> str | None:
        """RUNNING, STOPPED, or None where there is no such machine."""
        words = ("ps", "--all", "--filter", f"name=^/{names.machine(instance_id)}$", "--format", "{{.State}}")
        found = self._docker.output(*words, task=f"the state of {instance_id} cannot be had")
        if not found:
            return None
        return "RUNNING" if found in ("running", "restarting") else "STOPPED"

    def restart(self, instance_id: str) -> None:
        """Shut an instance down and boot it again; ends when it runs, which is before it has booted."""
        name = self._require(instance_id)
        self._docker.output("restart", "--time", str(STOP_SECONDS), name, task=f"{name} does not restart")

    def terminate(self, instance_id: str) -> None:
        """Shut an instance down and remove it with its boot disk. Attached volumes are detached and stay."""
        self._remove_container(names.machine(instance_id))
        for attachment in self._attachments(instance_id):
            loop.detach(attachment.file)
        shutil.rmtree(self._machine_folder(instance_id), ignore_errors=True)

    def console(self, instance_id: str) -> str:
        """All that an instance has written to its console, as a serial line carries it (CR LF, escape sequences)."""
        name = names.machine(instance_id)
        result = self._docker.attempt("logs", name)
        if result.returncode:
            raise MachineError(f"the console of {name} cannot be read: {reason(result)}")
        return result.stdout

    # Volumes

    def create_volume(self, file: Path, gib: int) -> None:
        """A volume of that size, or a larger one of one that is there. It takes only the space that is written to."""
        file.parent.mkdir(parents=True, exist_ok=True)
        size = gib * 1024**3
        if file.exists() and file.stat().st_size > size:
            raise MachineError(f"the volume {file} is larger than {gib} GiB: a volume can only grow")
        with file.open("ab") as volume:
            volume.truncate(size)
        loop.grow(file.resolve())

    def delete_volume(self, file: Path) -> None:
        """Delete a volume with all that is on it, if it is there."""
        if loop.number_of(file.resolve()) is not None:
            raise MachineError(f"the volume {file} is attached: detach it before it is deleted")
        file.unlink(missing_ok=True)

    def attach(self, instance_id: str, volume_file: Path, device: str) -> None:
        """Give an instance a volume as `device`, a path such as /dev/oracleoci/oraclevdb."""
        attachments.check_device(device)
        self._require(instance_id)
        file = volume_file.resolve()
        for owner, other in self._all_attachments():
            mine = owner == names.short(instance_id)
            if other.file == file and not (mine and other.device == device):
                raise MachineError(f"the volume {file} is attached to machine {owner}: detach it there first")
            if mine and other.device == device and other.file != file:
                raise MachineError(f"{device} of machine {owner} is {other.file}: detach that first")
        others = [a for a in self._attachments(instance_id) if a.file != file]
        self._write_attachments(instance_id, [*others, Attachment(device, loop.attach(file), file)])
        self._tell_volumes(instance_id)

    def detach(self, instance_id: str, volume_file: Path) -> None:
        """Take a volume from an instance, mounted or not: who wants to keep what was written last unmounts it first."""
        file = volume_file.resolve()
        found = self._attachments(instance_id)
        if any(a.file == file for a in found):
            self._write_attachments(instance_id, [a for a in found if a.file != file])
            self._tell_volumes(instance_id)
        # Another machine may have it by now.
        if all(attachment.file != file for _, attachment in self._all_attachments()):
            loop.detach(file)

    # Public addresses

    def connect_public(self, instance_id: str, address: str) -> None:
        """Give an instance a public address, which is one of a network of this workstation."""
        name = self._require(instance_id)
        if self._addresses(name).get(names.INTERNET) == address:
            return
        self._make_network(names.INTERNET, names.INTERNET_CIDR)
        words = ("network", "connect", "--ip", address, names.INTERNET, name)
        self._docker.output(*words, task=f"{name} does not get the public address {address}")

    def disconnect_public(self, instance_id: str, address: str) -> None:
        """Take a public address from an instance, if it has it."""
        name = names.machine(instance_id)
        if self.state(instance_id) is None or self._addresses(name).get(names.INTERNET) != address:
            return
        words = ("network", "disconnect", "--force", names.INTERNET, name)
        self._docker.output(*words, task=f"{name} keeps the public address {address}")

    # The end

    def remove_everything(self) -> None:
        """Remove all machines and networks of this simulation. Files of volumes stay in its folder, detached."""
        for name in self._docker.labelled("container", self._label):
            self._remove_container(name)
        for file in loop.under(self._folder):
            loop.detach(file)
        shutil.rmtree(self._folder / "machines", ignore_errors=True)
        # The simulation that made the internet may not be the last one that was on it.
        for name in {*self._docker.labelled("network", self._label), names.INTERNET}:
            self._remove_network(name)

    def _start(self, instance_id: str) -> None:
        # After a restart of the workstation its loop devices are gone, or have other numbers.
        found = [Attachment(a.device, loop.attach(a.file), a.file) for a in self._attachments(instance_id)]
        self._write_attachments(instance_id, found)
        name = names.machine(instance_id)
        self._docker.output("start", name, task=f"the simulated machine {name} does not start")

    def _environment(self, folder: Path) -> Iterator[str]:
        """The options of `docker run` that make a machine of a container."""
        yield from (
            "--cgroupns",
            "private",
            "--stop-signal",
            "SIGRTMIN+3",
            "--stop-timeout",
            str(STOP_SECONDS),
        )
        # A reboot from inside ends the container's first process.
        yield from ("--restart", "on-failure")
        for option in ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"):
            yield from ("--security-opt", option)
        for capability in CAPABILITIES:
            yield from ("--cap-add", capability)
        yield from ("--device-cgroup-rule", LOOP_DEVICES)
        for path in ("/run", "/tmp"):  # noqa: S108 - the container's
            yield from ("--tmpfs", f"{path}:exec,mode=755" if path == "/run" else f"{path}:exec,mode=1777")
        # Overlays need a file system that is none.
        yield from ("--mount", f"type=volume,dst=/var/lib/docker,volume-label={names.LABEL}")
        yield from ("--mount", f"type=volume,dst=/var/lib/containerd,volume-label={names.LABEL}")
        yield from _mount(folder / "seed", "/var/lib/cloud/seed/nocloud")
        yield from _mount(folder / "etc", "/etc/cdp-sim")
        yield from _mount(_registry(), "/var/lib/cdp-sim/registry")
        yield from _mount(self._compose(), "/usr/lib/cdp-sim/docker-compose")

    def _image(self) -> str:
        result = run(str(PROVIDE), environment=self._docker.environment)
        if result.returncode:
            raise MachineError(f"there is no image of the simulated machine: {reason(result)}")
        return result.stdout.split()[-1]

    def _compose(self) -> Path:
        """The workstation's compose plugin: no registry of packages has Docker's own."""
        words = ("info", "--format", "{{json .ClientInfo.Plugins}}")
        found = self._docker.output(*words, task="the docker client does not list its plugins")
        paths = [plugin["Path"] for plugin in json.loads(found) or [] if plugin["Name"] == "compose"]
        if not paths:
            raise MachineError(
                "docker on this workstation has no compose plugin: run 'make setup', which installs it"
            )
        return Path(paths[0]).resolve()

    def _make_network(self, name: str, cidr: str) -> None:
        if self._docker.attempt("network", "inspect", name).returncode == 0:
            return
        try:
            network = ip_network(cidr)
        except ValueError as error:
            raise MachineError(f"{cidr!r} is no address range ({error}): write it as 10.0.0.0/24") from error
        words = ("--subnet", cidr, "--gateway", str(network[1]), "--label", self._label, name)
        task = f"the network {name} with {cidr} cannot be made"
        self._docker.output("network", "create", "--driver", "bridge", *words, task=task)

    def _remove_network(self, name: str) -> None:
        if self._docker.attempt("network", "inspect", name).returncode:
            return
        # Another simulation's machine, running or not, may have a public address as well.
        words = ("ps", "--all", "--quiet", "--filter", f"network={name}")
        if name == names.INTERNET and self._docker.output(
            *words, task=f"the users of {name} cannot be listed"
        ):
            return
        self._docker.output("network", "rm", name, task=f"the network {name} cannot be removed")

    def _remove_container(self, name: str) -> None:
        self._docker.attempt("stop", name)
        result = self._docker.attempt("rm", "--force", "--volumes", name)
        if result.returncode and "No such container" not in result.stderr:
            raise MachineError(f"the simulated machine {name} cannot be removed: {reason(result)}")

    def _require(self, instance_id: str) -> str:
        if self.state(instance_id) is None:
            raise MachineError(f"there is no machine {instance_id}: launch it first")
        return names.machine(instance_id)

    def _addresses(self, name: str) -> dict[str, str]:
        """The addresses that a machine was given, by network."""
        words = ("inspect", "--format", "{{json .NetworkSettings.Networks}}", name)
        networks: dict[str, dict[str, Any]] = json.loads(
            self._docker.output(*words, task=f"{name} has no addresses")
        )
        return {key: (value["IPAMConfig"] or {}).get("IPv4Address", "") for key, value in networks.items()}

    def _tell_volumes(self, instance_id: str) -> None:
        if self.state(instance_id) == "RUNNING":
            name = names.machine(instance_id)
            self._docker.output("exec", name, INSIDE_RECORD, task=f"{name} does not see its volumes")

    def _machine_folder(self, instance_id: str) -> Path:
        return self._folder / "machines" / names.short(instance_id)

    def _attachments(self, instance_id: str) -> list[Attachment]:
        return _read_attachments(self._machine_folder(instance_id))

    def _all_attachments(self) -> Iterator[tuple[str, Attachment]]:
        for folder in sorted((self._folder / "machines").glob("*")):
            for attachment in _read_attachments(folder):
                yield folder.name, attachment

    def _write_attachments(self, instance_id: str, found: list[Attachment]) -> None:
        _write(self._machine_folder(instance_id) / "etc" / "volumes", attachments.text(found).encode())


def _read_attachments(machine_folder: Path) -> list[Attachment]:
    record = machine_folder / "etc" / "volumes"
    return attachments.parse(record.read_text(encoding="utf-8")) if record.exists() else []


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(content)
    new.replace(file)


def _mount(source: Path, destination: str) -> tuple[str, str]:
    """A read-only bind mount; the option is a line of CSV, so a path may hold a comma."""
    quoted = str(source).replace('"', '""')
    return "--mount", f'type=bind,"src={quoted}",dst={destination},readonly'


def _registry() -> Path:
    """The workstation's image registry, which the machine serves again."""
    cache = os.environ.get("CDP_CACHE_DIR") or Path.home() / ".cache" / "central-data-platform"
    folder = Path(cache).resolve() / "registry"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _registry_port() -> int:
    return int(os.environ.get("CDP_REGISTRY_PORT") or 5443)
