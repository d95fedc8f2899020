"""From the shape of the machine to numbers: memory for each container, and parameters of PostgreSQL, Redis, PgBouncer and the kernel.

Pure functions of plain data. Sizes are MiB unless a name says KiB. Each rule has its source beside it:
- [pgtune] https://github.com/le0pard/pgtune, src/features/configuration/configurationSlice.js
- [pigsty] https://github.com/pgsty/pigsty, roles/pgsql/templates/oltp.yml and olap.yml
- [pg] https://www.postgresql.org/docs/17/runtime-config.html
- [redis] redis.conf of 7.2, and https://redis.io/docs/latest/operate/oss_and_stack/management/admin/
- [pgbouncer] https://www.pgbouncer.org/config.html
docs/tuning.md sets the results beside those of pgtune and Pigsty.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Profile = Literal["oltp", "mixed", "analytics"]
Disk = Literal["ssd", "nvme", "network", "hdd"]

# What the WAL receiver may have. What it writes is counted too, and the system takes that back.
WAL_MEMORY = 64
# Left for platform_admin, backups and PgBouncer's own look-ups beside one full pool.
RESERVED_CONNECTIONS = 10
# PgBouncer without clients, and each of them: 2 KiB [pgbouncer, FAQ], two buffers of pkt_buf, and what OpenSSL holds for a connection.
POOLER_MEMORY, KIB_PER_CLIENT = 16, 48
# Of a size of vm.nr_hugepages, where pages have 4 KiB, as those of Oracle Linux' kernel for arm64 do.
HUGE_PAGE = 2


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is: processors as Linux counts them, memory, and the disk of the data (GiB)."""

    cpus: int
    memory: int
    disk_gib: int
    disk: Disk = "ssd"
    profile: Profile = "oltp"
    # Memory of containers beside the three, by their names.
    tenants: Mapping[str, int] = field(default_factory=lambda: {"the WAL receiver": WAL_MEMORY})


@dataclass(frozen=True, kw_only=True)
class Said:
    """What an operator has set. Nothing of it is changed; the rest makes room for it."""

    system: int | None = None
    postgres: int | None = None
    shm: int | None = None
    redis: int | None = None
    maxmemory: int | None = None
    pgbouncer: int | None = None
    max_connections: int | None = None
    pool_size: int | None = None
    max_clients: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Memory limits of the containers, what is left to the system, and the numbers of connections."""

    system: int
    postgres: int
    shm: int
    redis: int
    maxmemory: int
    pgbouncer: int
    max_connections: int
    pool_size: int
    max_clients: int


def sizes(machine: Machine, said: Said | None = None) -> Sizes:
    """The machine's memory, dealt out: first the system and the smaller containers, then a quarter to Redis, the rest to PostgreSQL.

    Without `said` no size shrinks when the machine's memory grows, and all fit into it from 1 GiB on. What is said of one container
    moves no other one: a restart of PostgreSQL because Redis was given more would be a surprise. machine_faults() has the sum.
    """
    said = said or Said()
    # In KiB, so that rounding does not make a bigger machine give less.
    system = system_kib(machine.memory) if said.system is None else said.system * 1024
    taken = system + sum(machine.tenants.values()) * 1024 + _pooler_share_kib(machine)
    rest = max(0, machine.memory * 1024 - taken) // 1024
    # A cache and queues beside the database; a bigger one is a decision, and is said.
    share = min(rest // 4, 32 * 1024)
    # A background save may copy what changes meanwhile: half of the container is data [redis: "up to 2 times the memory normally used"].
    redis = _or(said.redis, max(64, _readable(share), 2 * (said.maxmemory or 0)))
    postgres = _or(said.postgres, max(256, _readable(rest - share)))
    connections = _or(said.max_connections, _max_connections(machine, postgres))
    clients, pooler = _clients(machine, said)
    return Sizes(
        system=system // 1024,
        postgres=postgres,
        # Parallel hash joins keep their tables there: work_mem x hash_mem_multiplier for each worker [pg, hash_mem_multiplier].
        shm=_or(said.shm, max(64, postgres // 4)),
        redis=redis,
        maxmemory=_or(said.maxmemory, redis // 2),
        pgbouncer=pooler,
        max_connections=connections,
        pool_size=_or(said.pool_size, _pool_size(machine, connections)),
        max_clients=clients,
    )


def system_kib(memory: int) -> int:
    """What the system, Docker and backups keep of a machine (MiB): a quarter of 4 GiB, a fifth of the next 4, a tenth of the next 8, 6 % up to
    128 GiB, 2 % beyond; what Google's GKE reserves on a node (https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes)."""
    kept, lower = 0, 0
    for upper, percent in ((4, 25), (8, 20), (16, 10), (128, 6), (1 << 20, 2)):
        kept += max(0, min(memory, upper * 1024) - lower * 1024) * 1024 * percent
        lower = upper
    return kept // 100


def _clients(machine: Machine, said: Said) -> tuple[int, int]:
    """Clients that PgBouncer takes, and its memory: they cost little, so it is the machine that limits what they may ask."""
    clients = _or(said.max_clients, max(100, min(5000, machine.memory // 6) // 50 * 50))
    if said.pgbouncer is None:
        return clients, -(-(64 + clients // 8) // 16) * 16
    if said.max_clients is None:
        clients = min(clients, (said.pgbouncer - POOLER_MEMORY) * 1024 // KIB_PER_CLIENT)
    return clients, said.pgbouncer


def _pooler_share_kib(machine: Machine) -> int:
    """At least what _clients() gives it, without its steps."""
    return (64 + 16) * 1024 + max(100 * 128, min(5000 * 1024, machine.memory * 1024 // 6) // 8)


def _max_connections(machine: Machine, postgres: int) -> int:
    """Clients wait in PgBouncer, so this is far below pgtune's for many processors in use, and at most Pigsty's 500 behind a pooler.

    Analyses are few and large [pgtune: 40 for a data warehouse].
    """
    each, least, most = (20, 40, 200) if machine.profile == "analytics" else (50, 100, 500)
    return min(max(least, min(most, each * machine.cpus)), max(least // 2, postgres // 5))


def _pool_size(machine: Machine, connections: int) -> int:
    """For who is no application. What helps is about twice the processors and the disk's parallelism
    (https://wiki.postgresql.org/wiki/Number_Of_Database_Connections); several pools share max_connections."""
    return max(1, min(10 * machine.cpus, connections // 5, connections - RESERVED_CONNECTIONS))


def busy(machine: Machine) -> int:
    """Queries that really run at the same time: twice what is above for each processor."""
    return max(8, 4 * machine.cpus)


def postgres_parameters(machine: Machine, limits: Sizes, said: Mapping[str, str]) -> dict[str, str]:
    """PostgreSQL's parameters for a container with such limits; `said` ones are in it, and leave the others less or more.

    Raises ValueError with a sentence for a size of `said` that is none.
    """
    memory, cpus, disk = limits.postgres, machine.cpus, machine.disk
    analytics, oltp = machine.profile == "analytics", machine.profile == "oltp"
    shared = memory // 4
    workers = max(8, cpus)
    # The WAL between checkpoints is on the same disk as the data: a twentieth of it at most [pigsty: 1/5, with 1/20 at least],
    # and no more than pgtune's 8 GiB for OLTP, 4 for a mixed load, 16 for a data warehouse.
    wal = max(
        256,
        min(
            machine.disk_gib * 1024 // 20, {"oltp": 8192, "mixed": 4096, "analytics": 16384}[machine.profile]
        ),
    )
    chosen = {
        "shared_buffers": _mb(shared),
        # With many pages, tables of pages are large for each connection. Without vm.nr_hugepages it does without [pgtune: from 2 GiB on].
        "huge_pages": "try" if shared >= 2048 else "off",
        "effective_cache_size": _mb(memory * 3 // 4),
        "maintenance_work_mem": _mb(max(16, min(8192, memory // (8 if analytics else 16)))),
        # One of several workers, beside whoever makes an index [pgtune: 2 GiB at most].
        "autovacuum_work_mem": _mb(max(16, min(2048, memory // 32))),
        "wal_buffers": _mb(max(1, min(16, shared // 32))),
        "min_wal_size": _mb(max(80, wal // 4)),
        "max_wal_size": _mb(wal),
        # Full pages are written once for each checkpoint [pigsty]. After a crash, that much more WAL is read again.
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "wal_compression": "lz4",
        "random_page_cost": "4" if disk == "hdd" else "1.1",
        "effective_io_concurrency": {"hdd": "2", "ssd": "200", "network": "300", "nvme": "1000"}[disk],
        "maintenance_io_concurrency": "10" if disk == "hdd" else "100",
        "max_worker_processes": str(workers),
        "max_parallel_workers": str(cpus),
        "max_parallel_workers_per_gather": str(min(cpus // 2, 16 if analytics else 4)),
        "max_parallel_maintenance_workers": str(min(cpus // 2, 4)),
        "default_statistics_target": "500" if analytics else "100",
        # Compiling costs more than a short query takes [pgtune].
        "jit": "on" if analytics else "off",
        "autovacuum_max_workers": str(5 if cpus >= 32 else 4 if cpus >= 16 else 3),
        # At a cost of 20 for a page of 8 KiB and a rest of 2 ms, 200 are 40 MB/s of writes at most [pg]: near what a volume of 100 GiB in OCI does.
        "autovacuum_vacuum_cost_limit": {"hdd": "200", "network": "200", "ssd": "1000", "nvme": "2000"}[disk],
        # Large tables are cleaned before a fifth of them is dead [pigsty].
        "autovacuum_vacuum_scale_factor": "0.2" if analytics else "0.08",
        "autovacuum_analyze_scale_factor": "0.1" if analytics else "0.04",
    }  # fmt: skip
    chosen |= said
    if "work_mem" not in said:
        # pgtune's, with the workers of a parallel query counted; never less than PostgreSQL's own 4 MB, where the container has it.
        usual = max(0, memory * 1024 - _shared(chosen)) // ((limits.max_connections + workers) * 3)
        spare = max(0, memory * 1024 - fixed_kib(chosen)) // int(busy(machine) * hash_multiplier(chosen))
        work = max(64, min(max(4096, usual if oltp else usual // 2), spare))
        # Whole MB where there are any.
        chosen["work_mem"] = _mb(work // 1024) if work >= 1024 else f"{work}kB"
    return chosen


def _shared(parameters: Mapping[str, str]) -> int:
    return kib("shared_buffers", parameters["shared_buffers"], unit=8)


def fixed_kib(parameters: Mapping[str, str]) -> int:
    """What PostgreSQL takes before a query sorts: shared_buffers, wal_buffers, one maintenance and all autovacuum workers."""
    maintenance = kib("maintenance_work_mem", parameters["maintenance_work_mem"])
    vacuum = kib("autovacuum_work_mem", parameters["autovacuum_work_mem"])
    each = maintenance if vacuum < 0 else vacuum
    buffers = max(0, kib("wal_buffers", parameters["wal_buffers"], unit=8))
    return _shared(parameters) + buffers + maintenance + each * whole("autovacuum_max_workers", parameters)


def hash_multiplier(parameters: Mapping[str, str]) -> float:
    """How many times work_mem a hash may take; PostgreSQL's own is 2 [pg]."""
    text = parameters.get("hash_mem_multiplier", "2")
    if not re.fullmatch(r"\d{1,4}(\.\d+)?", text) or float(text) < 1:
        raise ValueError(f"hash_mem_multiplier is {text!r}; write a number from 1 on")
    return float(text)


def whole(name: str, parameters: Mapping[str, str]) -> int:
    """A parameter that is a number. Raises ValueError with a sentence."""
    if not re.fullmatch(r"\d{1,9}", parameters[name]):
        raise ValueError(f"{name} is {parameters[name]!r}; write a whole number")
    return int(parameters[name])


def kib(name: str, text: str, unit: int = 1) -> int:
    """A size as PostgreSQL reads it, where a bare number counts `unit` KiB; -1 stays. Raises ValueError with a sentence."""
    found = re.fullmatch(r"(\d{1,12})(?: *(kB|MB|GB|TB))?", text)
    if text == "-1":
        return -1
    if not found:
        raise ValueError(f"{name} is {text!r}; write a size, such as 512MB")
    number, word = int(found[1]), found[2]
    return number * (1024 ** ("kB", "MB", "GB", "TB").index(word) if word else unit)


def redis_parameters(machine: Machine, limits: Sizes) -> dict[str, str]:
    """Redis' parameters beside maxmemory. `hz` and activedefrag stay as they come: they cost on every machine."""
    return {
        # "Only in machines that have at least 4 or more cores, more than 8 is unlikely to help" [redis]. They spin while they
        # work, and PostgreSQL needs the processors too, so a quarter of them.
        "io-threads": str(max(1, min(8, machine.cpus // 4))),
        # Buffers of all clients together, out of what is not data [redis: client eviction].
        "maxmemory-clients": f"{max(8, (limits.redis - limits.maxmemory) // 4)}mb",
        # Large values are freed by a thread of its own, where there is a processor for it.
        **({f"lazyfree-lazy-{what}": "yes" for what in ("eviction", "expire", "server-del", "user-del")} if machine.cpus > 1 else {}),
        # A rewrite forks; with more data, not at each 64 MB.
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": f"{max(64, limits.maxmemory // 4)}mb",
    }  # fmt: skip


def pgbouncer_parameters(limits: Sizes) -> dict[str, str]:
    """PgBouncer's parameters beside pool and clients. No reserve pool: an application's pool is what its role may have. One process, so no
    so_reuseport."""
    # All clients may come at once, after a restart; Linux caps it at net.core.somaxconn of the container, 4096.
    return {"listen_backlog": str(max(128, min(4096, limits.max_clients)))}


def kernel_parameters(machine: Machine) -> dict[str, str]:
    """Kernel parameters of a machine that is the platform's own. No vm.nr_hugepages: a machine that is made smaller would start with most of its
    memory set aside for them. Transparent huge pages are left alone: Redis turns them off for itself (disable-thp)."""
    # What has to be written at once when a file is synced: seconds of the disk, not minutes (a percentage of the memory is the default).
    most = {"hdd": 256, "network": 256, "ssd": 1024, "nvme": 2048}[machine.disk]
    dirty = min(most, machine.memory // 8) << 20
    return {
        # A fork for a background save must not fail for want of memory that it will not use [redis].
        "vm.overcommit_memory": "1",
        "vm.swappiness": "1",
        "vm.dirty_background_bytes": str(dirty // 4),
        "vm.dirty_bytes": str(dirty),
    }


def _or(said: int | None, otherwise: int) -> int:
    return otherwise if said is None else said


def _readable(size: int) -> int:
    """A size down to five binary digits."""
    size = max(0, size)
    step = 1 << max(0, size.bit_length() - 5)
    return size // step * step


def _mb(size: int) -> str:
    return f"{size}MB"
