"""A container of the platform: the image, compose's hash of the service, and the container with compose's labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components.config import Secrets
from components.hold import Hold
from components.hosts.base import Host
from components.render import service as text
from components.render.service import Service
from components.settings import Image, Settings, SettingsError
from components.stray import stray_hook


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """What each of the three services is made from.

    `image` comes from the catalogue, `network` is the Docker network's name, `after` must be done before the service's
    first file is written.
    """

    settings: Settings
    secrets: Secrets
    image: Image
    host: Host
    network: pulumi.Output[str]
    after: Sequence[pulumi.Resource]


def image_for(host: Host, image: Image) -> pulumi.Output[str]:
    """`repository@sha256:…` for the host's architecture. Ends the run with one sentence where there is none."""

    def reference(architecture: str) -> str:
        try:
            return image.reference(architecture)
        except SettingsError as error:
            raise pulumi.RunError(str(error)) from None

    return host.architecture.apply(reference)


class ServiceContainer(pulumi.ComponentResource):
    """One container, healthy when it has been made; `after` is what it needs to start, `hold` what has to be done last before that."""

    service: Service
    image: pulumi.Output[str]
    container: docker.Container

    def __init__(
        self,
        name: str,
        service: Service,
        args: ServiceArgs,
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
        hold: Hold | None = None,
    ) -> None:
        super().__init__("central-data-platform:components:ServiceContainer", name, {}, opts)
        self.service = service
        srv_root = args.settings.srv_root
        on_host = pulumi.ResourceOptions.merge(
            args.host.bound, pulumi.ResourceOptions(parent=self, provider=args.host.provider)
        )
        self.image = image_for(args.host, args.image)
        pulled = docker.RemoteImage(
            f"{name}-image",
            name=self.image,
            keep_locally=True,
            # Among them is that somebody has looked at the image.
            opts=pulumi.ResourceOptions.merge(on_host, pulumi.ResourceOptions(depends_on=args.after)),
        )
        config_hash = args.host.run(
            f"{name}-hash",
            "compose-hash.sh",
            service.name,
            stdin=self.image.apply(lambda image: text.service_text(service, image)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        labels = pulumi.Output.all(pulled.image_id, config_hash.stdout).apply(
            lambda known: (
                dict(service.labels)
                | text.compose_labels(
                    service.name, srv_root=srv_root, image_id=known[0], config_hash=known[1].strip()
                )
            )
        )
        if hold:
            after = [*after, hold(config_hash.stdout.apply(str.strip), [*after, pulled])]
        self.container = docker.Container(
            f"{name}-container",
            name=service.name,
            image=pulled.repo_digest,
            command=list(service.command),
            entrypoints=list(service.entrypoint) or None,
            user=service.user,
            restart="unless-stopped",
            memory=service.memory,
            # No swap for a database; and unset, what Docker makes of it shows up as a difference at each refresh.
            memory_swap=service.memory,
            shm_size=service.shm_size,
            stop_signal=service.stop_signal,
            stop_timeout=service.stop_grace_seconds,
            # Without it the provider kills at once, on a replacement and on a destroy, whatever stop_timeout says.
            destroy_grace_seconds=service.stop_grace_seconds,
            capabilities=docker.ContainerCapabilitiesArgs(
                drops=["ALL"], adds=[f"CAP_{c}" for c in service.capabilities] or None
            ),
            security_opts=list(service.security_options),
            envs=[f"{name}={value}" for name, value in service.environment] or None,
            log_driver="json-file",
            log_opts=text.LOG_OPTIONS,
            ports=[
                {"internal": container_port, "external": host_port, "ip": address, "protocol": "tcp"}
                for address, host_port, container_port in text.published(service)
            ]
            or None,
            volumes=[
                {"host_path": m.source, "container_path": m.target, "read_only": m.read_only}
                for m in service.mounts
            ],
            networks_advanced=[
                {"name": args.network, "aliases": [service.name], "ipv4_address": service.address}
            ],
            healthcheck={
                "tests": list(service.health_test),
                "interval": text.HEALTH_INTERVAL,
                "timeout": text.HEALTH_TIMEOUT,
                "start_period": service.health_start_period,
                "retries": text.HEALTH_RETRIES,
            },
            labels=labels.apply(_label_args),
            wait=True,
            # As long as PostgreSQL may need to replay its log after a crash.
            wait_timeout=300,
            opts=pulumi.ResourceOptions.merge(
                on_host,
                pulumi.ResourceOptions(
                    depends_on=after,
                    # Two containers cannot have one name, one port and one data directory.
                    delete_before_replace=True,
                    # The provider takes a changed health check and does nothing with it.
                    replace_on_changes=["healthcheck"],
                    hooks=stray_hook(
                        name,
                        args.host,
                        "remove-stray-container.sh",
                        service.name,
                        text.COMPOSE_PROJECT,
                        srv_root,
                        str(service.stop_grace_seconds),
                    ),
                ),
            ),
        )
        self.register_outputs({"image": self.image})


def _label_args(labels: dict[str, str]) -> list[docker.ContainerLabelArgs]:
    return [docker.ContainerLabelArgs(label=name, value=value) for name, value in sorted(labels.items())]
