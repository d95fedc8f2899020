"""Numbers that contradict each other, with the sum shown: one sentence a fault. Sizes are MiB. Pure functions."""

import re
from collections.abc import Iterator, Mapping

from components.tuning import (
    HUGE_PAGE,
    KIB_PER_CLIENT,
    POOLER_MEMORY,
    RESERVED_CONNECTIONS,
    Machine,
    Sizes,
    busy,
    fixed_kib,
    hash_multiplier,
    kib,
    whole,
)


def machine_faults(machine: Machine, limits: Sizes, kernel: Mapping[str, str]) -> Iterator[str]:
    """Whether the containers, the system and pages set aside fit into the machine's memory."""
    parts = {
        "postgres.memory": limits.postgres,
        "redis.memory": limits.redis,
        "pgbouncer.memory": limits.pgbouncer,
        **machine.tenants,
        "the system": limits.system,
    }
    # No container's limit counts them (hugetlb is not in memory.max).
    pages_said = kernel.get("vm.nr_hugepages", "0")
    if not re.fullmatch(r"\d{1,9}", pages_said):
        yield f"tuning.kernel.vm.nr_hugepages is {pages_said!r}; write a whole number"
        return
    pages = int(pages_said)
    parts |= {"vm.nr_hugepages": pages * HUGE_PAGE} if pages else {}
    if (total := sum(parts.values())) > machine.memory:
        yield f"{_sum(parts)} = {total} MiB, and host.memoryGib {machine.memory // 1024} is {machine.memory} MiB; write less, or a bigger machine"


def postgres_faults(machine: Machine, limits: Sizes, parameters: Mapping[str, str]) -> Iterator[str]:
    """Whether what PostgreSQL may take at the same time fits into its container: what is fixed, and work_mem of the queries that really run."""
    if limits.shm > limits.postgres:
        yield f"postgres.shmSize {limits.shm} MiB is above postgres.memory {limits.postgres} MiB, of which it is a part; write less"
    try:
        queries = min(limits.max_connections, busy(machine))
        work, fixed = kib("work_mem", parameters["work_mem"]), fixed_kib(parameters)
        total = fixed + int(queries * work * hash_multiplier(parameters))
        buffers = kib("shared_buffers", parameters["shared_buffers"], unit=8)
        workers = whole("autovacuum_max_workers", parameters)
    except ValueError as fault:
        yield f"postgres.parameters.{fault}"
        return
    if total > limits.postgres * 1024:
        rest = fixed - buffers
        yield (
            f"shared_buffers {_mib(buffers)} + {_mib(rest)} for maintenance_work_mem, {workers} x autovacuum_work_mem and wal_buffers + {queries} queries x "
            f"{parameters.get('hash_mem_multiplier', '2')} x work_mem {_mib(work)} = {_mib(total)} MiB, and postgres.memory is {limits.postgres} MiB; "
            "write less in postgres.parameters, or more memory"
        )


def redis_faults(limits: Sizes, parameters: Mapping[str, str]) -> Iterator[str]:
    """Whether data, clients and a background save fit into Redis' container."""
    if limits.maxmemory * 3 > limits.redis * 2:
        yield (
            f"redis.maxmemory {limits.maxmemory} MiB is more than two thirds of redis.memory {limits.redis} MiB: a background save needs the rest; "
            f"write maxmemory {limits.redis * 2 // 3} or less"
        )
    text = parameters["maxmemory-clients"]
    found = re.fullmatch(r"(\d{1,15})(%|[kmg]b?)?", text.lower())
    if not found:
        yield f"redis.parameters.maxmemory-clients is {text!r}; write a size such as 64mb, or a percentage of maxmemory"
        return
    number, unit = int(found[1]), found[2] or ""
    clients = (
        limits.maxmemory * number // 100
        if unit == "%"
        else (number << {"": 0, "k": 10, "m": 20, "g": 30}[unit[:1]]) >> 20
    )
    if limits.maxmemory + clients > limits.redis:
        yield f"redis.maxmemory {limits.maxmemory} MiB + maxmemory-clients {clients} = {limits.maxmemory + clients} MiB, and redis.memory is {limits.redis} MiB; write less"


def pgbouncer_faults(limits: Sizes) -> Iterator[str]:
    """Whether clients fit into PgBouncer's container, and its pool into PostgreSQL's connections."""
    need = POOLER_MEMORY + limits.max_clients * KIB_PER_CLIENT // 1024
    if need > limits.pgbouncer:
        yield (
            f"pgbouncer.maxClients {limits.max_clients} x {KIB_PER_CLIENT} KiB + {POOLER_MEMORY} MiB = {need} MiB, and pgbouncer.memory is "
            f"{limits.pgbouncer} MiB; write maxClients {max(1, (limits.pgbouncer - POOLER_MEMORY) * 1024 // KIB_PER_CLIENT)} or less, or memory {need} or more"
        )
    most = limits.max_connections - RESERVED_CONNECTIONS
    if limits.pool_size > most:
        yield (
            f"pgbouncer.poolSize {limits.pool_size} is above postgres.maxConnections {limits.max_connections} "
            f"less {RESERVED_CONNECTIONS} kept in reserve; write {most} or less"
        )


def _sum(parts: Mapping[str, int]) -> str:
    return " + ".join(f"{name} {size}" for name, size in parts.items())


def _mib(size_kib: int) -> str:
    return f"{size_kib / 1024:.10g}" if size_kib < 1024 else str(size_kib // 1024)
