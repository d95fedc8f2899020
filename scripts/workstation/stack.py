"""The stacks that are made here: backend, passphrase, configuration and secrets, all under .state; no tracked file changes.

Every piece is made only if it is missing and appears whole, so that the next run completes one that was cut off.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.workstation import applications, atomic, config_file, encryption, secret_values, srv_root
from scripts.workstation.choices import Choices
from scripts.workstation.config_file import PROJECT, ConfigFile, SecretPath
from scripts.workstation.paths import ROOT, STATE
from scripts.workstation.session import Session
from scripts.workstation.shell import logged
from scripts.workstation.trouble import Trouble


@dataclass(frozen=True, kw_only=True)
class OwnStack:
    """Where the pieces of one stack are. `committed` is the file from which its configuration is made."""

    name: str
    folder: Path
    backend: Path
    # A PULUMI_HOME for plugins that are not the user's.
    home: Path
    choices: Choices
    lock: Path
    committed: Path
    # Whether the platform's files and containers are on this machine itself.
    on_this_machine: bool = True

    @property
    def config(self) -> ConfigFile:
        """Its configuration."""
        header = f"# The stack {self.name}'s own settings and secrets, made from {self.committed.name} on the first run. Change settings here.\n"
        return ConfigFile(path=self.folder / f"Pulumi.{self.name}.yaml", header=header)

    @property
    def passphrase(self) -> Path:
        """The file with the passphrase of its secrets."""
        return self.folder / "passphrase"

    def exists(self) -> bool:
        """Whether there is anything of it."""
        return self.config.exists() or self.in_backend()

    def in_backend(self) -> bool:
        """Whether the backend knows the stack."""
        stacks = self.backend / ".pulumi" / "stacks" / PROJECT
        return any((stacks / f"{self.name}.json{suffix}").exists() for suffix in ("", ".gz"))

    def make_folders(self) -> None:
        """The folders, the passphrase and the configuration."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.backend.mkdir(parents=True, exist_ok=True)
        if not self.passphrase.exists():
            salted = self.config.exists() and "encryptionsalt" in self.config.load()
            if self.in_backend() and salted:
                raise Trouble(
                    f"{self.passphrase} is missing, without which the secrets of {self.config.path} cannot be read; put it back, "
                    f"or move {self.folder.parent} away and run make import-secrets to take them from platform.env"
                )
            atomic.write(self.passphrase, secret_values.generate(43) + "\n", 0o600)
        if not self.config.exists():
            self.config.write(self._first_configuration())

    def _first_configuration(self) -> dict[str, Any]:
        """The committed settings, with srvRoot where this machine has room for it unless they name a folder of their own."""
        document = config_file.load(self.committed) if self.committed.exists() else {}
        values = document.get("config") or {}
        key = f"{PROJECT}:srvRoot"
        system_folder = str(srv_root.SYSTEM_FOLDER)
        if self.on_this_machine and values.get(key, system_folder) == system_folder:
            values = values | {key: str(srv_root.default(self.name))}
        return document | {"config": values}

    def initialise(self, session: Session) -> bool:
        """Make the stack in the backend. Returns whether it is new."""
        if self.in_backend():
            return False
        # `stack init` writes beside the project file, so it gets one of its own, beside the stack's own configuration.
        project = yaml.safe_dump({"name": PROJECT, "runtime": "python"})
        atomic.write(self.folder / "Pulumi.yaml", project)
        logged(
            [
                *(session.executable, "-C", str(self.folder), "stack", "init", self.name),
                *("--no-select", "--non-interactive"),
            ],
            log="stack-init",
            failure=f"the stack {self.name} could not be made",
            environment=session.environment,
        )
        return True

    def generate_secrets(self, session: Session) -> list[SecretPath]:
        """Give the stack those secrets that it lacks, its applications' passwords too. Returns their paths."""
        platform = [key for key in secret_values.LENGTHS if not self.config.has_secret(key)]
        missing = applications.missing(self.config)
        values = secret_values.generated(platform) | applications.generated(missing)
        encryption.set_secrets(self.config, session, values)
        return list(values)


LOCAL = OwnStack(
    name="local",
    folder=STATE / "local",
    backend=STATE / "backend",
    home=STATE / "pulumi-home",
    choices=Choices(STATE / "choices.json"),
    lock=STATE / "lock",
    committed=ROOT / "Pulumi.local.yaml",
)
PROD_SIM = OwnStack(
    name="prod-sim",
    folder=STATE / "prod-sim",
    backend=STATE / "prod-sim" / "backend",
    home=STATE / "prod-sim" / "pulumi-home",
    choices=Choices(STATE / "prod-sim" / "choices.json"),
    # Beside the folder, which `make destroy` deletes while it holds the lock.
    lock=STATE / "prod-sim.lock",
    committed=ROOT / "sandbox" / "prod-sim" / "Pulumi.prod-sim.yaml",
    on_this_machine=False,
)
OWN = {stack.name: stack for stack in (LOCAL, PROD_SIM)}
