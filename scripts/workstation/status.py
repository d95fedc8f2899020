"""`make status`: the platform's own report, /srv/apps/status.sh, with its exit code."""

import sys

from scripts.workstation import target
from scripts.workstation.trouble import Trouble, command

# What a shell, and sudo, say of a program that is not there.
NOT_FOUND = 127


def main() -> int:
    """Runs the script where the platform is, as root; `--json` is handed on."""
    found = target.find()
    script = found.srv_root / "apps" / "status.sh"
    sys.stdout.flush()
    code = found.run_as_root(
        ["sh", "-c", f'[ -x "$0" ] || exit {NOT_FOUND}; exec "$0" "$@"', str(script), *sys.argv[1:]]
    )
    if code == NOT_FOUND:
        raise Trouble(
            f"{script} is not there, so the platform is not up yet; run make up STACK={found.stack} first"
        )
    return code


if __name__ == "__main__":
    command(main)
