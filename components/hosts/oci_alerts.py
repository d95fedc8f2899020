"""Who is told of an alert: an object below alerts/ of the backup bucket is an event, and OCI Notifications mails it."""

import json
from dataclasses import dataclass

import pulumi
from pulumi_oci import events, identity, ons

from components.host_settings import OciHostSettings
from components.render.backups import ALERTS_FOLDER
from components.settings import PROJECT


@dataclass(frozen=True, kw_only=True)
class AlertsArgs:
    """`bucket` emits events; identity resources are made in the home region by `home`."""

    settings: OciHostSettings
    email: str
    bucket: pulumi.Output[str]
    home: pulumi.ProviderResource


class Alerts(pulumi.ComponentResource):
    """The owner of the address has to confirm the subscription, by a link in OCI's first mail."""

    topic_id: pulumi.Output[str]

    def __init__(self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"{PROJECT}:hosts:Alerts", name, {}, opts)
        compartment = args.settings.compartment
        # A topic's name is unique in the tenancy.
        full_name = f"{PROJECT}-{pulumi.get_stack()}-alerts"
        mine = pulumi.ResourceOptions(parent=self)
        topic = ons.NotificationTopic(
            f"{name}-topic",
            compartment_id=compartment,
            name=full_name,
            description="What fails on the central data platform.",
            opts=mine,
        )
        self.topic_id = topic.id
        ons.Subscription(
            f"{name}-mail",
            compartment_id=compartment,
            topic_id=topic.id,
            protocol="EMAIL",
            endpoint=args.email,
            opts=mine,
        )
        allowed = identity.Policy(
            f"{name}-policy",
            compartment_id=compartment,
            name=full_name,
            description="Events publishes the platform's alerts.",
            statements=[events_statement(compartment)],
            opts=pulumi.ResourceOptions(parent=self, provider=args.home),
        )
        events.Rule(
            f"{name}-rule",
            compartment_id=compartment,
            display_name=full_name,
            description="An alert of the central data platform is mailed.",
            is_enabled=True,
            condition=args.bucket.apply(condition),
            actions={"action": [{"action_type": "ONS", "is_enabled": True, "topic_id": topic.id}]},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed]),
        )
        self.register_outputs({"topicId": self.topic_id})


def condition(bucket: str) -> str:
    """Which events count (Matching Events with Filters; the example of Object Storage in Services that Produce Events)."""
    return json.dumps(
        {
            "eventType": ["com.oraclecloud.objectstorage.createobject"],
            "data": {"resourceName": [f"{ALERTS_FOLDER}/*"], "additionalDetails": {"bucketName": [bucket]}},
        }
    )


def events_statement(compartment: str) -> str:
    """What lets Events publish. Notifications knows no condition by which it could be one topic alone.

    Oracle's page "Events and IAM Policies" (Allow the Events Service to Deliver Events to Action Resources) demanded it for
    years and is silent about it in its later editions; where it is not needed, it does no harm.
    """
    place = "tenancy" if compartment.startswith("ocid1.tenancy.") else f"compartment id {compartment}"
    return f"Allow service cloudEvents to use ons-topics in {place}"
