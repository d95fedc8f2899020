"""`make status`: status.sh where the platform is; of a host that cannot be asked, what is known without it.

Exit code 0: nothing needs a person; 1: something does, or it cannot be told.
"""

import json
import os
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scripts.workstation import target
from scripts.workstation.target import NOT_FOUND, There
from scripts.workstation.trouble import Trouble, command

SCRIPT = "status.sh"
# A host that answers does so at once. All that it asks itself takes 10 s at most.
CONNECT_SECONDS, PATIENCE_SECONDS = 8, 30
NO_ANSWER = 124
WIDTH = 112
# Output of the program, the container that it is about, and what people call it.
SERVERS = (
    ("postgres", "postgres-db", "PostgreSQL"),
    ("pgbouncer", "pgbouncer", "PgBouncer"),
    ("redis", "redis-cache", "Redis"),
)


def main() -> int:
    """The selected stack's status, as a screen or, with --json, for machines."""
    words = sys.argv[1:]
    if unknown := [word for word in words if word != "--json"]:
        raise Trouble(f"make status knows only ARGS=--json, not {unknown[0]}")
    # Said outright: sudo and ssh hand on neither NO_COLOR nor the terminal.
    colour = "--color" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else "--no-color"
    host = target.find()
    arguments = [*words, colour]
    if not isinstance(host, There):
        return target.run_script(host, SCRIPT, arguments)
    try:
        return _asked(host, arguments)
    except Unreachable as unreachable:
        why = str(unreachable)
        print(as_json(host.outputs, why) if words else as_screen(host.stack, host.outputs, why))
        return 1


class Unreachable(Exception):
    """Why the host cannot be asked: a sentence for a person."""


def _asked(host: There, arguments: list[str]) -> int:
    """The host's own answer and exit code. Raises Unreachable where it gives none."""
    line = ["sudo", "-n", *target.script_words(host, SCRIPT, arguments)]
    try:
        said = host.ssh.ask(line, timeout=PATIENCE_SECONDS, connect_seconds=CONNECT_SECONDS)
    except Trouble as trouble:
        raise Unreachable(str(trouble)) from None
    if said.returncode == NO_ANSWER:
        raise Unreachable(
            f"the host has not answered within {PATIENCE_SECONDS} s; log in and see what it is busy with, or look at it in OCI's console"
        )
    if said.returncode == NOT_FOUND:
        raise target.not_up_yet(host, SCRIPT)
    sys.stdout.write(said.stdout)
    sys.stderr.write(said.stderr)
    return said.returncode


def as_json(outputs: Mapping[str, Any], why: str) -> str:
    """In the form of status.sh, schema 1: all is unknown."""
    containers = outputs.get("containers") or {container: "" for _, container, _ in SERVERS}
    checks = [("host", why), *((name, "the host cannot be asked") for name in containers)]
    document = {
        "schema": 1,
        "generated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "checks": [
            {"name": name, "state": "unknown", "detail": detail, "since": None} for name, detail in checks
        ],
    }
    return json.dumps(document, indent=2)


def as_screen(stack: str, outputs: Mapping[str, Any], why: str) -> str:
    """The verdict and its reason, then what the last `up` has written down."""
    versions = outputs.get("versions", {})
    rows = [
        (name, f"{versions.get(key, '')} at {outputs.get(f'{key}Address', '')}") for key, _, name in SERVERS
    ]
    rows.append(("host", str(outputs.get("hostAddress", ""))))
    if applications := outputs.get("applications"):
        rows.append(("applications", ", ".join(applications)))
    reason = textwrap.fill(why, WIDTH, initial_indent="  unknown host: ", subsequent_indent=" " * 10)
    return "\n".join(
        [
            f"{stack}: its host cannot be asked, so nothing can be told of the platform",
            "",
            "Needs a person",
            reason,
            "",
            "As the last up has left it",
            *(f"  {name:<14}{text}" for name, text in rows),
        ]
    )


if __name__ == "__main__":
    command(main)
