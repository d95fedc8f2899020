"""Who is told of an alert in OCI: what the program asks for, and only where somebody wants a mail."""

import json
from fnmatch import fnmatchcase

import pytest

from components.hosts.oci_alerts import condition, events_statement
from tests.unit.conftest import OCI_HOST, run_program
from tests.unit.recording_engine import Recording

KINDS = (
    "oci:Ons/notificationTopic:NotificationTopic",
    "oci:Ons/subscription:Subscription",
    "oci:Events/rule:Rule",
)
ADDRESS = "operator@example.com"


def run(email: str | None = ADDRESS, **change: object) -> Recording:
    made = run_program(
        "prod", plain={"host": {**OCI_HOST, **change}, "alerts": {"email": email} if email else {}}
    )
    assert made.error is None
    return made


@pytest.fixture(scope="module")
def told() -> Recording:
    """A stack that somebody wants to hear of."""
    return run()


def test_nobody_is_subscribed_unless_he_is_named() -> None:
    recording = run(None)
    assert not [made for kind in KINDS for made in recording.of_type(kind)]
    (bucket,) = recording.of_type("oci:ObjectStorage/bucket:Bucket")
    assert bucket.inputs["objectEventsEnabled"] is False
    assert "alertTopicId" not in recording.exports


def test_an_alert_s_object_is_mailed(told: Recording) -> None:
    topic, subscription, rule = (told.of_type(kind)[0] for kind in KINDS)
    (bucket,) = told.of_type("oci:ObjectStorage/bucket:Bucket")
    assert bucket.inputs["objectEventsEnabled"] is True
    assert topic.inputs["name"] == "central-data-platform-prod-alerts"
    assert (subscription.inputs["protocol"], subscription.inputs["endpoint"]) == ("EMAIL", ADDRESS)
    (action,) = rule.inputs["actions"]["action"]
    assert (action["actionType"], action["isEnabled"], rule.inputs["isEnabled"]) == ("ONS", True, True)
    assert subscription.inputs["topicId"] == action["topicId"] == told.exports["alertTopicId"]
    assert rule.inputs["condition"] == condition(bucket.inputs["name"])
    assert "host-alerts-policy" in told.waits_for(rule.name)
    assert not topic.request.protect


def test_only_the_alerts_of_this_bucket_are_met() -> None:
    wanted = json.loads(condition("b"))
    assert wanted["eventType"] == ["com.oraclecloud.objectstorage.createobject"]
    assert wanted["data"]["additionalDetails"] == {"bucketName": ["b"]}
    (name,) = wanted["data"]["resourceName"]
    assert fnmatchcase("alerts/20261125T143000Z-backup-fail.json", name)
    assert not fnmatchcase("dumps/data/00/0011", name)


def test_events_may_publish_in_the_compartment_and_nowhere_else(told: Recording) -> None:
    policies = {made.name: made.inputs["statements"] for made in told.of_type("oci:Identity/policy:Policy")}
    assert policies["host-alerts-policy"] == [events_statement(OCI_HOST["compartment"])]
    assert events_statement("c") == "Allow service cloudEvents to use ons-topics in compartment id c"
    assert events_statement("ocid1.tenancy.oc1..a").endswith("in tenancy")


def test_the_policy_is_made_in_the_home_region() -> None:
    recording = run(homeRegion="us-ashburn-1")
    providers = {made.name: made.request.provider for made in recording.registrations}
    assert "::host-oci-home::" in providers["host-alerts-policy"]
    assert "::host-oci::" in providers["host-alerts-topic"]
    assert "::host-oci::" in providers["host-alerts-rule"]
