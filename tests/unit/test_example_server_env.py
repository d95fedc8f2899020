"""The example's reading of server.env, compared with what the platform writes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.render.env_file import quote, secret_fault
from examples.librarian.librarian import server_env
from examples.librarian.librarian.server_env import ServerEnvError, connections, parse, read

COMPLETE = {
    "DATABASE_URL": "postgresql://librarian_user:canary-d@pgbouncer:6432/librarian",
    "DATABASE_DIRECT_URL": "postgresql://librarian_user:canary-d@postgres-db:5432/librarian",
    "REDIS_HOST": "redis-cache",
    "REDIS_PORT": "6379",
    "REDIS_USER": "librarian",
    "REDIS_PASSWORD": "canary-r",
    "REDIS_KEY_PREFIX": "librarian:",
}


@given(
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126)).filter(lambda it: not secret_fault(it)),
    bare=st.booleans(),
)
def test_what_the_platform_writes_is_read_as_it_was(value: str, bare: bool) -> None:
    assert parse(f"BEFORE=1\nVALUE={quote(value, bare=bare)}\nAFTER=2\n") == {
        "BEFORE": "1",
        "VALUE": value,
        "AFTER": "2",
    }


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=", ""),
        ("A=''", ""),
        ('A=""', ""),
        ("A=postgresql://u:p%27@h:1/d#part", "postgresql://u:p%27@h:1/d#part"),
        ("A=b # c", "b"),
        ("A='b # c' # d", "b # c"),
        (r"A='\" $b'", r"\" $b"),
        (r'A="\\ \" \$ \` \n"', r"\ " + '" $ ` ' + r"\n"),
        ("export A=b", "b"),
        ("  A=b  ", "b"),
        ("A=b=c", "b=c"),
        ("A=old\nA=new", "new"),
    ],
)
def test_a_line(line: str, value: str) -> None:
    assert parse(line) == {"A": value}


def test_comments_and_empty_lines_say_nothing() -> None:
    assert parse("# BEGIN central-data-platform\n\n  # A=b\n") == {}


@pytest.mark.parametrize(
    "line", ["canary", "A='canary", 'A="canary', "A='canary'b", "1A=canary", "A B=canary"]
)
def test_a_line_that_cannot_be_read_is_named_but_not_shown(line: str) -> None:
    with pytest.raises(ServerEnvError, match=r"line 2 of server\.env cannot be read") as caught:
        parse(f"A=b\n{line}\n")
    assert "canary" not in str(caught.value)


def test_what_is_missing_is_named_with_what_to_do() -> None:
    with pytest.raises(ServerEnvError, match="lacks REDIS_HOST; list librarian with `redis: true`"):
        connections({name: value for name, value in COMPLETE.items() if name != "REDIS_HOST"})


def test_connections_do_not_show_their_passwords() -> None:
    assert "canary" not in repr(connections(COMPLETE))


def test_the_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "server.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in COMPLETE.items()))
    before = read(file)
    new = tmp_path / "server.env.new"
    new.write_text(file.read_text().replace("canary-r", "canary-s"))
    new.replace(file)
    assert (before.redis_password, read(file).redis_password) == ("canary-r", "canary-s")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerEnvError, match="No such file"):
        read(tmp_path / "server.env")


def test_the_file_is_where_compose_mounts_the_folder() -> None:
    compose = (Path(server_env.__file__).parents[1] / "compose.yaml").read_text()
    assert f"- ./:{os.fspath(server_env.PATH.parent)}:ro" in compose
