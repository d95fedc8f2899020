"""Settings of backups and alerts, the text of what the scripts read from them, and the secrets that they need."""

import configparser
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import config
from components.application_settings import Application, ApplicationSettings
from components.render import backups
from components.render.backups import Bucket
from components.settings import Settings, SettingsError, parse
from tests.unit.conftest import CANARIES, OCI_HOST, run_program
from tests.unit.recording_engine import Engine, configure

LOCAL: dict[str, Any] = {"host": {"kind": "local"}}
S3 = {"kind": "s3", "endpoint": "https://s3.example.com", "bucket": "our-backups", "region": "eu-1"}
IMAGES = {"postgres": f"postgres@sha256:{'1' * 64}", "redis": f"redis@sha256:{'2' * 64}"}
BUCKET = Bucket(name="b", namespace="n", compartment="ocid1.compartment.oc1..x", region="eu-frankfurt-1")


def read(plain: dict[str, Any]) -> Settings:
    return parse(Settings, {**LOCAL, **plain}, where="")


def said_by_sh(text: str, path: Path) -> dict[str, str]:
    """The variables of a file that `.` in sh gives; exported ones are marked by a star."""
    path.write_text(text, encoding="utf-8")
    shown = subprocess.run(
        ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-euc", '. "$1"; env | sed "s/^/*/"; set', "sh", str(path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    pairs = [line.split("=", 1) for line in shown.splitlines() if "=" in line]
    return {name: value.strip("'") for name, value in pairs}


def test_a_workstation_keeps_its_backups_and_a_machine_in_oci_sends_them_to_its_bucket() -> None:
    assert read({}).offsite.kind == "none"
    assert parse(Settings, {"host": OCI_HOST}, where="").offsite.kind == "bucket"
    assert (
        parse(Settings, {"host": OCI_HOST, "backups": {"offsite": {"kind": "none"}}}, where="").offsite.kind
        == "none"
    )


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        (
            {"backups": {"offsite": {"kind": "bucket"}}},
            "backups.offsite.kind is bucket, and host.kind local has no bucket of its own; write {kind: s3, endpoint, bucket} or {kind: none}",
        ),
        (
            {"backups": {"offsite": {**S3, "endpoint": "http://s3.example.com"}}},
            "backups.offsite.endpoint: http://s3.example.com is not encrypted on the way; write https://",
        ),
        (
            {"backups": {"offsite": {**S3, "endpoint": "s3.example.com/x"}}},
            "backups.offsite.endpoint: write the store's URL without a path, such as https://s3.example.com",
        ),
        ({"backups": {"offsite": {"kind": "ftp"}}}, "backups.offsite.kind is ftp; write s3, bucket or none"),
        (
            {"backups": {"offsite": {**S3, "buckett": "x"}}},
            "backups.offsite.buckett is not a setting; did you mean bucket?",
        ),
        ({"backups": {"at": "24:00"}}, "backups.at is '24:00'; it should match pattern"),
        (
            {"backups": {"maxAgeHours": 12}},
            "backups: maxAgeHours 12 is less than the 24 hours between two backups, which would always be an alarm; write 25 or more",
        ),
        ({"backups": {"drillDay": "Sunday"}}, "backups.drillDay is 'Sunday'; it should be 'Mon', 'Tue'"),
        (
            {"alerts": {"email": "ops@example.com"}},
            "alerts.email is for a host in OCI, whose Notifications send it; set the secret alertWebhook in its place",
        ),
    ],
)
def test_a_fault_is_one_sentence_that_names_the_key(plain: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(plain)
    (said,) = str(error.value).splitlines()
    assert said.lstrip(": ").startswith(sentence)


def test_plain_http_is_for_the_host_itself() -> None:
    offsite = {**S3, "endpoint": "http://127.0.0.1:9000/"}
    env = backups.backup_env(read({"backups": {"offsite": offsite}}), stack="x", images=IMAGES, bucket=None)
    assert "OFFSITE=s3:http://127.0.0.1:9000/our-backups\n" in env


def test_the_environment_of_a_store_that_speaks_s3(tmp_path: Path) -> None:
    text = backups.backup_env(
        read({"backups": {"offsite": S3, "keepDays": 3}}), stack="local", images=IMAGES, bucket=None
    )
    said = said_by_sh(text, tmp_path / "backup.env")
    assert said["OFFSITE"] == "s3:https://s3.example.com/our-backups"
    assert said["*AWS_DEFAULT_REGION"] == "eu-1"
    assert (said["KEEP_DAYS"], said["ALERTS_TO"], said["STACK"]) == ("3", "", "local")
    assert said["POSTGRES_IMAGE"] == IMAGES["postgres"]
    # Nothing of the scripts' own is exported to what they start.
    assert "*OFFSITE" not in said


def test_the_environment_of_a_machine_in_oci(tmp_path: Path) -> None:
    settings = parse(Settings, {"host": OCI_HOST, "alerts": {"email": "ops@example.com"}}, where="")
    said = said_by_sh(
        backups.backup_env(settings, stack="prod", images=IMAGES, bucket=BUCKET), tmp_path / "e"
    )
    assert said["OFFSITE"] == "rclone:oci:b"
    assert said["ALERTS_TO"] == "oci:b/alerts"
    assert said["*RCLONE_CONFIG_OCI_TYPE"] == "oracleobjectstorage"
    assert said["*RCLONE_CONFIG_OCI_PROVIDER"] == "instance_principal_auth"
    assert said["*RCLONE_CONFIG_OCI_NAMESPACE"] == "n"


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@given(PRINTABLE)
def test_the_url_of_the_webhook_is_read_back_by_curls_rules(url: str) -> None:
    text = backups.curl_config(url)
    assert text.startswith('url = "')
    assert text.endswith('"\n')
    inner, read_back, escaped = text[7:-2], "", False
    for character in inner:
        if escaped or character != "\\":
            # A bare quote would end the value.
            assert escaped or character != '"'
            read_back, escaped = read_back + character, False
        else:
            escaped = True
    assert read_back == url


def test_the_keys_of_the_store_are_read_back_by_the_format_s_rules() -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(backups.s3_credentials("AKIA1", "s/e+c=r;e#t"))
    assert dict(parser["default"]) == {"aws_access_key_id": "AKIA1", "aws_secret_access_key": "s/e+c=r;e#t"}


def test_queries_of_a_drill_keep_their_text() -> None:
    query = "SELECT count(*) > 0\n\tFROM books -- it's"
    application = Application(name="librarian", settings=ApplicationSettings(drill_queries=[query]))
    (line,) = backups.drill_queries([application]).splitlines()
    name, database, encoded = line.split("\t")
    decoded = subprocess.run(["base64", "-d"], input=encoded, capture_output=True, text=True, check=True)
    assert (name, database, decoded.stdout) == ("librarian", "librarian", query)


# --- secrets ---


def faults(engine: Engine, plain: dict[str, Any], secrets: dict[str, str]) -> list[str]:
    configure({**LOCAL, **plain}, secrets)
    error = engine.run(config.load).error
    return str(error).splitlines() if error else []


NECESSARY = {key: CANARIES[key] for key in config.SECRET_KEYS}


def test_a_stack_without_a_store_needs_no_further_secret(engine: Engine) -> None:
    assert faults(engine, {}, NECESSARY) == []


def test_a_store_needs_the_key_of_the_backups_and_its_own(engine: Engine) -> None:
    assert faults(engine, {"backups": {"offsite": S3}}, NECESSARY) == [
        "central-data-platform:backupKey is missing, with which backups are encrypted before they leave the host (backups.offsite); "
        "set it with: pulumi config set --secret backupKey",
        *(
            f"central-data-platform:{key} is missing, which backups.offsite of kind s3 needs; set it with: pulumi config set --secret {key}"
            for key in ("offsiteAccessKey", "offsiteSecretKey")
        ),
    ]


@pytest.mark.parametrize("key", config.OPTIONAL_SECRET_KEYS)
def test_a_further_secret_in_the_clear_is_refused(engine: Engine, key: str) -> None:
    assert faults(engine, {key: "x"}, NECESSARY) == [
        f"central-data-platform:{key} is not encrypted; set it again with: pulumi config set --secret {key}"
    ]


def test_what_is_left_empty_is_not_there(engine: Engine) -> None:
    assert faults(engine, dict.fromkeys(config.OPTIONAL_SECRET_KEYS, ""), NECESSARY) == []


def test_a_file_of_a_secret_that_is_gone_is_emptied() -> None:
    files = run_program().files
    for key in ("key", "webhook", "s3-credentials"):
        assert (files[f"/srv/config/backup/{key}"].text == "") == (key == "s3-credentials")
