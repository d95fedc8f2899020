"""`make bench`: each benchmark in turn, on the tests' own Docker engine; the figures go to standard output."""

import os
import tempfile
from pathlib import Path

from tests.bench import applications, backups
from tests.engine.platform import Platform


def main() -> None:
    """One platform for all of them, so that they are measured side by side."""
    with tempfile.TemporaryDirectory(prefix="cdp-bench-") as folder:
        catalogue = Path(os.environ["CDP_TEST_CATALOGUE"]).resolve()
        platform = Platform(Path(folder) / "platform", os.environ["CDP_TEST_DOCKER_HOST"], catalogue)
        try:
            platform.up()
            backups.measure(platform)
            applications.measure(platform)
        finally:
            platform.remove()


if __name__ == "__main__":
    main()
