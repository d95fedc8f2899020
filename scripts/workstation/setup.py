"""`make setup`: all that the commands need on this machine, and nothing of a stack."""

from scripts.workstation import prepare
from scripts.workstation.progress import Progress
from scripts.workstation.trouble import command


def main() -> int:
    """Toolchain, engine, compose."""
    progress = Progress(3)
    prepare.tools(progress)
    prepare.compose(progress, prepare.docker_engine(progress))
    return 0


if __name__ == "__main__":
    command(main)
