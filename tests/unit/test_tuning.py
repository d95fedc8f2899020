"""Numbers from the shape of a machine: they fit, they grow with it, and docs/tuning.md shows what they are."""

import os
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings import Settings, SettingsError, parse
from components.tuning import (
    RESERVED_CONNECTIONS,
    Disk,
    Machine,
    Profile,
    Said,
    Sizes,
    busy,
    fixed_kib,
    kernel_parameters,
    kib,
    pgbouncer_parameters,
    postgres_parameters,
    redis_parameters,
    sizes,
)
from components.tuning_faults import machine_faults, pgbouncer_faults, postgres_faults, redis_faults
from tests.unit.conftest import OCI_HOST
from tests.unit.tuning_peers import Row, pgtune, pigsty

PAGE = Path(__file__).parents[2] / "docs/tuning.md"
HERE = "central-data-platform: "
# Memory parameters, with the unit of a bare number in KiB.
MEMORY = {
    "shared_buffers": 8,
    "wal_buffers": 8,
    "effective_cache_size": 8,
    "work_mem": 1,
    "maintenance_work_mem": 1,
    "autovacuum_work_mem": 1,
}


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """From 1 CPU and 1 GiB to 80 and 512, with the tenants that fit beside the three."""
    memory = draw(st.integers(1024, 512 * 1024))
    # Such as monitoring; its containers leave the three what a machine of 1 GiB has.
    others = draw(
        st.dictionaries(
            st.sampled_from(["monitoring", "Grafana"]), st.integers(16, (memory - 1000) // 8 + 16)
        )
    )
    tenants = {"the WAL receiver": 64} | (others if memory >= 2048 else {})
    return Machine(
        cpus=draw(st.integers(1, 80)),
        memory=memory,
        disk_gib=draw(st.integers(5, 32_768)),
        disk=draw(st.sampled_from(get_args(Disk))),
        profile=draw(st.sampled_from(get_args(Profile))),
        tenants=tenants,
    )


def shape(cpus: int, gib: int, **other: Any) -> Machine:
    return Machine(cpus=cpus, memory=gib * 1024, **{"disk_gib": 100, **other})


def all_faults(machine: Machine, limits: Sizes) -> list[str]:
    return [
        *machine_faults(machine, limits, kernel_parameters(machine)),
        *postgres_faults(machine, limits, postgres_parameters(machine, limits, {})),
        *redis_faults(limits, redis_parameters(machine, limits)),
        *pgbouncer_faults(limits),
    ]


@given(machines())
def test_what_is_derived_contradicts_nothing(machine: Machine) -> None:
    assert all_faults(machine, sizes(machine)) == []


@pytest.mark.parametrize("profile", get_args(Profile))
@pytest.mark.parametrize("disk", get_args(Disk))
@pytest.mark.parametrize(("cpus", "gib"), [(1, 1), (2, 2), (1, 64), (80, 80), (80, 512)])
def test_it_works_from_the_smallest_to_the_largest(cpus: int, gib: int, disk: Disk, profile: Profile) -> None:
    machine = shape(cpus, gib, disk=disk, profile=profile)
    limits = sizes(machine)
    assert all_faults(machine, limits) == []
    # Most of a machine is the databases', and no container starves.
    assert limits.postgres + limits.redis >= machine.memory * 0.55
    assert limits.postgres >= 256
    assert limits.maxmemory >= 32
    assert limits.max_clients >= 100


@given(machines())
def test_all_that_is_given_out_is_less_than_there_is(machine: Machine) -> None:
    limits = sizes(machine)
    given_out = limits.postgres + limits.redis + limits.pgbouncer + sum(machine.tenants.values())
    assert given_out + limits.system <= machine.memory
    assert limits.shm <= limits.postgres
    assert limits.maxmemory * 2 <= limits.redis
    assert limits.pool_size + RESERVED_CONNECTIONS <= limits.max_connections


@given(machines())
def test_no_value_is_above_its_container(machine: Machine) -> None:
    limits = sizes(machine)
    found = postgres_parameters(machine, limits, {})
    memory = {name: kib(name, found[name], unit) for name, unit in MEMORY.items()}
    assert all(0 < value < limits.postgres * 1024 for value in memory.values())
    assert memory["shared_buffers"] < memory["effective_cache_size"]
    # All queries that really run, each with a hash of twice work_mem.
    assert fixed_kib(found) + busy(machine) * 2 * memory["work_mem"] <= limits.postgres * 1024
    assert kib("", found["min_wal_size"]) <= kib("", found["max_wal_size"])
    assert kib("", found["max_wal_size"]) <= max(256 * 1024, machine.disk_gib * 1024 * 1024 // 20)
    assert int(found["max_parallel_workers_per_gather"]) <= int(found["max_parallel_workers"])
    assert int(found["max_parallel_workers"]) <= int(found["max_worker_processes"])
    assert int(found["max_parallel_workers"]) == machine.cpus
    redis = redis_parameters(machine, limits)
    assert limits.maxmemory + int(redis["maxmemory-clients"].removesuffix("mb")) <= limits.redis
    assert int(redis["io-threads"]) <= max(1, machine.cpus // 4)


@given(machines(), st.integers(1, 4096))
def test_no_memory_value_shrinks_when_the_memory_grows(machine: Machine, more: int) -> None:
    larger = Machine(**{**vars(machine), "memory": machine.memory + more})
    before, after = sizes(machine), sizes(larger)
    shrunk = {name for name, value in vars(before).items() if value > vars(after)[name]}
    assert not shrunk
    old, new = postgres_parameters(machine, before, {}), postgres_parameters(larger, after, {})
    assert not [
        name for name, unit in MEMORY.items() if kib(name, old[name], unit) > kib(name, new[name], unit)
    ]
    least, most = redis_parameters(machine, before), redis_parameters(larger, after)
    for name in ("maxmemory-clients", "auto-aof-rewrite-min-size"):
        assert int(least[name].removesuffix("mb")) <= int(most[name].removesuffix("mb"))
    small, large = kernel_parameters(machine), kernel_parameters(larger)
    assert not [name for name in small if int(small[name]) > int(large[name])]


NUMBER = r"\d+(\.\d+)?"


@given(machines())
def test_every_value_is_a_whole_number_a_size_or_a_word(machine: Machine) -> None:
    limits = sizes(machine)
    assert all(type(value) is int for value in vars(limits).values())
    found = postgres_parameters(machine, limits, {})
    fractions = {
        "random_page_cost",
        "checkpoint_completion_target",
        "autovacuum_vacuum_scale_factor",
        "autovacuum_analyze_scale_factor",
    }
    for name, value in found.items():
        assert re.fullmatch(NUMBER if name in fractions else r"\d+(kB|MB|min)?|on|off|try|lz4", value), name
    for name, value in redis_parameters(machine, limits).items():
        assert re.fullmatch(r"\d+(mb)?|yes", value), name
    for value in [*pgbouncer_parameters(limits).values(), *kernel_parameters(machine).values()]:
        assert re.fullmatch(r"\d+", value)


@given(machines(), st.integers(256, 400_000), st.integers(64, 40_000), st.integers(20, 10_000))
def test_what_is_said_is_taken_and_moves_no_other_container(
    machine: Machine, postgres: int, redis: int, connections: int
) -> None:
    usual = sizes(machine)
    said = sizes(machine, Said(postgres=postgres, max_connections=connections))
    assert (said.postgres, said.max_connections) == (postgres, connections)
    assert (said.redis, said.pgbouncer, said.system) == (usual.redis, usual.pgbouncer, usual.system)
    # What follows from it fits into it.
    assert not list(postgres_faults(machine, said, postgres_parameters(machine, said, {})))
    assert said.pool_size + RESERVED_CONNECTIONS <= connections
    other = sizes(machine, Said(redis=redis))
    assert (other.redis, other.maxmemory * 2 <= redis, other.postgres) == (redis, True, usual.postgres)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512 * 1024),
        ("1GB", 1024**2),
        ("64kB", 64),
        ("16", 128),
        ("512 MB", 512 * 1024),
        ("1TB", 1024**3),
        ("-1", -1),
    ],
)
def test_a_size_is_read_as_postgres_reads_it(text: str, size: int) -> None:
    assert kib("x", text, unit=8) == size


# --- what an operator may say ---


def read(host: dict[str, Any] | None = None, **raw: Any) -> Settings:
    return parse(Settings, {"host": host or {"kind": "local"}, **raw}, where="central-data-platform:")


def test_a_machine_in_oci_is_known_by_its_shape() -> None:
    small, double = (
        read({**OCI_HOST, "shape": f"VM.Standard.{a}.Flex", "ocpus": 4, "memoryGib": 24})
        for a in ("A1", "A2")
    )
    assert (small.machine.cpus, double.machine.cpus) == (4, 8)
    assert small.machine == shape(4, 24, disk="network")
    assert read({**OCI_HOST, "dataVolumeVpus": 0}).machine.disk == "hdd"
    assert small.postgres.memory == sizes(small.machine).postgres
    assert small.tuning.kernel["vm.overcommit_memory"] == "1"


def test_this_machine_is_what_is_said_of_it_and_its_kernel_is_left_alone() -> None:
    said = read(
        {"kind": "local", "cpus": 8, "memoryGib": 32, "diskGib": 200},
        tuning={"disk": "nvme", "profile": "mixed"},
    )
    assert said.machine == shape(8, 32, disk="nvme", disk_gib=200, profile="mixed")
    assert said.postgres.parameters["effective_io_concurrency"] == "1000"
    assert said.tuning.kernel == {}


def test_the_local_defaults_are_modest() -> None:
    plain = read()
    assert (plain.postgres.memory, plain.redis.memory, plain.pgbouncer.memory) == (1536, 512, 128)
    assert (plain.postgres.max_connections, plain.pgbouncer.pool_size, plain.pgbouncer.max_clients) == (
        100,
        20,
        500,
    )
    assert plain.redis.maxmemory == 256


@pytest.mark.parametrize(
    "postgres",
    [{"memory": 512}, {"memory": 512, "maxConnections": 200}, {"memory": 256, "maxConnections": 10_000}],
)
def test_a_small_postgres_stays_legal(postgres: dict[str, int]) -> None:
    assert read(postgres=postgres).postgres.parameters["shared_buffers"] == f"{postgres['memory'] // 4}MB"


def test_a_parameter_of_the_operator_replaces_ours_and_the_rest_makes_room() -> None:
    usual = read().postgres.parameters
    more = read(
        postgres={"parameters": {"shared_buffers": "1GB", "jit": True, "cpu_tuple_cost": 0.02}}
    ).postgres.parameters
    assert (more["shared_buffers"], more["jit"], more["cpu_tuple_cost"]) == ("1GB", "on", "0.02")
    assert kib("", more["work_mem"]) <= kib("", usual["work_mem"])


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (
            {"postgres": {"parameters": {"shared_buffers": "1400MB", "work_mem": "64MB"}}},
            "shared_buffers 1400 + 252 for maintenance_work_mem, 3 x autovacuum_work_mem and wal_buffers + 8 queries x 2 x work_mem 64 = 2676 MiB, "
            "and postgres.memory is 1536 MiB; write less in postgres.parameters, or more memory",
        ),
        (
            {"postgres": {"parameters": {"shared_buffers": "2GB"}}},
            "shared_buffers 2048 + 252 for maintenance_work_mem, 3 x autovacuum_work_mem and wal_buffers + 8 queries x 2 x work_mem 0.0625 = 2301 MiB, "
            "and postgres.memory is 1536 MiB; write less in postgres.parameters, or more memory",
        ),
        (
            {"postgres": {"parameters": {"hash_mem_multiplier": "0.5"}}},
            "postgres.parameters.hash_mem_multiplier is '0.5'; write a number from 1 on",
        ),
        (
            {"postgres": {"parameters": {"work_mem": "much"}}},
            "postgres.parameters.work_mem is 'much'; write a size, such as 512MB",
        ),
        (
            {"redis": {"parameters": {"maxmemory-clients": "400mb"}}},
            "redis.maxmemory 256 MiB + maxmemory-clients 400 = 656 MiB, and redis.memory is 512 MiB; write less",
        ),
        (
            {"redis": {"parameters": {"maxmemory-clients": "some"}}},
            "redis.parameters.maxmemory-clients is 'some'; write a size such as 64mb, or a percentage of maxmemory",
        ),
        (
            {"pgbouncer": {"memory": 64, "maxClients": 2000}},
            "pgbouncer.maxClients 2000 x 48 KiB + 16 MiB = 109 MiB, and pgbouncer.memory is 64 MiB; write maxClients 1024 or less, or memory 109 or more",
        ),
        (
            {"host": {"kind": "local", "memoryGib": 2}, "postgres": {"memory": 1536}},
            "postgres.memory 1536 + redis.memory 336 + pgbouncer.memory 112 + the WAL receiver 64 + the system 512 = 2560 MiB, "
            "and host.memoryGib 2 is 2048 MiB; write less, or a bigger machine",
        ),
        (
            {"host": OCI_HOST, "tuning": {"kernel": {"vm.nr_hugepages": 2000}}},
            "postgres.memory 7168 + redis.memory 2304 + pgbouncer.memory 320 + the WAL receiver 64 + the system 2252 + vm.nr_hugepages 4000 "
            "= 16108 MiB, and host.memoryGib 12 is 12288 MiB; write less, or a bigger machine",
        ),
        (
            {"tuning": {"kernel": {"vm.swappiness": 10}}},
            "tuning.kernel is for a host in OCI: the kernel of this machine is not the platform's; leave it out, and set it with sysctl yourself",
        ),
    ],
)  # fmt: skip
def test_a_contradiction_shows_the_sum(raw: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**raw)
    assert str(caught.value) == HERE + sentence


@pytest.mark.parametrize(
    ("section", "given", "sentence"),
    [
        ("postgres", {"listen_addresses": "*"}, "listen_addresses is the platform's own, which lives by its value; leave it out"),
        ("postgres", {"fsync": False}, "fsync is the platform's own, which lives by its value; leave it out"),
        ("postgres", {"max_connections": 50}, "max_connections is the platform's setting maxConnections; write that, outside this map"),
        ("postgres", {"work_men": "4MB"}, "'work_men' is no parameter of PostgreSQL 17; did you mean work_mem?"),
        ("postgres", {"include": "/etc/x"}, "'include' is no parameter of PostgreSQL 17; write a name that it knows"),
        ("postgres", {"work_mem": "4MB\nfsync = off"}, None),
        ("postgres", {"work_mem": ["4MB"]}, None),
        ("postgres", {"work_mem": None}, None),
        ("redis", {"requirepass": "x"}, "requirepass is the platform's own, which lives by its value; leave it out"),
        ("redis", {"rename-command": "x"}, "rename-command is the platform's own, which lives by its value; leave it out"),
        ("redis", {"maxmemory": "1gb"}, "maxmemory is the platform's setting maxmemory; write that, outside this map"),
        ("redis", {"hz": '10"'}, None),
        ("pgbouncer", {"auth_type": "any"}, "auth_type is the platform's own, which lives by its value; leave it out"),
        ("pgbouncer", {"default_pool_size": 5}, "default_pool_size is the platform's setting poolSize; write that, outside this map"),
        ("pgbouncer", {"pkt_buff": 1}, "'pkt_buff' is no parameter of PgBouncer; did you mean pkt_buf?"),
        ("pgbouncer", {"server_check_query": "a\n%include x"}, None),
    ],
)  # fmt: skip
def test_what_is_not_the_operators_is_refused(
    section: str, given: dict[str, Any], sentence: str | None
) -> None:
    ((name, value),) = given.items()
    malformed = (
        f"{name} is {value!r}; write a number, true or false, or one line of plain text without quotes"
    )
    with pytest.raises(SettingsError) as caught:
        read(**{section: {"parameters": given}})
    assert str(caught.value) == f"central-data-platform:{section}.parameters: {sentence or malformed}"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "net.ipv4.ip_forward",
            0,
            "net.ipv4.ip_forward is the platform's own, which lives by its value; leave it out",
        ),
        ("swappiness", 1, "'swappiness' is no kernel parameter; write a name such as vm.swappiness"),
        (
            "vm.swappiness\nkernel.x",
            1,
            r"'vm.swappiness\nkernel.x' is no kernel parameter; write a name such as vm.swappiness",
        ),
        (
            "vm.swappiness",
            "1\n2",
            r"vm.swappiness is '1\n2'; write a number, true or false, or one line of plain text without quotes",
        ),
    ],
)
def test_a_kernel_parameter_is_one_name_and_one_value(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(OCI_HOST, tuning={"kernel": {name: value}})
    assert str(caught.value) == f"central-data-platform:tuning.kernel: {sentence}"


# --- the page ---

MACHINES = [(1, 1), (2, 4), (4, 24), (16, 64), (80, 512)]
DISK_GIB = 200


def ours(cpus: int, gib: int) -> Row:
    machine = shape(cpus, gib, disk_gib=DISK_GIB)
    limits = sizes(machine)
    found = postgres_parameters(machine, limits, {}) | {"max_connections": str(limits.max_connections)}
    return {
        name: kib(name, text, 1) // 1024 if re.search("[kMG]B$", text) else int(text)
        for name, text in found.items()
        if re.fullmatch(r"\d+([kMG]B)?", text)
    }


def comparison() -> str:
    """Markdown: for each machine our value, pgtune's and Pigsty's."""
    rows = [(ours(c, g), pgtune(c, g * 1024), pigsty(c, g * 1024, DISK_GIB)) for c, g in MACHINES]
    head = (
        "| parameter (MiB, or a number) | " + " | ".join(f"{c} CPU / {g} GiB" for c, g in MACHINES) + " |\n"
    )
    lines = [
        f"| `{name}` | "
        + " | ".join(f"**{mine[name]}** / {second[name]} / {third[name]}" for mine, second, third in rows)
        + " |\n"
        for name in rows[0][1]
    ]
    return head + "|---" * (len(MACHINES) + 1) + "|\n" + "".join(lines)


def shares() -> str:
    """Markdown: what the containers have of each machine."""
    names = (
        "system",
        "postgres",
        "shm",
        "redis",
        "maxmemory",
        "pgbouncer",
        "max_connections",
        "pool_size",
        "max_clients",
    )
    found = [vars(sizes(shape(c, g, disk_gib=DISK_GIB))) for c, g in MACHINES]
    head = "| | " + " | ".join(f"{c} CPU / {g} GiB" for c, g in MACHINES) + " |\n"
    lines = [f"| `{name}` | " + " | ".join(str(one[name]) for one in found) + " |\n" for name in names]
    return head + "|---" * (len(MACHINES) + 1) + "|\n" + "".join(lines)


@pytest.mark.parametrize("name", ["comparison", "shares"])
def test_the_page_shows_what_the_function_says(name: str) -> None:
    table = {"comparison": comparison, "shares": shares}[name]()
    text = PAGE.read_text(encoding="utf-8")
    pattern = rf"(<!-- {name}: UPDATE_GOLDEN=1 writes it -->\n)(.*?)(<!-- end -->)"
    if os.environ.get("UPDATE_GOLDEN"):
        text = re.sub(pattern, lambda found: found[1] + table + found[3], text, flags=re.DOTALL)
        PAGE.write_text(text, encoding="utf-8")
    found = re.search(pattern, text, re.DOTALL)
    assert found
    assert found[2] == table
