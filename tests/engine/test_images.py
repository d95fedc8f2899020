"""The images keep the contract of the originals: users, entry points, signals, paths."""

import subprocess
import sys
from pathlib import Path

from tests.engine.platform import CHECKOUT


def test_the_images_keep_the_contract_of_the_originals(docker_host: str, catalogue: Path) -> None:
    words = [CHECKOUT / "sandbox/images/check.py", catalogue, "--socket", docker_host.removeprefix("unix://")]
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
