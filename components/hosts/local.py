"""This machine's Docker."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_command as command
import pulumi_docker as docker

from components.host_settings import LocalHostSettings
from components.hosts.base import HostCommand, Step, script_command, script_of, shell_words, short_line
from components.settings import PROJECT


class LocalHost(pulumi.ComponentResource):
    """Runs scripts on this machine and containers in its Docker engine."""

    provider: docker.Provider
    architecture: pulumi.Output[str]
    bound: pulumi.ResourceOptions
    identity: Sequence[pulumi.Input[str]]
    preparation: Sequence[Step]
    bucket: Mapping[str, pulumi.Input[str]] | None
    outputs: Mapping[str, pulumi.Output[Any]]

    def __init__(
        self, name: str, settings: LocalHostSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(f"{PROJECT}:hosts:LocalHost", name, {}, opts)
        docker_environment = ["env", f"DOCKER_HOST={settings.socket}"]
        self._before = [*(["sudo", "-n"] if settings.sudo else []), *docker_environment]
        # Nobody but the operator takes this machine away.
        self.bound = pulumi.ResourceOptions()
        self.identity = ()
        self.preparation = ()
        self.bucket = None
        self.outputs = {"sshCommand": pulumi.Output.from_input([])}
        # Asked at each run, previews too: the engine may belong to a virtual machine of another architecture.
        ask = [*docker_environment, *shell_words("engine-architecture.sh", [])]
        self.architecture = command.local.run_output(
            command=short_line(ask, "SCRIPT"),
            environment={"SCRIPT": script_of(ask)},
            logging=command.local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.InvokeOutputOptions(parent=self),
        ).stdout
        self.provider = docker.Provider(
            f"{name}-docker", host=settings.socket, opts=pulumi.ResourceOptions(parent=self)
        )
        self.register_outputs({"architecture": self.architecture})

    def words(self, script: str, *arguments: pulumi.Input[str]) -> pulumi.Output[list[str]]:
        """As `Host.words` says."""
        return pulumi.Output.all(*arguments).apply(lambda known: [*self._before, *shell_words(script, known)])

    def run(
        self,
        name: str,
        script: str,
        *arguments: pulumi.Input[str],
        stdin: pulumi.Input[str] | None = None,
        secret: bool = False,
        undo: str | None = None,
        triggers: Sequence[pulumi.Input[str]] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> HostCommand:
        """As `Host.run` says."""
        return script_command(
            name,
            self.words(script, *arguments),
            stdin=stdin,
            on_delete=self.words(undo, *arguments) if undo else None,
            secret=secret,
            triggers=triggers,
            opts=opts,
        )
