"""Names that are refused: by a sentence with the setting's key, before anything is done. Those that work: test_application_changes."""

from typing import Any

import pytest
from pulumi import automation

from components.settings import Settings, SettingsError, parse
from tests.engine.platform import PROJECT, Platform

NOT_FOR_AN_APPLICATION = (
    "",
    "Librarian",
    "1st",
    "-first",
    "last-",
    "under_score",
    "with space",
    "new\nline",
    "../../etc",
    "..",
    "a/b",
    "quote'",
    'quote"',
    "semi;colon",
    "$(id)",
    "`id`",
    "a" * 41,
    "postgres-stack",
    "pgbouncer",
    "redis-cache",
    "admin",
    "operator",
    "health",
    "default",
    "pg-like",
)
NOT_IN_SQL = (
    "",
    " ",
    "quote'",
    'quote"',
    "semi;colon",
    "DROP TABLE x; --",
    "new\nline",
    "tab\tulator",
    "nul\0",
    "dollar$",
    "$(id)",
    "`id`",
    "back\\slash",
    "..",
    "a/b",
    "a" * 64,
    "ü" * 32,
    "pg_mine",
    "postgres",
    "pgbouncer",
    "1st",
    "+group",
    "@file",
    "a,b",
    "a b",
    "a=b",
)
NO_ROLE = (
    "platform_admin",
    "pgbouncer_auth",
    "public",
    "none",
    "current_user",
    "session_user",
    "librarian_owner",
    "librarian_user",
    "librarian_readonly",
)
NO_DATABASE = ("template0", "template1", "librarian")


def _refused(applications: dict[str, Any], key: str) -> None:
    raw = {"host": {"kind": "local"}, "applications": {"librarian": {}, **applications}}
    with pytest.raises(SettingsError) as refused:
        parse(Settings, raw, where=f"{PROJECT}:")
    (sentence,) = str(refused.value).splitlines()
    assert "applications" in sentence
    assert key in sentence.replace("\\n", "\n").replace("\\t", "\t")
    # It says what to write instead.
    assert "write" in sentence


@pytest.mark.parametrize("name", NOT_FOR_AN_APPLICATION)
def test_an_application_s_name_that_is_refused(name: str) -> None:
    _refused({name: {}}, "name")


@pytest.mark.parametrize("name", [*NOT_IN_SQL, *NO_DATABASE])
def test_a_database_s_name_that_is_refused(name: str) -> None:
    _refused({"other": {"database": name}}, "other.database" if name != "librarian" else "database")


@pytest.mark.parametrize("name", [*NOT_IN_SQL, *NO_ROLE])
def test_a_login_s_name_that_is_refused(name: str) -> None:
    _refused({"other": {"user": name}}, "user")


def test_the_program_says_all_of_them_at_once_and_does_nothing(running: Platform) -> None:
    before = running.psql("SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles")
    bad = {
        "one'; DROP ROLE platform_admin; --": {},
        "two": {"database": 'x"; DROP DATABASE librarian; --'},
        "three": {"user": "$(touch /tmp/here)"},
        "four": {"user": "postgres"},
        "five": {"reddis": True},
    }
    with (
        running.changed(applications={**running.config["applications"], **bad}),
        pytest.raises(automation.CommandError) as failed,
    ):
        running.preview()
    said = str(failed.value)
    for key in (
        "applications.two.database",
        "applications.three.user",
        "applications.four.user",
        "applications.five.reddis",
    ):
        assert f"{PROJECT}:{key}" in said
    assert "one'; DROP" in said
    assert "did you mean redis?" in said
    assert "Traceback" not in said
    assert running.psql("SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles") == before
