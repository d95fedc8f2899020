"""Topics and their subscriptions. The simulated cloud sends nothing: a subscription stays unconfirmed."""

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from sandbox.providers.stand_ins.oci import accepted, kinds
from sandbox.providers.stand_ins.oci.cloud import Cloud, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import conflict, invalid, not_found

_PROTOCOLS = {"CUSTOM_HTTPS", "EMAIL", "HTTPS", "ORACLE_FUNCTIONS", "PAGERDUTY", "SLACK", "SMS"}


class NotificationTopic(Resource):
    """A topic; its name is unique in the tenancy, whatever the region."""

    kind = kinds.NOTIFICATION_TOPIC
    type = "onstopic"
    title = "Topic"
    alive = "ACTIVE"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """A name of its own."""
        accepted.compartment(inputs["compartmentId"])
        name = inputs["name"]
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", name):
            raise invalid(
                f"Invalid topic name {name!r}: use up to 256 letters, digits, hyphens and underscores."
            )
        for other, record in state.records.items():
            if record.type == self.type and record.properties["name"] == name and other != resource_id:
                raise conflict(f"Topic with name {name} already exists.")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """What the service says of it."""
        return {
            "apiEndpoint": f"https://cell1.notification.{state.region}.oci.oraclecloud.com",
            "description": "",
            "etag": secrets.token_hex(4),
            "shortTopicId": secrets.token_hex(6),
        }

    def read(self, cloud: Cloud, resource_id: str) -> dict[str, Any] | None:
        """Its id is a property too."""
        found = super().read(cloud, resource_id)
        return found and found | {"topicId": resource_id}

    def unmade(self, cloud: Cloud, resource_id: str) -> None:
        """Its subscriptions go with it."""
        with cloud.state() as state:
            for subscription in state.all("onssubscription", topicId=resource_id):
                del state.records[subscription]


class Subscription(Resource):
    """Somebody who gets a topic's messages, once he has confirmed that he wants them."""

    kind = kinds.SUBSCRIPTION
    type = "onssubscription"
    title = "Subscription"
    alive = "PENDING"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """The topic must exist; the endpoint must be one of the protocol."""
        accepted.compartment(inputs["compartmentId"])
        topic(state, inputs["topicId"])
        accepted.one_of("protocol", inputs["protocol"], _PROTOCOLS)
        endpoint = inputs["endpoint"]
        form = r"[^@\s]+@[^@\s]+\.[^@\s]+" if inputs["protocol"] == "EMAIL" else r"\S+"
        if len(endpoint) > 512 or not re.fullmatch(form, endpoint):
            raise invalid(f"Invalid endpoint {endpoint!r} for the protocol {inputs['protocol']}.")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """What the service says of it; the time in milliseconds, as text."""
        policy = '{"backoffRetryPolicy":{"maxRetryDuration":7200000,"policyType":"EXPONENTIAL"}}'
        return {
            "createdTime": str(int(time.time() * 1000)),
            "deliveryPolicy": policy,
            "etag": secrets.token_hex(4),
        }


def topic(state: State, topic_id: Any) -> Mapping[str, Any]:
    """A topic that is there."""
    record = state.find(str(topic_id), NotificationTopic.type)
    if record is None:
        raise not_found(f"topic {topic_id}")
    return record.properties
