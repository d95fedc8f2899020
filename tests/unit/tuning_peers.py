"""What pgtune and Pigsty choose for a machine, by their own formulas, to be set beside ours. Sizes are MiB.

pgtune: src/features/configuration/configurationSlice.js of le0pard/pgtune at 01bb6447 (2026), OLTP, Linux, PostgreSQL 17, SSD.
Pigsty: roles/pgsql/templates/oltp.yml of pgsty/pigsty at 05dd7a25, services by PgBouncer, pg_shared_buffer_ratio 0.25.
Both take the whole machine for PostgreSQL.
"""

import math

Row = dict[str, int]


def pgtune(cpus: int, memory: int) -> Row:
    """Without a number of processors below 4 it leaves PostgreSQL's defaults."""
    shared, connections = memory // 4, 300
    workers, gather = (cpus, min(4, math.ceil(cpus / 2))) if cpus >= 4 else (8, 2)
    return {
        "max_connections": connections,
        "shared_buffers": shared,
        "effective_cache_size": memory * 3 // 4,
        "work_mem": max(4, (memory - shared) // ((connections + workers) * 3)),
        "maintenance_work_mem": min(8192, memory // 16),
        "max_wal_size": 8192,
        "max_parallel_workers": workers,
        "max_parallel_workers_per_gather": gather,
    }


def pigsty(cpus: int, memory: int, disk_gib: int) -> Row:
    """Its WAL is a fifth of the disk."""
    shared, connections = math.ceil(memory * 0.25), 500
    twentieth = min(100, max(1, math.ceil(disk_gib / 20)))
    return {
        "max_connections": connections,
        "shared_buffers": shared,
        "effective_cache_size": memory - shared,
        "work_mem": min(1024, max(64, shared // connections)),
        "maintenance_work_mem": math.ceil(shared * 0.25),
        "max_wal_size": twentieth * 4 * 1024,
        "max_parallel_workers": max(2, math.ceil(cpus * 0.5)),
        "max_parallel_workers_per_gather": min(8, max(2, math.floor(cpus * 0.2))),
    }
