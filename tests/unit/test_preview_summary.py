"""What the summary says of recorded previews (tests/golden/preview, made by the real CLI), and of what hardly ever happens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.workstation import plan, restarts
from scripts.workstation.plan import Plan
from scripts.workstation.restarts import Expected
from scripts.workstation.summary import Summary, summarize
from scripts.workstation.summary_pages import as_text
from scripts.workstation.values import SIGNATURE
from tests.unit.conftest import GOLDEN

RECORDED = sorted(path.stem for path in (GOLDEN / "preview").glob("*.jsonl"))
CONTAINER, STATE = "docker:index/container:Container", "pulumi-python:dynamic/host:State"
COMMAND = "command:local:Command"
MASKED_SECRET = {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}


def expected(container: str) -> Expected | None:
    """The built-in figures, whatever this checkout's stacks have seen."""
    return restarts.expected(container, Path("/nowhere/restarts.json"))


def recorded(name: str) -> Plan:
    log = (GOLDEN / "preview" / f"{name}.jsonl").read_text(encoding="utf-8")
    return plan.read(plan.events_of(log), "prod" if name.startswith("oci-") else "local")


def test_enough_is_recorded() -> None:
    assert {
        *("nothing", "image", "reload", "restart", "port", "subnet", "drift"),
        *("application-added", "application-removed", "password"),
        *("oci-new", "oci-shape", "oci-rules", "oci-subnet"),
    } == set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_the_summary_of_a_recorded_preview(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"preview/{name}.txt", as_text(summarize(recorded(name), expected)) + "\n")


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_of_no_machine(name: str) -> None:
    text = (GOLDEN / "preview" / f"{name}.jsonl").read_text(encoding="utf-8")
    assert "/tmp/" not in text
    assert "/root/" not in text
    assert "CANARY" not in text


# --- events made by hand ---


def event(
    op: str,
    token: str,
    name: str,
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    urn = f"urn:pulumi:prod::central-data-platform::{token}::{name}"
    return {
        "resourcePreEvent": {
            "metadata": {"op": op, "urn": urn, "type": token, "old": old, "new": new, **more}
        }
    }


def outputs(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    token = plan.STACK
    step = {"op": "same", "urn": f"urn:pulumi:prod::p::{token}::p-prod", "type": token}
    whole = {**step, "old": {"outputs": before}, "new": {"outputs": after}}
    return [{"resourcePreEvent": {"metadata": whole}}, {"resOutputsEvent": {"metadata": whole}}]


KNOWN = {"srvRoot": "/srv", "versions": {"postgres": "17.11", "redis": "7.2.16", "pgbouncer": "1.25.2-6"}}
SUCCEEDED = {"summaryEvent": {"result": "succeeded"}}


def said(
    *events: dict[str, Any], before: dict[str, Any] | None = None, after: dict[str, Any] | None = None
) -> Summary:
    known = outputs(KNOWN if before is None else before, KNOWN if after is None else after)
    ending = [] if any("summaryEvent" in one for one in events) else [SUCCEEDED]
    return summarize(plan.read([*known, *events, *ending], "prod"), expected)


def lines(summary: Summary, title: str) -> list[str]:
    return [line for section in summary.sections if section.title == title for line in section.lines]


def replaced(
    name: str, container: str, keys: list[str], old: dict[str, Any], new: dict[str, Any]
) -> list[dict[str, Any]]:
    states = {"old": {"inputs": {"name": container, **old}}, "new": {"inputs": {"name": container, **new}}}
    return [
        event(op, CONTAINER, name, keys=keys, **states)
        for op in ("delete-replaced", "replace", "create-replacement")
    ]


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("17.12", "newer image 17.11 -> 17.12"),
        ("17.9", "older image 17.11 -> 17.9"),
        ("17.11", "another build of image 17.11"),
        ("18.1", "ANOTHER MAJOR VERSION 17.11 -> 18.1"),
    ],
)
def test_images_are_called_by_their_versions(tag: str, words: str) -> None:
    summary = said(
        *replaced("platform-postgres-container", "postgres-db", ["image", "labels"], {}, {}),
        after=KNOWN | {"versions": KNOWN["versions"] | {"postgres": tag}},  # type: ignore[operator]
    )
    assert lines(summary, "Containers") == [f"postgres-db restarts: {words}"]


def test_without_versions_digests_have_to_do() -> None:
    before = {"images": {"redis-cache": "redis@sha256:" + "1" * 64}}
    after = {"images": {"redis-cache": "redis@sha256:" + "2" * 64}}
    summary = said(
        *replaced("platform-redis-container", "redis-cache", ["image"], {}, {}), before=before, after=after
    )
    assert lines(summary, "Containers") == [
        "redis-cache restarts: another image 111111111111 -> 222222222222"
    ]


def test_addresses_memory_and_what_has_no_word_are_named() -> None:
    port = {"internal": 6432, "external": 6432, "ip": "127.0.0.1"}
    summary = said(
        *replaced(
            "platform-pgbouncer-container",
            "pgbouncer",
            ["ports", "memory", "memorySwap", "labels", "sysctls", "healthcheck"],
            {"ports": [port], "memory": 128},
            {"ports": [port | {"ip": "10.0.0.7", "external": 6433}], "memory": 256},
        )
    )
    assert lines(summary, "Containers") == [
        "pgbouncer restarts: health check, memory 128 -> 256 MiB, port 6432 -> 6433, address 127.0.0.1 -> 10.0.0.7, sysctls"
    ]
    assert lines(summary, "Without service") == [
        "PostgreSQL: 0 s",
        f"PgBouncer: about {restarts.MEASURED['pgbouncer']:.0f} s ({restarts.MEASURED_WHERE})",
        "Redis: 0 s",
    ]


def test_a_restart_of_the_wal_receiver_keeps_nobody_waiting() -> None:
    summary = said(*replaced("platform-backups-wal-container", "postgres-wal", ["image"], {}, {}))
    assert [line.partition(":")[2] for line in lines(summary, "Without service")] == [" 0 s"] * 3


def test_clients_of_the_pooler_wait_where_they_are_held() -> None:
    restart = replaced("platform-postgres-container", "postgres-db", ["memory"], {"memory": 1}, {"memory": 2})
    hold = event("update", COMMAND, "platform-postgres-hold", old={"inputs": {}}, new={"inputs": {}})
    assert "PgBouncer: stays up, and has no PostgreSQL behind it meanwhile" in lines(
        said(*restart), "Without service"
    )
    assert "PgBouncer: stays up; its clients wait for PostgreSQL meanwhile" in lines(
        said(*restart, hold), "Without service"
    )


def test_what_holds_data_stands_first_and_loud() -> None:
    volume = event(
        "delete", "oci:Core/volume:Volume", "host-data-volume", old={"inputs": {}, "retainOnDelete": True}
    )
    bucket = event("delete", "oci:ObjectStorage/bucket:Bucket", "host-backups-bucket", old={"inputs": {}})
    restart = replaced("platform-redis-container", "redis-cache", ["memory"], {"memory": 1}, {"memory": 2})
    summary = said(*restart, volume, bucket)
    first = summary.sections[0]
    assert (first.title, first.loud) == ("DATA", True)
    assert first.lines == [
        "the data volume of /srv is DELETED in the state only: OCI keeps it, and pulumi no longer knows it",
        "the bucket with the off-site backups is DELETED: the off-site backups",
    ]
    assert lines(summary, "Data") == []


def test_a_machine_that_would_be_replaced_is_loud_too() -> None:
    token = "oci:Core/instance:Instance"
    steps = [
        event(op, token, "host-machine-instance", old={"inputs": {}}, new={"inputs": {}})
        for op in ("delete-replaced", "create-replacement")
    ]
    assert lines(said(*steps), "DATA") == ["the machine is REPLACED: everything on it but /srv"]


def broken(policy: str, level: str, sentence: str) -> dict[str, Any]:
    """As the engine sends it: the rule's title, the sentence, colours."""
    message = f"<{{%fg 13%}}>A title.\n{sentence}<{{%reset%}}>\n"
    return {"policyEvent": {"policyName": policy, "message": message, "enforcementLevel": level}}


def test_a_rule_that_is_broken_stands_on_top() -> None:
    restart = replaced("platform-redis-container", "redis-cache", ["ports"], {}, {})
    mandatory = broken("no-public-port", "mandatory", "redis-cache listens on\n0.0.0.0")
    advisory = broken("size", "advisory", "redis-cache is small")
    failed = {"summaryEvent": {"result": "failed"}}
    summary = said(*restart, advisory, mandatory, failed)
    assert summary.headline == "The preview of stack prod failed: up would stop there."
    assert summary.sections[0].loud
    assert summary.sections[0].lines == ["policy no-public-port: redis-cache listens on 0.0.0.0"]
    assert lines(summary, "Advice of the policy pack") == ["size: redis-cache is small"]
    assert "policy refuses" in said(*restart, mandatory).headline


def test_leave_from_a_rule_is_a_waiver_in_force() -> None:
    sentence = "known-shape is waived for host-machine-instance until 2027-01-31: a trial"
    waived = broken("waivers-in-force", "advisory", sentence)
    assert said(waived).headline == f"Nothing changes. Waivers in force: {sentence}."
    restart = replaced("platform-redis-container", "redis-cache", ["ports"], {}, {})
    assert lines(said(*restart, waived), "Waivers in force") == [sentence]


def test_a_program_that_fails_says_why_and_nothing_else() -> None:
    failed = {
        "diagnosticEvent": {"severity": "error", "message": "postgres.port is 99999; write less\nTraceback\n"}
    }
    last = {"diagnosticEvent": {"severity": "error", "message": "preview failed\n"}}
    summary = summarize(plan.read([failed, last], "prod"), expected)
    assert summary.headline == "The preview of stack prod failed: up would stop there."
    assert [section.lines for section in summary.sections] == [["postgres.port is 99999; write less"]]


def test_a_plugin_s_noise_is_no_refusal() -> None:
    noise = {"diagnosticEvent": {"severity": "error", "message": "Detected that a plugin exited prematurely"}}
    assert said(noise).headline == "Nothing changes."


def test_another_way_to_the_host_is_one_line() -> None:
    def state(user: str) -> dict[str, Any]:
        return {
            "inputs": {
                "words": ["ssh", f"{user}@host", "sudo -n sh -c '#!\nset -eu' x.sh %ACTION%"],
                "stdin": MASKED_SECRET,
            }
        }

    names = ("platform-secrets-file", "platform-application-shop-password", "platform-pgbouncer-password")
    summary = said(*(event("update", STATE, name, old=state("opc"), new=state("me")) for name in names))
    assert lines(summary, "Scripts that run on the host") == [
        "3 run again because the way to the machine is another one; they find nothing to do"
    ]
    assert not lines(summary, "Files on the host")
    assert not lines(summary, "Applications")
    assert not lines(summary, "Passwords of the platform")


def test_a_newer_script_is_told_from_a_newer_file() -> None:
    def state(text: str) -> dict[str, Any]:
        words = ["sudo", "sh", "-c", f"#!\n{text}", "write-files.sh", "%ACTION%"]
        return {"inputs": {"words": words, "stdin": "file 0644 0:0 2 /srv/config/x\nab\nend\n"}}

    summary = said(event("update", STATE, "platform-postgres-files", old=state("one"), new=state("two")))
    assert lines(summary, "Scripts that run on the host") == [
        "configuration of PostgreSQL: their script is a newer one"
    ]
    assert not lines(summary, "Files on the host")


def test_a_password_and_files_that_change_together_are_not_told_apart() -> None:
    state = {"inputs": {"words": ["sh", "-c", "#!\nx", "p.sh", "%ACTION%", "shop"], "stdin": MASKED_SECRET}}
    names = ("platform-secrets-file", "platform-application-shop-password")
    steps = [event("update", STATE, name, old=state, new=state) for name in names]
    assert lines(said(*steps), "Applications") == [
        "shop is changed: its PASSWORDS change, and server.env with them"
    ]
    moved = {**KNOWN, "postgresAddress": "127.0.0.1:5433"}
    assert lines(said(*steps, after=moved), "Applications") == [
        "shop is changed: server.env and its other files are written again, perhaps with new passwords"
    ]
    assert lines(said(steps[1]), "Applications") == [
        "shop is changed: server.env and its other files are written again, its passwords stay"
    ]


def test_a_resource_without_a_word_is_named_all_the_same() -> None:
    summary = said(event("create", COMMAND, "platform-something-new", new={"inputs": {}}))
    assert lines(summary, "Scripts that run on the host") == ["command:local:Command platform-something-new"]


def test_book_keeping_alone_changes_nothing() -> None:
    provider = event(
        "update", "pulumi:providers:pulumi-python", "default", old={"inputs": {}}, new={"inputs": {}}
    )
    assert said(provider) == Summary(headline="Nothing changes.")


def test_a_refresh_that_finds_nothing_says_so() -> None:
    urn = f"urn:pulumi:prod::p::{STATE}::platform-secrets-file"
    state = {"outputs": {"differences": []}}
    looked = {"op": "refresh", "urn": urn, "type": STATE, "old": state, "new": state}
    assert (
        said({"resOutputsEvent": {"metadata": looked}}).headline
        == "Nothing changes. The host is as it was left."
    )


def test_waivers_are_in_force_though_nothing_changes() -> None:
    # pulumi hands a day on as a point in time.
    waiver = {"reason": "until its maintainer has fixed it", "until": "2027-06-30 00:00:00 +0000 UTC"}
    config = {
        "central-data-platform:applications": json.dumps({"shop": {"passwordWaiver": waiver}, "blog": {}})
    }
    summary = said({"preludeEvent": {"config": config}})
    assert summary.headline == (
        "Nothing changes. Waivers in force: shop, until 2027-06-30: until its maintainer has fixed it."
    )


def test_secrets_are_nowhere_even_where_pulumi_shows_them() -> None:
    """`--show-secrets` puts them into the log: no text of an input that is not known to be plain is shown."""
    shown = {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"CANARY-in-the-log"'}
    old = {"inputs": {"words": ["sh", "-c", "#!\nx", "w.sh"], "stdin": MASKED_SECRET, "environment": shown}}
    new = {"inputs": {"words": ["sh", "-c", "#!\nx", "w.sh"], "stdin": shown, "environment": shown}}
    names = (
        "platform-secrets-file",
        "platform-redis-users",
        "platform-application-shop-password",
        "platform-postgres-password",
    )
    config = {"preludeEvent": {"config": {"central-data-platform:postgresPassword": "CANARY-in-the-config"}}}
    envs = replaced(
        "platform-redis-container",
        "redis-cache",
        ["envs"],
        {"envs": ["A=CANARY-old"]},
        {"envs": ["A=CANARY-new"]},
    )
    summary = said(config, *envs, *(event("update", STATE, name, old=old, new=new) for name in names))
    assert len(summary.sections) >= 5
    assert "CANARY" not in as_text(summary)


def test_a_log_that_was_cut_off_is_read_to_its_end() -> None:
    assert plan.events_of('{"a": 1}\n{"b": 2}\n{"c": ') == [{"a": 1}, {"b": 2}]
    assert plan.events_of("") == []
