"""The contract between a host and the services on it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pulumi
import pulumi_command as command
import pulumi_docker as docker

from components.host_state import ACTION, HostState

SCRIPTS = Path(__file__).parents[2] / "scripts"

# What a script on the host is to other components.
HostCommand = command.local.Command


@dataclass(frozen=True, kw_only=True)
class Step:
    """One of the scripts that make a machine fit for the platform: its file in scripts/host, arguments, standard input."""

    script: str
    arguments: Sequence[str] = ()
    stdin: str | None = None


class Host(Protocol):
    """Where containers run and files live."""

    provider: docker.Provider
    # The engine's own word for it: amd64 or arm64.
    architecture: pulumi.Output[str]
    # Options of everything that is on the host: what is gone with it need not be deleted one by one.
    bound: pulumi.ResourceOptions
    # Another text as soon as it is another machine, which has none of what scripts have made.
    identity: Sequence[pulumi.Input[str]]
    # What has prepared the machine, for one on which /srv is unpacked later; nothing on a workstation.
    preparation: Sequence[Step]
    # The bucket for off-site backups that it may write as itself: name, namespace, compartment, region; or none.
    bucket: Mapping[str, pulumi.Input[str]] | None
    # What only such a host has to say to the stack's users.
    outputs: Mapping[str, pulumi.Output[Any]]

    def words(self, script: str, *arguments: pulumi.Input[str]) -> pulumi.Output[list[str]]:
        """The program and its arguments that, started on this workstation, run scripts/host/<script> as root on the host."""
        ...

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
        """Run scripts/host/<script> as root once, and again whenever its text, arguments, stdin or triggers change.

        `secret` keeps what the script prints out of the engine's log and encrypted in the state. What a script has made
        outlives its resource, unless another one is named that undoes it, with the same arguments.
        """
        ...


def keep(
    host: Host,
    name: str,
    script: str,
    *arguments: pulumi.Input[str],
    stdin: pulumi.Input[str] = "",
    opts: pulumi.ResourceOptions | None = None,
) -> HostState:
    """What scripts/host/<script> brings about by `apply ARGUMENTS…` and looks at by `check ARGUMENTS…`, as root on the host."""
    return HostState(
        name,
        words=host.words(script, ACTION, *arguments),
        stdin=stdin,
        triggers=host.identity,
        opts=pulumi.ResourceOptions.merge(host.bound, opts),
    )


def script_text(script: str, folder: str = "host") -> str:
    """The text of a file of scripts/host."""
    return (SCRIPTS / folder / script).read_text(encoding="utf-8")


def shell_words(script: str, arguments: Sequence[str]) -> list[str]:
    """Words that run the script's own text: a host needs no copy of it, and a new text is a new command."""
    return ["sh", "-c", script_text(script), script, *arguments]


def script_command(
    name: str,
    words: pulumi.Output[list[str]],
    *,
    stdin: pulumi.Input[str] | None = None,
    on_delete: pulumi.Output[list[str]] | None = None,
    secret: bool = False,
    triggers: Sequence[pulumi.Input[str]] = (),
    opts: pulumi.ResourceOptions | None = None,
) -> HostCommand:
    """The resource behind `Host.run`. `on_delete` is done as well as it can be: its failure holds up nothing."""
    line = words.apply(lambda known: short_line(known, "SCRIPT"))
    environment = {"SCRIPT": words.apply(script_of)}
    if on_delete is not None:
        environment["ON_DELETE"] = on_delete.apply(script_of)
    return HostCommand(
        name,
        create=line,
        # Named although it is the same: without it, a changed trigger would replace the resource.
        update=line,
        delete=None
        if on_delete is None
        else on_delete.apply(lambda known: f"{short_line(known, 'ON_DELETE')} || :"),
        environment=environment,
        stdin=stdin,
        triggers=list(triggers) or None,
        logging=command.local.Logging.NONE,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(additional_secret_outputs=["stdout", "stderr"] if secret else []),
        ),
    )


def short_line(words: Sequence[str], variable: str) -> str:
    """A line for a shell, in which an environment variable stands for the script: an error repeats the whole line."""
    return " ".join(f'"${variable}"' if is_script(word) else shlex.quote(word) for word in words)


def script_of(words: Sequence[str]) -> str:
    """The one of the words that holds the script."""
    (text,) = [word for word in words if is_script(word)]
    return text


def is_script(word: str) -> bool:
    """Whether it is more than one line."""
    return "\n" in word
