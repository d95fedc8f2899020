"""What is in the way is named, and what is ours is not."""

import errno
import os
import socket
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from scripts.workstation import machine, preflight, srv_root
from scripts.workstation.stack import LOCAL

SRV = Path("/srv")
PLAN = preflight.Wanted(
    stack="local",
    config=Path("/state/Pulumi.local.yaml"),
    srv_root=SRV,
    subnet=IPv4Network("172.28.0.0/24"),
    address="127.0.0.1",
    ports={"postgres": 5432, "redis": 6379, "pgbouncer": 6432},
)


def container(
    name: str, *, srv: str = "/srv", project: str = "postgres-stack", port: int = 0
) -> dict[str, Any]:
    bindings = {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]} if port else None
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.project.working_dir": f"{srv}/apps/postgres-stack",
    }
    return {
        "Name": f"/{name}",
        "Id": name * 8,
        "Config": {"Labels": labels},
        "HostConfig": {"PortBindings": bindings},
        "State": {"Running": True},
    }


def network(name: str, subnet: str, **labels: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Id": "0123456789abcdef",
        "Labels": labels,
        "IPAM": {"Config": [{"Subnet": subnet}]},
    }


OUR_NETWORK = network("central-data-platform", "172.28.0.0/24") | {
    "Labels": {"com.docker.compose.project": "postgres-stack"}
}


def test_nothing_in_the_way_of_a_platform_that_runs() -> None:
    found = preflight.Found(
        containers=[container("postgres-db", port=5432)],
        networks=[OUR_NETWORK, network("bridge", "172.17.0.0/16")],
        routes=[("br-0123456789ab", PLAN.subnet), ("eth0", IPv4Network("10.0.0.0/8"))],
        srv_root_owner="local",
        port_faults={5432: errno.EADDRINUSE},
    )
    assert preflight.faults(PLAN, found) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (preflight.Found(containers=[container("pgbouncer", project="other")]), "container named pgbouncer"),
        (
            preflight.Found(containers=[container("postgres-db", srv="/elsewhere")]),
            "container named postgres-db",
        ),
        (preflight.Found(networks=[network("central-data-platform", "10.9.0.0/24")]), "network named"),
        (preflight.Found(networks=[network("vpn", "172.16.0.0/12")]), "Docker's network vpn"),
        (preflight.Found(routes=[("wg0", IPv4Network("172.28.0.0/16"))]), "on wg0"),
        (preflight.Found(srv_root_owner=None), "not the platform's"),
        (preflight.Found(srv_root_owner="prod"), "belongs to stack 'prod'"),
        (
            preflight.Found(port_faults={6379: errno.EADDRINUSE}, listeners={6379: "redis (pid 7)"}),
            "redis (pid 7)",
        ),
        (
            preflight.Found(
                port_faults={6432: errno.EADDRINUSE}, containers=[container("other", srv="/x", port=6432)]
            ),
            "container other",
        ),
        (preflight.Found(port_faults={5432: errno.EADDRNOTAVAIL}), "no address of this machine"),
    ],
)
def test_one_sentence_names_what_is_in_the_way(found: preflight.Found, said: str) -> None:
    sentences = preflight.faults(PLAN, found)
    assert len(sentences) == 1
    assert said in sentences[0]


def test_settings_are_taken_over() -> None:
    plan = preflight.wanted(
        {
            "srvRoot": "/data/srv",
            "network": {"subnet": "10.1.2.0/24", "publishAddress": "10.0.0.5"},
            "postgres": {"port": 15432},
        },
        LOCAL,
    )
    assert plan.subnet == IPv4Network("10.1.2.0/24")
    assert plan.address == "10.0.0.5"
    assert plan.ports == {"postgres": 15432, "redis": 6379, "pgbouncer": 6432}


def test_routes_of_the_kernel() -> None:
    table = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "br0\t00001CAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert machine.parse_routes(table) == [("br0", IPv4Network("172.28.0.0/16"))]


def test_a_port_in_use_is_found_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert machine.listening_fault("127.0.0.1", port) == errno.EADDRINUSE
        assert f"(pid {os.getpid()})" in (machine.listener(port) or "")
    assert machine.listening_fault("127.0.0.1", port) is None


def test_who_owns_a_folder(tmp_path: Path) -> None:
    assert srv_root.owner_of(tmp_path / "missing") == ""
    assert srv_root.owner_of(tmp_path) == ""
    (tmp_path / "lost+found").mkdir()
    assert srv_root.owner_of(tmp_path) == ""
    (tmp_path / "precious").touch()
    assert srv_root.owner_of(tmp_path) is None
    (tmp_path / srv_root.MARKER).write_text("local\n")
    assert srv_root.owner_of(tmp_path) == "local"
    assert srv_root.owner_of(tmp_path / "precious") is None


def test_where_srv_root_goes(tmp_path: Path) -> None:
    assert srv_root.default("local", tmp_path, root=True) == tmp_path
    assert srv_root.default("local", tmp_path, root=False).name == "srv"
    (tmp_path / "precious").touch()
    assert srv_root.default("local", tmp_path, root=True) == srv_root.ROOT / "srv"
