"""The bridge network that the platform and its applications share."""

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components.hosts.base import Host
from components.render.service import COMPOSE_PROJECT, NETWORK
from components.settings import NetworkSettings
from components.stray import stray_hook


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Addresses, and where to make the network; `srv_root` tells our containers from others."""

    settings: NetworkSettings
    srv_root: str
    host: Host


class Network(pulumi.ComponentResource):
    """Docker network `central-data-platform`, labelled so that compose adopts it."""

    network_name: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("central-data-platform:components:Network", name, {}, opts)
        subnet, gateway = str(args.settings.subnet), str(args.settings.gateway_address)
        container_range = str(args.settings.container_range)
        ours = [NETWORK, COMPOSE_PROJECT, args.srv_root]
        room = args.host.run(
            f"{name}-room",
            "network-room.sh",
            "check",
            *ours,
            subnet,
            gateway,
            container_range,
            opts=pulumi.ResourceOptions(parent=self),
        )
        bridge = docker.Network(
            f"{name}-bridge",
            name=NETWORK,
            driver="bridge",
            # Explicit: what Docker would choose shows up as a difference.
            ipam_configs=[{"subnet": subnet, "gateway": gateway, "ip_range": container_range}],
            labels=[
                {"label": "com.docker.compose.network", "value": NETWORK},
                {"label": "com.docker.compose.project", "value": COMPOSE_PROJECT},
            ],
            # Applications are on it: docs/manual.md has the procedure for another subnet.
            opts=pulumi.ResourceOptions.merge(
                args.host.bound,
                pulumi.ResourceOptions(
                    parent=self,
                    provider=args.host.provider,
                    protect=True,
                    # Its name is fixed, so the old one has to go first.
                    delete_before_replace=True,
                    # And before it, all containers on it.
                    depends_on=[room],
                    hooks=stray_hook(name, args.host, "network-room.sh", "make", *ours),
                ),
            ),
        )
        self.network_name = bridge.name
        self.register_outputs({"networkName": self.network_name})
