"""`make psql`: psql as platform_admin inside postgres-db; a terminal, or SQL on standard input."""

import os
import sys

from scripts.workstation import target
from scripts.workstation.trouble import command


def words(arguments: list[str], *, terminal: bool, database: str | None) -> list[str]:
    """The docker command; the server knows root inside the container as platform_admin, without a password."""
    options = ["--interactive", *(["--tty"] if terminal else [])]
    return [
        *("docker", "exec", *options, "postgres-db"),
        *("psql", "--username=platform_admin", f"--dbname={database or 'postgres'}", *arguments),
    ]


def main() -> int:
    """Becomes docker exec, so that signals and the exit code are psql's."""
    found = target.find()
    found.require_container("postgres-db")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    line = words(sys.argv[1:], terminal=terminal, database=os.environ.get("DB"))
    sys.stdout.flush()
    os.execvpe(line[0], line, found.engine.environment)  # noqa: S606


if __name__ == "__main__":
    command(main)
