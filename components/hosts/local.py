"""This machine's Docker."""

from collections.abc import Sequence

import pulumi
import pulumi_command as command
import pulumi_docker as docker

from components.hosts.base import HostCommand, command_line
from components.settings import PROJECT, LocalHostSettings


class LocalHost(pulumi.ComponentResource):
    """Runs scripts on this machine and containers in its Docker engine."""

    provider: docker.Provider
    docker_host: pulumi.Output[str]
    architecture: pulumi.Output[str]

    def __init__(
        self, name: str, settings: LocalHostSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(f"{PROJECT}:hosts:LocalHost", name, {}, opts)
        docker_environment = ["env", f"DOCKER_HOST={settings.socket}"]
        self._before = [*(["sudo", "-n"] if settings.sudo else []), *docker_environment]
        self.docker_host = pulumi.Output.from_input(settings.socket)
        # Asked at each run, previews too: the engine may belong to a virtual machine of another architecture.
        self.architecture = command.local.run_output(
            command=command_line("engine-architecture.sh", [], before=docker_environment),
            logging=command.local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.InvokeOutputOptions(parent=self),
        ).stdout
        self.provider = docker.Provider(
            f"{name}-docker", host=settings.socket, opts=pulumi.ResourceOptions(parent=self)
        )
        self.register_outputs({"architecture": self.architecture})

    def run(
        self,
        name: str,
        script: str,
        *arguments: pulumi.Input[str],
        stdin: pulumi.Input[str] | None = None,
        secret: bool = False,
        triggers: Sequence[pulumi.Input[str]] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> HostCommand:
        """As `Host.run` says."""
        line = pulumi.Output.all(*arguments).apply(
            lambda words: command_line(script, words, before=self._before)
        )
        return command.local.Command(
            name,
            create=line,
            # Named although it is the same: without it, a changed trigger would replace the resource.
            update=line,
            stdin=stdin,
            triggers=list(triggers) or None,
            logging=command.local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(additional_secret_outputs=["stdout", "stderr"] if secret else []),
            ),
        )
