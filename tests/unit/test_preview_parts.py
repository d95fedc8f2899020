"""Every resource of the program has a word for a person; a new one without is found here."""

from typing import Any

import pytest

from scripts.workstation.parts import IMAGES, SERVICES, Kind, Part, part_of
from tests.unit.conftest import run_program, stack_configuration
from tests.unit.recording_engine import Recording


def everything_in_oci() -> Recording:
    """A stack with all that a host in OCI may have."""
    more: dict[str, Any] = {
        "homeRegion": "eu-zurich-1",
        "clientGroups": ["ocid1.networksecuritygroup.oc1..x"],
    }
    plain = {
        "host": stack_configuration("prod")["host"] | more,
        "alerts": {"email": "somebody@example.com"},
        "network": {"clientCidrs": ["10.20.2.0/24"]},
    }
    return run_program("prod", architecture="arm64", plain=plain)


def parts(recording: Recording) -> dict[str, Part | None]:
    """By type and name."""
    assert recording.error is None
    return {f"{r.type} {r.name}": part_of(r.type, r.name) for r in recording.registrations}


@pytest.fixture(scope="module")
def in_oci() -> Recording:
    return everything_in_oci()


def test_every_resource_has_a_word(local: Recording, in_oci: Recording) -> None:
    found = parts(local) | parts(in_oci)
    assert [name for name, part in found.items() if part is None] == []
    assert [name for name, part in found.items() if part and not part.words] == []


def test_no_way_out_by_an_own_address_has_a_word_too() -> None:
    host = stack_configuration("prod")["host"] | {"publicAddress": False, "jumpHost": "opc@bastion"}
    found = parts(run_program("prod", architecture="arm64", plain={"host": host}))
    assert [name for name, part in found.items() if part is None] == []


def test_what_is_protected_says_what_is_lost_with_it(local: Recording, in_oci: Recording) -> None:
    registered = [r for run in (local, in_oci) for r in run.registrations if r.request.protect]
    assert len(registered) > 10
    silent = {r.name for r in registered if not (part := part_of(r.type, r.name)) or not part.lost}
    # An empty list of rules, of which nobody is a member for its own sake.
    assert silent == {"host-network-nothing"}


def test_every_container_is_a_service_with_an_image(local: Recording) -> None:
    names = {r.name: r.inputs["name"] for r in local.containers}
    assert set(names.values()) == set(SERVICES) == set(IMAGES)
    found = {name: part_of("docker:index/container:Container", name) for name in names}
    assert {name: part.service for name, part in found.items() if part} == names


def test_the_stack_says_each_image_s_version(local: Recording) -> None:
    assert set(local.exports["versions"]) == set(IMAGES.values())
    assert local.exports["versions"]["postgres"].startswith("17.")


def test_what_belongs_to_an_application_is_told_by_its_name() -> None:
    kinds = {
        "": ("central-data-platform:components:Application", Kind.APPLICATION),
        "-account": ("pulumi-python:dynamic/host:State", Kind.ACCOUNT),
        "-password": ("pulumi-python:dynamic/host:State", Kind.CONNECTION),
    }
    for suffix, (token, kind) in kinds.items():
        part = part_of(token, f"platform-application-trading-app{suffix}")
        assert part is not None
        assert (part.kind, part.application) == (kind, "trading-app")


@pytest.mark.parametrize(
    ("token", "name"),
    [
        ("docker:index/container:Container", "platform-mysql"),
        ("command:local:Command", "platform-something-new"),
        ("oci:Core/bootVolume:BootVolume", "host-machine-instance"),
    ],
)
def test_a_stranger_has_none(token: str, name: str) -> None:
    assert part_of(token, name) is None
