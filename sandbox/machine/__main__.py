"""`python -m sandbox.machine remove FOLDER`: remove the machines and networks of the simulation in a folder."""

import argparse
import os
import sys
from pathlib import Path

from sandbox.machine.errors import MachineError
from sandbox.machine.machine import Machines


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.machine", description=__doc__)
    parser.add_argument("action", choices=["remove"])
    parser.add_argument(
        "folder", type=Path, help="the simulation's folder; the files of its volumes stay there"
    )
    arguments = parser.parse_args()
    try:
        Machines(arguments.folder, os.environ.get("DOCKER_HOST")).remove_everything()
    except MachineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
