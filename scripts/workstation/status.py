"""`make status`: the platform's own report, /srv/apps/status.sh, with its exit code."""

import sys

from scripts.workstation import target
from scripts.workstation.trouble import command


def main() -> int:
    """Runs the script where the platform is, as root; `--json` is handed on."""
    return target.run_script(target.find(), "status.sh", sys.argv[1:])


if __name__ == "__main__":
    command(main)
