"""Read the configuration, open the host, place the platform on it, publish the addresses."""

import pulumi

from components import config
from components.application import summary
from components.hosts import open_host
from components.monitoring import monitoring_addresses
from components.platform import CentralDataPlatform, PlatformArgs
from components.settings import PLATFORM_IMAGES

settings, catalogue, secrets = config.load()
host = open_host("host", settings)
platform = CentralDataPlatform(
    "platform", PlatformArgs(settings=settings, catalogue=catalogue, secrets=secrets, host=host)
)

address = settings.publish_address
pulumi.export("srvRoot", settings.srv_root)
pulumi.export("postgresAddress", f"{address}:{settings.postgres.port}")
pulumi.export("pgbouncerAddress", f"{address}:{settings.pgbouncer.port}")
pulumi.export("redisAddress", f"{address}:{settings.redis.port}")
for service, monitoring_address in monitoring_addresses(settings.monitoring).items():
    pulumi.export(service, monitoring_address)
pulumi.export("containers", platform.containers)
pulumi.export("images", platform.images)
# What a preview calls an image that changes: the digests above say nothing to a person.
used = (*PLATFORM_IMAGES, *settings.monitoring.images)
pulumi.export("versions", {name: catalogue.named(name).tag for name in used})
pulumi.export("caCertificate", platform.ca_certificate)
pulumi.export("applications", {a.name: summary(a, settings.srv_root) for a in settings.application_list})
for key, value in host.outputs.items():
    pulumi.export(key, value)
