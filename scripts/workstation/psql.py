"""`make psql`: psql as platform_admin inside postgres-db; a terminal, or SQL on standard input."""

import os
import sys

from scripts.workstation import target
from scripts.workstation.trouble import command


def words(arguments: list[str], *, terminal: bool, database: str | None) -> list[str]:
    """The docker command; the server knows root inside the container as platform_admin, without a password."""
    options = ["--interactive", *(["--tty"] if terminal else [])]
    # What nobody watches stops at its first error, and says so by its exit code.
    stop = [] if terminal else ["--set=ON_ERROR_STOP=1"]
    return [
        *("docker", "exec", *options, "postgres-db"),
        *("psql", "--username=platform_admin", f"--dbname={database or 'postgres'}", *stop, *arguments),
    ]


def main() -> int:
    """psql's exit code."""
    found = target.find()
    target.require_container(found, "postgres-db")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    line = words(sys.argv[1:], terminal=terminal, database=os.environ.get("DB"))
    return target.run_docker(found, line, terminal=terminal)


if __name__ == "__main__":
    command(main)
