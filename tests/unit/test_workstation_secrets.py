"""Reading platform.env back, generated secrets, and the password that is typed for the operator."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.render.env_file import env_file as render
from components.render.env_file import secret_fault
from scripts.workstation import env_file, psql, redis_cli, secret_values

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1).filter(
    lambda value: secret_fault(value) is None
)


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), PRINTABLE, max_size=5))
def test_what_the_platform_writes_is_read_back(values: dict[str, str]) -> None:
    assert env_file.parse(render(values)) == values


def test_both_quotings() -> None:
    text = '# a comment\n\nA=\'x$y"\\z\'\nB="it\'s \\$5 \\\\ \\"q\\""\n'
    assert env_file.parse(text) == {"A": 'x$y"\\z', "B": 'it\'s $5 \\ "q"'}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=bare", "line 1"),
        ("A='x'\nB='unclosed", "line 2"),
        ("A='x' # note", "line 1"),
        ("export A='x'", "line 1"),
        ('A="$HOME"', "line 1"),
        ('A="`id`"', "line 1"),
        ("A='x''y'", "line 1"),
        ("A='x'\nA='y'", "says A a second time"),
        ("no equals sign", "is not NAME="),
    ],
)
def test_anything_looser_is_refused_by_its_line(text: str, said: str) -> None:
    with pytest.raises(env_file.NotOurForm, match=re.escape(said)):
        env_file.parse(text)


def test_a_refusal_never_shows_the_value() -> None:
    with pytest.raises(env_file.NotOurForm) as refusal:
        env_file.parse("A=hunter2-and-more")
    assert "hunter2" not in str(refusal.value)


def test_generated_secrets() -> None:
    for length in secret_values.LENGTHS.values():
        value = secret_values.generate(length)
        assert re.fullmatch(r"[A-Za-z0-9_-]+", value)
        assert len(value) == length
    assert secret_values.LENGTHS["saltKey"] == 43
    assert secret_values.generate(32) != secret_values.generate(32)


def hear_all(typer: redis_cli.PasswordTyper, *chunks: bytes) -> tuple[bytes, bytes]:
    typed, shown = b"", b""
    for chunk in chunks:
        more_typed, more_shown = typer.hear(chunk)
        typed, shown = typed + more_typed, shown + more_shown
    return typed, shown


def test_the_password_is_typed_once_and_its_line_hidden() -> None:
    typer = redis_cli.PasswordTyper("s3cret")
    typed, shown = hear_all(
        typer,
        b"Please in",
        b"put password: ",
        b"***",
        b"***\r\n",
        b"127.0.0.1:6379> ",
        b"Please input password: ",
    )
    assert typed == b"s3cret\r"
    assert shown == b"127.0.0.1:6379> Please input password: "
    assert typer.over


def test_an_echoed_password_is_hidden_too() -> None:
    typed, shown = hear_all(
        redis_cli.PasswordTyper("s3cret"), b"Please input password: ", b"s3cret\r\nPONG\r\n"
    )
    assert typed == b"s3cret\r"
    assert shown == b"PONG\r\n"


def test_questions_about_the_cursor_are_answered_before_the_prompt() -> None:
    typer = redis_cli.PasswordTyper("s3cret", columns=120)
    typed, _ = hear_all(typer, b"\x1b[6n", b"\x1b[999C\x1b[6n", b"Please input password: ")
    assert typed == b"\x1b[1;1R\x1b[1;120Rs3cret\r"


def test_a_complaint_of_docker_is_shown() -> None:
    typed, shown = hear_all(redis_cli.PasswordTyper("s3cret"), b"Error: no such exec\r\n")
    assert typed == b""
    assert shown == b"Error: no such exec\r\n"


def test_command_lines_hold_no_password() -> None:
    assert redis_cli.words(["PING"], terminal=False) == [
        *(
            "docker",
            "exec",
            "--interactive",
            "redis-cache",
            "redis-cli",
            "--user",
            "admin",
            "--askpass",
            "PING",
        )
    ]
    assert psql.words(["-c", "select 1"], terminal=True, database="librarian") == [
        *("docker", "exec", "--interactive", "--tty", "postgres-db"),
        *("psql", "--username=platform_admin", "--dbname=librarian", "-c", "select 1"),
    ]


def test_sql_that_nobody_watches_stops_at_its_first_error() -> None:
    line = psql.words([], terminal=False, database=None)
    assert line == [
        *("docker", "exec", "--interactive", "postgres-db"),
        *("psql", "--username=platform_admin", "--dbname=postgres", "--set=ON_ERROR_STOP=1"),
    ]
