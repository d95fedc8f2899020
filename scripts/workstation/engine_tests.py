"""The tools of the engine tests, then pytest where their Docker engine is (called by engine-tests.sh)."""

import os
import subprocess
import sys

from scripts.workstation import plugins, prepare
from scripts.workstation.engine import Engine
from scripts.workstation.paths import ROOT, VENV
from scripts.workstation.progress import Progress
from scripts.workstation.session import executable, search_path, stand_in_environment
from scripts.workstation.stack import LOCAL
from scripts.workstation.trouble import command


def main() -> int:
    """pytest's exit code."""
    progress = Progress(3)
    tools = prepare.tools(progress)
    prepare.compose(progress, Engine(socket=os.environ["CDP_TEST_DOCKER_HOST"]))
    with progress.step("provider plugins") as step:
        choice = plugins.choose(step, executable(tools), LOCAL.choices, LOCAL.home)
    # A clean clone makes its virtual environment where package registries can be reached, which is here.
    outside = {"CDP_TEST_OUTSIDE": f"/proc/{os.getpid()}/ns/net"}
    environment = {**os.environ, **outside, "PATH": search_path(tools), "VIRTUAL_ENV": str(VENV)}
    if choice == "stand-ins":
        environment |= stand_in_environment(LOCAL.home)
    netns = os.environ.get("CDP_TEST_NETNS")
    # Published ports are on this namespace's loopback, so the clients have to be in it too.
    inside = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
    # Another program that wants the same surroundings, such as `make bench`.
    module = os.environ.get("CDP_TEST_MODULE")
    program = [module] if module else ["pytest", "tests/engine"]
    words = [*inside, sys.executable, "-m", *program, *sys.argv[1:]]
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    command(main)
