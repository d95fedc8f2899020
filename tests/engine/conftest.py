"""The engine tests' platform. `scripts/workstation/engine-tests.sh` gives them a Docker engine of their own."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.engine import failures
from tests.engine.platform import Platform


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "fresh: brings up platforms of its own, so it runs before the session's (engine-halves.sh)"
    )
    config.addinivalue_line(
        "markers", "late: after those, in the same half, on a session's platform (engine-halves.sh)"
    )
    config.addinivalue_line("markers", "machine: needs a simulated machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Names, ports and network are the platform's own: only one can be up at a time."""
    for item in items:
        if item.path.name.startswith("test_production"):
            item.add_marker("machine")
    items.sort(key=lambda item: item.get_closest_marker("fresh") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Before fixtures put the platform in order."""
    report = yield
    if report.failed:
        failures.note(report)
    return report


def _required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.exit(
            f"{variable} is not set: run the engine tests by `make test` or `make engine-tests`", returncode=2
        )
    return value


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The engine of the tests."""
    return _required("CDP_TEST_DOCKER_HOST")


@pytest.fixture(scope="session")
def catalogue() -> Path:
    """Images that this engine can have."""
    return Path(_required("CDP_TEST_CATALOGUE")).resolve()


@pytest.fixture(scope="session")
def running(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, catalogue: Path
) -> Iterator[Platform]:
    """One platform for the whole session, brought up once."""
    platform = Platform(tmp_path_factory.mktemp("platform"), docker_host, catalogue)
    try:
        platform.up()
        yield platform
    finally:
        platform.remove()


@pytest.fixture
def platform(running: Platform) -> Iterator[Platform]:
    """The session's platform, found in order and left in order."""
    yield running
    running.settle()
