"""Where secrets may not be: in the plain state, on a command line, in an environment."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policy.model import Resource, Rule, Stack
from policy.rules.containers import CONTAINER
from policy.tree import texts

# Shorter ones stand everywhere by chance: 6432 is a port. The settings refuse them but by a waiver.
LEAST_CHARACTERS = 8
NAMED_SECRET = re.compile(
    r"(passw(or)?d|passphrase|secret|token|credential|(private|access|api)_?key)$", re.I
)
# What other users of a machine can read, whether the state hides it or not: `ps`, /proc, `docker inspect`.
IN_THE_OPEN = {
    "command:local:Command": ("create", "update", "delete", "environment", "interpreter"),
    "command:remote:Command": ("create", "update", "delete", "environment"),
    "pulumi-python:dynamic/host:State": ("words",),
    CONTAINER: ("command", "entrypoints", "envs", "labels", "healthcheck", "hosts"),
}


def plain(resource: Resource, stack: Stack) -> Iterator[str]:
    """What is secret in the configuration is marked secret wherever it is."""
    for path, text in texts(resource.sent):
        for key in _held(text, stack):
            yield (
                f"{resource.name} has the secret {key} in the clear in its input {path}, and so in the state; "
                "write pulumi.Output.secret(…) around it, or take it from config.require_secret"
            )
        name = path.rpartition(".")[2]
        # Of variables of an environment the other rule speaks.
        if text and NAMED_SECRET.search(name) and not path.startswith("environment."):
            yield f"{resource.name} has its input {path} in the clear; write pulumi.Output.secret(…) around it"


def in_the_open(resource: Resource, stack: Stack) -> Iterator[str]:
    """Secrets travel on standard input, and in files that only their reader may read."""
    for part in IN_THE_OPEN.get(resource.type, ()):
        for path, text in texts(resource.inputs.get(part), part):
            for key in _held(text, stack):
                yield (
                    f"{resource.name} has the secret {key} in {path}, which others on the host can read; "
                    "hand it over on stdin, or in a file of mode 0600"
                )
        if part in ("environment", "envs"):
            for name in _variables(resource.inputs.get(part)):
                if NAMED_SECRET.search(name):
                    yield (
                        f"{resource.name} has {name} in its environment, which others on the host can read; "
                        f"hand it over on stdin, or name a file by {name}_FILE"
                    )


def _held(text: str, stack: Stack) -> list[str]:
    return [key for key, value in stack.secrets.items() if len(value) >= LEAST_CHARACTERS and value in text]


def _variables(environment: Any) -> list[str]:
    """The names that have a value."""
    if isinstance(environment, Mapping):
        pairs = [(str(name), value) for name, value in environment.items()]
    elif isinstance(environment, list):
        split = [line.partition("=") for line in environment if isinstance(line, str)]
        pairs = [(name, value) for name, _, value in split]
    else:
        return []
    return [name for name, value in pairs if value]


RULES = [
    Rule(name="no-plain-secret", title="Secrets are not in the clear in the state.", check=plain),
    Rule(
        name="no-secret-in-the-open",
        title="Secrets are where only their reader sees them.",
        check=in_the_open,
    ),
]
