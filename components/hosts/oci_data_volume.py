"""The block volume that holds /srv. It outlives every instance."""

from dataclasses import dataclass

import pulumi
from pulumi_oci import core

from components.host_settings import OciHostSettings
from components.settings import PROJECT

# Four daily backups and the one that is being made are the five of Always Free.
KEPT_DAYS = 4


@dataclass(frozen=True, kw_only=True)
class DataVolumeArgs:
    """`availability_domain` is the name of the one that the instance is in."""

    settings: OciHostSettings
    availability_domain: pulumi.Output[str]


class DataVolume(pulumi.ComponentResource):
    """A new volume, or the one that `dataVolumeId` names, with a daily backup."""

    volume_id: pulumi.Output[str]

    def __init__(self, name: str, args: DataVolumeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"{PROJECT}:hosts:DataVolume", name, {}, opts)
        settings = args.settings
        mine = pulumi.ResourceOptions(parent=self)
        if settings.data_volume_id:
            self.volume_id = pulumi.Output.from_input(settings.data_volume_id)
        else:
            self.volume_id = core.Volume(
                f"{name}-volume",
                compartment_id=settings.compartment,
                availability_domain=args.availability_domain,
                display_name=f"{PROJECT}: /srv",
                size_in_gbs=str(settings.data_volume_gib),
                vpus_per_gb=str(settings.data_volume_vpus),
                opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True),
            ).id
        policy = core.VolumeBackupPolicy(
            f"{name}-backups",
            compartment_id=settings.compartment,
            display_name=f"{PROJECT}: daily",
            schedules=[
                {
                    "backup_type": "INCREMENTAL",
                    "period": "ONE_DAY",
                    "hour_of_day": 2,
                    "offset_type": "STRUCTURED",
                    "time_zone": "UTC",
                    "retention_seconds": KEPT_DAYS * 24 * 3600,
                }
            ],
            opts=mine,
        )
        core.VolumeBackupPolicyAssignment(
            f"{name}-backed-up", asset_id=self.volume_id, policy_id=policy.id, opts=mine
        )
        self.register_outputs({"volumeId": self.volume_id})
