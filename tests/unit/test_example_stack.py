"""examples/Pulumi.example.yaml is a stack file that the program accepts, until the waiver in it ends."""

import json
from datetime import date

import pulumi
import pytest
import yaml

from components import config
from components.settings import PROJECT
from tests.unit.conftest import CANARIES, ROOT
from tests.unit.recording_engine import Engine, configure

STRONG = "canary-4e1b-9c07-2ad5-77f3"
PASSWORDS = {"librarian": {"database": STRONG, "redis": STRONG}, "trading-app": {"database": "6432"}}


@pytest.fixture
def example(engine: Engine) -> Engine:
    text = (ROOT / "examples" / "Pulumi.example.yaml").read_text(encoding="utf-8")
    # pulumi hands a day on as text.
    plain = json.loads(json.dumps(yaml.safe_load(text)["config"], default=str))
    configure(
        {key.removeprefix(f"{PROJECT}:"): value for key, value in plain.items()},
        {**CANARIES, "applicationPasswords": json.dumps(PASSWORDS)},
    )
    return engine


def test_it_is_accepted_on_the_waiver_s_last_day(example: Engine) -> None:
    assert example.run(lambda: config.load(date(2027, 6, 30))).error is None


def test_it_is_refused_on_the_day_after(example: Engine) -> None:
    error = example.run(lambda: config.load(date(2027, 7, 1))).error
    assert isinstance(error, pulumi.RunError)
    assert str(error).startswith(f"{PROJECT}:applications.trading-app.passwordWaiver ended on 2027-06-30; ")
