"""The Object Storage bucket for off-site backups, and the host's right to it without a stored key."""

from dataclasses import dataclass

import pulumi
from pulumi_oci import identity, objectstorage

from components.host_settings import OciHostSettings
from components.settings import PROJECT

# An overwritten or deleted object can be had back for this long.
KEPT_VERSIONS_DAYS = "30"
ABANDONED_UPLOADS_DAYS = "7"


@dataclass(frozen=True, kw_only=True)
class BackupBucketArgs:
    """`instance_id` is the one that may write; identity resources are made in the home region by `home`.

    `emits_events`: a new object is an event, for oci_alerts.py.
    """

    settings: OciHostSettings
    instance_id: pulumi.Output[str]
    home: pulumi.ProviderResource
    emits_events: bool = False


class BackupBucket(pulumi.ComponentResource):
    """Private, versioned, protected."""

    bucket: pulumi.Output[str]
    namespace: pulumi.Output[str]

    def __init__(self, name: str, args: BackupBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"{PROJECT}:hosts:BackupBucket", name, {}, opts)
        settings = args.settings
        mine = pulumi.ResourceOptions(parent=self)
        identities = pulumi.ResourceOptions(parent=self, provider=args.home)
        # One tenancy may have several stacks, and its names are shared.
        full_name = f"{PROJECT}-{pulumi.get_stack()}"
        self.namespace = objectstorage.get_namespace_output(
            compartment_id=settings.compartment, opts=pulumi.InvokeOutputOptions(parent=self)
        ).namespace
        bucket = objectstorage.Bucket(
            f"{name}-bucket",
            compartment_id=settings.compartment,
            namespace=self.namespace,
            name=f"{full_name}-backups",
            access_type="NoPublicAccess",
            storage_tier="Standard",
            versioning="Enabled",
            object_events_enabled=args.emits_events,
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True),
        )
        self.bucket = bucket.name
        group = identity.DynamicGroup(
            f"{name}-host",
            compartment_id=settings.tenancy,
            name=f"{full_name}-host",
            description="The machine of the central data platform.",
            matching_rule=args.instance_id.apply(lambda instance: f"instance.id = '{instance}'"),
            opts=identities,
        )
        identity.Policy(
            f"{name}-policy",
            compartment_id=settings.compartment,
            name=f"{full_name}-backups",
            description="The platform's host writes its backups.",
            statements=pulumi.Output.all(group.name, bucket.name).apply(
                lambda names: host_statements(*names, compartment=settings.compartment)
            ),
            opts=identities,
        )
        # By itself, so that it is made at once: a policy takes effect some time after it was made.
        allowed = identity.Policy(
            f"{name}-service-policy",
            compartment_id=settings.compartment,
            name=f"{full_name}-lifecycle",
            description="Object Storage deletes old versions of the backups.",
            statements=bucket.name.apply(
                lambda name: [
                    service_statement(name, compartment=settings.compartment, region=settings.region)
                ]
            ),
            opts=identities,
        )
        objectstorage.ObjectLifecyclePolicy(
            f"{name}-lifecycle",
            namespace=self.namespace,
            bucket=bucket.name,
            rules=[
                {
                    "name": "delete-old-versions",
                    "action": "DELETE",
                    "target": "previous-object-versions",
                    "time_amount": KEPT_VERSIONS_DAYS,
                    "time_unit": "DAYS",
                    "is_enabled": True,
                },
                {
                    "name": "abort-uploads",
                    "action": "ABORT",
                    "target": "multipart-uploads",
                    "time_amount": ABANDONED_UPLOADS_DAYS,
                    "time_unit": "DAYS",
                    "is_enabled": True,
                },
            ],
            # The machine takes minutes, by which the policy is known everywhere.
            opts=pulumi.ResourceOptions.merge(mine, pulumi.ResourceOptions(depends_on=[allowed, group])),
        )
        self.register_outputs({"bucket": self.bucket, "namespace": self.namespace})


def host_statements(group: str, bucket: str, *, compartment: str) -> list[str]:
    """What the host may do (Object Storage policy reference)."""
    where = _in(compartment, bucket)
    return [
        f"Allow dynamic-group {group} to read buckets {where}",
        f"Allow dynamic-group {group} to manage objects {where}",
    ]


def service_statement(bucket: str, *, compartment: str, region: str) -> str:
    """What the service may do in the bucket: it acts on lifecycle rules in its own name."""
    return f"Allow service objectstorage-{region} to manage object-family {_in(compartment, bucket)}"


def _in(compartment: str, bucket: str) -> str:
    place = "tenancy" if compartment.startswith("ocid1.tenancy.") else f"compartment id {compartment}"
    return f"in {place} where target.bucket.name='{bucket}'"
