"""A host for status.sh: the real scripts and the real compose file, with a Docker, servers and a machine that are only played."""

import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.unit.scripted_host import SCRIPTS, Host

COMPOSE = Path(__file__).parents[1] / "golden/docker-compose.yml"
# Places outside srvRoot that the scripts read.
OUTSIDE = ("/etc/systemd/system", "/etc/fstab", "/proc/", "/sys/fs/cgroup")
MIB = 1024 * 1024

POOLS = """\
     version
------------------
 PgBouncer 1.25.2
(1 row)

 database  |   user    | cl_active | cl_waiting | sv_active | sv_idle | sv_used | sv_tested | maxwait | pool_mode
-----------+-----------+-----------+------------+-----------+---------+---------+-----------+---------+-----------
 librarian | librarian |         7 |          0 |         2 |       1 |       0 |         0 |       0 | transaction
 trading   | trading   |         3 |          {waiting} |         1 |       0 |       1 |         0 |       {maxwait} | transaction
 pgbouncer | pgbouncer |         1 |          0 |         0 |       0 |       0 |         0 |       0 | statement
(3 rows)

"""


def ago(**delta: float) -> str:
    """A time as Docker writes it."""
    return (datetime.now(UTC) - timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


@dataclass
class Container:
    """What `docker container inspect` says of one."""

    image: str
    pid: int
    limit: int
    used: int
    status: str = "running"
    health: str = "healthy"
    code: int = 0
    killed: bool = False
    restarts: int = 0
    started: str = field(default_factory=lambda: ago(days=3, hours=1))
    ended: str = "0001-01-01T00:00:00Z"

    def line(self, name: str) -> str:
        killed = str(self.killed).lower()
        facts = (name, self.status, self.health, self.code, killed, self.restarts, self.started, self.ended)
        return " ".join(map(str, (*facts, self.pid, self.limit, self.image)))


class Played:
    """All is well until a test says otherwise. `docker` is the version of an engine that answers, or a command that it is instead."""

    def __init__(self, folder: Path, *, compose: str | None = None) -> None:
        self.host = Host(folder)
        self.srv, self.outside = self.host.srv, folder / "outside"
        for path in ("apps/status.d", "apps/postgres-stack", "config/pgbouncer", "backups/state"):
            (self.srv / path).mkdir(parents=True)
        (self.srv / ".central-data-platform").write_text("local\n", encoding="utf-8")
        (self.srv / "apps/postgres-stack/docker-compose.yml").write_text(
            compose or COMPOSE.read_text(encoding="utf-8"), encoding="utf-8"
        )
        (self.srv / "config/pgbouncer/pgbouncer.ini").write_text("[pgbouncer]\nmax_client_conn = 500\n")
        self.secret = 'a "secret" with a \\ of Redis\''
        (self.srv / "config/platform.env").write_text(f"REDIS_ADMIN_PASSWORD={shlex.quote(self.secret)}\n")
        self.install("status.sh", *(f"status.d/{p.name}" for p in (SCRIPTS / "status.d").glob("*.sh")))
        for name, script in {
            "id": "echo 0",
            "uname": "echo host-1",
            "stat": "echo 600:0",
            "findmnt": "",
            "systemctl": "",
        }.items():
            self.host.stand_in(name, script)
        self.disk(40)
        self.docker = "echo 28.2.2"
        image = "{}@sha256:" + "1" * 64
        self.containers: dict[str, Container] = {
            name: Container(
                image=self.pin(name) or image.format(name), pid=number, limit=limit * MIB, used=used * MIB
            )
            for number, (name, limit, used) in enumerate(
                [
                    ("postgres-db", 4096, 900),
                    ("redis-cache", 512, 30),
                    ("pgbouncer", 128, 8),
                    ("postgres-wal", 64, 6),
                ],
                start=11,
            )
        }
        # What PostgreSQL answers: version, age, waiting settings, connections and most, locked, oldest transaction and its process,
        # idle in transaction, transaction numbers in percent, slots, unused ones, whose transaction.
        self.sql: list[Any] = ["17.11", 262800, 0, 12, 97, 0, 2, 345, 1, 4, 1, "", "librarian_user"]
        self.slot = "t|reserved|0|1048576|4294967296"
        self.redis: dict[str, Any] = {
            "redis_version": "7.2.16",
            "used_memory": 20 * MIB,
            "maxmemory": 256 * MIB,
            "maxmemory_policy": "noeviction",
            "evicted_keys": 0,
            "connected_clients": 5,
            "loading": 0,
            "aof_last_write_status": "ok",
            "rdb_last_bgsave_status": "ok",
            "aof_last_bgrewrite_status": "ok",
        }
        self.pools: str = POOLS.format(waiting=0, maxwait=0)
        # Commands in the place of what a server answers.
        self.instead: dict[str, str] = {}
        self.available_mib = 9000
        self.cgroups = 2

    def install(self, *scripts: str) -> None:
        """The real scripts, to which paths outside srvRoot are the test's own."""
        for name in scripts:
            text = (SCRIPTS / name).read_text(encoding="utf-8")
            for place in OUTSIDE:
                text = text.replace(place, shlex.quote(f"{self.outside}{place}").strip("'"))
            path = self.srv / "apps" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)

    def pin(self, name: str) -> str:
        """The image that the compose file names."""
        text = (self.srv / "apps/postgres-stack/docker-compose.yml").read_text(encoding="utf-8")
        _, _, rest = text.partition(f"\n  {name}:\n    image: ")
        return rest.partition("\n")[0]

    def disk(self, used: int) -> None:
        self.host.stand_in("df", f"echo Filesystem; echo /dev/x 100 1 60G {used}% /srv")

    def place(self) -> None:
        """What a test has changed becomes what the stand-ins answer."""
        answers = self.host.folder / "answers"
        answers.mkdir(exist_ok=True)
        for path in answers.iterdir():
            path.unlink()
        for name, container in self.containers.items():
            (answers / name).write_text(container.line(name) + "\n", encoding="utf-8")
        (answers / "sql").write_text("|".join(map(str, self.sql)) + "\n", encoding="utf-8")
        (answers / "slot").write_text(self.slot + "\n" if self.slot else "", encoding="utf-8")
        info = "".join(f"{name}:{value}\r\n" for name, value in self.redis.items())
        (answers / "redis").write_text(f"OK\n\n# Server\r\n{info}", encoding="utf-8")
        (answers / "pools").write_text(self.pools, encoding="utf-8")
        here = shlex.quote(str(answers))
        slot = self.instead.get("slot", f"cat {here}/slot")
        sql = self.instead.get("sql", f"cat {here}/sql")
        redis = self.instead.get("redis", f"cat {here}/redis")
        self.host.stand_in(
            "docker",
            f"""answers={here}
case "$*" in
  version*) {self.docker} ;;
  'container inspect '*)
    shift 4
    code=0
    for name in "$@"; do cat {here}/"$name" 2>/dev/null || {{ echo "Error: No such container: $name" >&2; code=1; }}; done
    exit $code
    ;;
  *psql*)
    query=$(cat)
    case $query in *max_slot_wal*) {slot} ;; *) {sql} ;; esac
    ;;
  *redis-cli) cat >{here}/asked; {redis} ;;
  *) exit 1 ;;
esac
""",
        )
        pooler = self.srv / "apps/pooler.sh"
        pooler.write_text(f"#!/bin/sh\n{self.instead.get('pools', f'cat {here}/pools')}\n", encoding="utf-8")
        pooler.chmod(0o755)
        self._place_system()

    def _place_system(self) -> None:
        proc = self.outside / "proc"
        proc.mkdir(parents=True, exist_ok=True)
        (proc / "uptime").write_text("1036800.52 99.1\n")
        (proc / "meminfo").write_text(
            f"MemTotal: 12288000 kB\nMemFree: 1 kB\nMemAvailable: {self.available_mib * 1024} kB\n"
        )
        for name, container in self.containers.items():
            if not self.cgroups:
                continue
            legacy = self.cgroups == 1
            prefix, folder = ("total_", "memory/docker") if legacy else ("", "system.slice/docker.scope")
            where = self.outside / "sys/fs/cgroup" / folder / name
            where.mkdir(parents=True, exist_ok=True)
            (proc / str(container.pid)).mkdir(exist_ok=True)
            lines = (
                f"9:memory:/docker/{name}\n0::/\n" if legacy else f"0::/system.slice/docker.scope/{name}\n"
            )
            (proc / str(container.pid) / "cgroup").write_text(lines)
            # Pages of files are the system's.
            total = "memory.usage_in_bytes" if legacy else "memory.current"
            (where / total).write_text(f"{container.used + 30 * MIB}\n")
            (where / "memory.stat").write_text(
                f"anon 1\nactive_file 7\n{prefix}inactive_file {10 * MIB}\n{prefix}active_file {20 * MIB}\n"
            )

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        self.place()
        return self.host.run(self.srv / "apps/status.sh", *words)

    def checks(self) -> dict[str, dict[str, str | None]]:
        """Each check by its name; the form for machines is looked at on the way, and that the exit code goes with it."""
        ran = self.run("--json")
        assert ran.stderr == ""
        found = json.loads(ran.stdout)
        assert found["schema"] == 1
        assert found.keys() == {"schema", "generated", "checks"}
        assert all(check.keys() == {"name", "state", "detail", "since"} for check in found["checks"])
        by_name = {check["name"]: check for check in found["checks"]}
        assert len(by_name) == len(found["checks"])
        states = {check["state"] for check in found["checks"]}
        assert states <= {"ok", "warn", "fail", "unknown"}
        assert ran.returncode == (1 if states & {"fail", "unknown"} else 0)
        return by_name

    def states(self) -> Mapping[str, str]:
        """State by name."""
        return {name: str(check["state"]) for name, check in self.checks().items()}

    def asked_of_redis(self) -> str:
        return (self.host.folder / "answers/asked").read_text(encoding="utf-8")
