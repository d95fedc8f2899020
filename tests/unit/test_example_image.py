"""What the example's image is made of: all of it pinned, and no password among it."""

import json
import re
from pathlib import Path

import yaml

from tests.unit.conftest import ROOT

EXAMPLE = ROOT / "examples" / "librarian"
IMAGES = ROOT / "sandbox" / "images"


def _base() -> str:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (EXAMPLE / "Dockerfile").read_text(), re.MULTILINE)
    return base


def test_the_base_is_pinned_and_the_only_one() -> None:
    assert re.fullmatch(r"python:\S+@sha256:[0-9a-f]{64}", _base())
    froms = re.findall(r"^FROM (.+)$", (EXAMPLE / "Dockerfile").read_text(), re.MULTILINE)
    assert froms == ["${BASE}"]


def test_the_stand_in_stands_in_for_that_base() -> None:
    definition = json.loads((IMAGES / "python" / "image.json").read_text())
    assert definition["stands_in_for"] == _base().partition("@")[0].replace(":", " ")
    assert f"python:3.13-slim-{definition['suite']}" == _base().partition("@")[0]
    assert {"python3-pip", "python-is-python3", "ca-certificates"} <= set(definition["packages"])
    assert "User" not in definition["config"]


def test_packages_are_pinned_by_hash() -> None:
    entries = re.split(r"\n(?=\S)", (EXAMPLE / "requirements.txt").read_text().strip())
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert {entry.partition("==")[0] for entry in packages} >= {"psycopg", "psycopg-binary", "redis"}
    assert all(re.match(r"[a-z-]+==\S+ .*\\\n +--hash=sha256:", entry) for entry in packages)


def test_passwords_are_no_part_of_what_is_built_from() -> None:
    said = (EXAMPLE / ".dockerignore").read_text().split("\n")
    assert said[1] == "*"
    copied = re.findall(r"^COPY (.+) \S+$", (EXAMPLE / "Dockerfile").read_text(), re.MULTILINE)
    allowed = {line.removeprefix("!") for line in said if line.startswith("!")}
    assert {name.rstrip("*") for words in copied for name in words.split()} == allowed


def test_the_container_has_no_more_than_it_needs() -> None:
    service = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]["librarian"]
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service
    (mounted,) = service["volumes"]
    assert Path(mounted.split(":")[0]) == Path()
    assert "ro" in mounted.split(":")[2].split(",")
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_platform_s_own_images_come_without_it() -> None:
    script = (IMAGES / "provide.sh").read_text()
    names, bases = re.search(r'^NAMES="(.*)"\nBASES="(.*)"$', script, re.MULTILINE).groups()  # type: ignore[union-attr]
    monitoring = re.search(r'^NAMES="(.*)"$', (IMAGES / "monitoring.sh").read_text(), re.MULTILINE)
    assert monitoring
    ours = [*names.split(), *monitoring[1].split()]
    # Grafana cannot be had here.
    assert {*ours, "grafana"} == set(json.loads((ROOT / "images.json").read_text()))
    assert bases.split() == ["python"]
