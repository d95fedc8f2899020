"""Read the configuration, open the host, place the platform on it, publish the addresses."""

import pulumi

from components import config
from components.application import summary
from components.hosts import open_host
from components.platform import CentralDataPlatform, PlatformArgs

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
pulumi.export("containers", platform.containers)
pulumi.export("images", platform.images)
pulumi.export("caCertificate", platform.ca_certificate)
pulumi.export("applications", {a.name: summary(a, settings.srv_root) for a in settings.application_list})
for key, value in host.outputs.items():
    pulumi.export(key, value)
