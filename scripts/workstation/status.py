"""`make status`: the platform's own report, /srv/apps/status.sh, with its exit code."""

import os
import subprocess
import sys

from scripts.workstation import target
from scripts.workstation.shell import as_root
from scripts.workstation.trouble import Trouble, command


def main() -> int:
    """Runs the script on this machine, as root; `--json` is handed on."""
    found = target.find()
    script = found.srv_root / "apps" / "status.sh"
    if not script.exists():
        raise Trouble(f"{script} is not there, so the platform is not up yet; run make up first")
    # sudo drops the environment, so the engine is named on the command line.
    line = as_root(["env", f"DOCKER_HOST={found.engine.socket}", str(script), *sys.argv[1:]])
    sys.stdout.flush()
    return subprocess.run(line, env=os.environ, check=False).returncode


if __name__ == "__main__":
    command(main)
