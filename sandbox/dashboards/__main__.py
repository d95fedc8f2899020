"""Pictures of the dashboards, from a platform that has worked for some minutes (called by screenshots.sh).

python -m sandbox.dashboards VIEWER PICTURES
"""

import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine.monitored import Monitored, with_stand_ins
from tests.engine.platform import CHECKOUT, works

HERE = Path(__file__).parent
MINUTES = 5
APPLICATION, LOGIN = "librarian", "librarian_user"
# Of a host with systemd, metrics.timer: each minute.
METRICS_SECONDS = 15
# A pool has five connections, so that twenty clients wait for one now and then; statements a second, as in a day with a busy hour.
PHASES = ((2, 40), (8, 150), (4, 80), (20, 300))
PHASE_SECONDS = 20


def pgbench(platform: Monitored, *words: str) -> None:
    """Through the pooler, as the application comes."""
    password = platform.application_secrets[APPLICATION]["database"]
    ask = 'read -r PGPASSWORD; export PGPASSWORD; exec pgbench --host=pgbouncer --port=6432 "$@"'
    platform.docker(
        *("exec", "--interactive", "postgres-db", "sh", "-c", ask, "sh"),
        *(f"--username={LOGIN}", *words, APPLICATION),
        stdin=f"{password}\n",
    )


def statements(platform: Monitored, turn: int) -> None:
    """Transactions that write and ones that read, more of them and less in turn."""
    clients, rate = PHASES[turn % len(PHASES)]
    pgbench(
        platform,
        *("--no-vacuum", "--builtin=tpcb-like@1", "--builtin=select-only@3", f"--client={clients}"),
        *(f"--rate={rate}", f"--time={PHASE_SECONDS}"),
    )


def commands(platform: Monitored, turn: int) -> None:
    """A second of a cache: keys that end soon, and some that are not found."""
    client = platform.redis()
    began = time.monotonic()
    for number in range(100 + 80 * (turn // PHASE_SECONDS % 3)):
        key = f"{APPLICATION}:{turn}:{number}"
        client.set(key, "x" * 500, ex=30 if number % 2 else 600 if number % 3 else None)
        client.get(key)
        client.get(f"{APPLICATION}:{turn - 1}:{number * 2}")
        client.hincrby(f"{APPLICATION}:counters", f"{number % 7}")
    client.close()
    time.sleep(max(0, began + 1 - time.monotonic()))


def metrics(platform: Monitored, _turn: int) -> None:
    """What a timer does."""
    platform.run(["sh", str(platform.srv / "apps/metrics.sh")])
    time.sleep(METRICS_SECONDS)


def main(viewer: Path, pictures: Path) -> int:
    """The viewer's exit code: 1 where a dashboard cannot be drawn."""
    with tempfile.TemporaryDirectory(prefix="cdp-pictures-") as name:
        folder = Path(name)
        catalogue = with_stand_ins(Path(os.environ["CDP_TEST_CATALOGUE"]).resolve(), folder)
        platform = Monitored(folder / "platform", os.environ["CDP_TEST_DOCKER_HOST"], catalogue)
        try:
            platform.up()
            works(platform)
            with busy(platform):
                return draw(platform, viewer, pictures)
        finally:
            platform.remove()


@contextmanager
def busy(platform: Monitored) -> Iterator[None]:
    """With work on all that the dashboards show, which has gone on for MINUTES."""
    pgbench(platform, "--initialize", "--quiet", "--scale=5")
    over = threading.Event()
    faults: list[BaseException] = []

    def repeat(work: Callable[[Monitored, int], None]) -> None:
        try:
            for turn in itertools.count():
                if over.is_set():
                    return
                work(platform, turn)
        except BaseException as fault:
            faults.append(fault)

    workers = [threading.Thread(target=repeat, args=(work,)) for work in (statements, commands, metrics)]
    end = time.monotonic() + MINUTES * 60
    for worker in workers:
        worker.start()
    try:
        for script in ("backup.sh", "drill.sh"):
            time.sleep(60)
            platform.run(["sh", str(platform.srv / "apps" / script)])
        while time.monotonic() < end and not faults:
            time.sleep(1)
        if not faults:
            yield
    finally:
        over.set()
        for worker in workers:
            worker.join()
    if faults:
        raise faults[0]


def draw(platform: Monitored, viewer: Path, pictures: Path) -> int:
    """One picture for each dashboard."""
    words = ["node", str(HERE / "pictures.mjs"), str(viewer), str(CHECKOUT / "components/dashboards")]
    words += [str(pictures), str(MINUTES), str(platform.config["monitoring"]["scrapeIntervalSeconds"])]
    return subprocess.run(words, check=False, timeout=300).returncode


if __name__ == "__main__":
    sys.exit(main(*(Path(word) for word in sys.argv[1:3])))
