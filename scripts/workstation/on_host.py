"""`make backup`, `make drill`, ...: a command of /srv/apps, run as root where the platform is, with its exit code."""

import sys

from scripts.workstation import target
from scripts.workstation.trouble import command


def main() -> int:
    """The script's name, and its arguments, which are handed on."""
    script, *arguments = sys.argv[1:]
    return target.run_script(target.find(), script, arguments)


if __name__ == "__main__":
    command(main)
