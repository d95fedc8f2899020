"""platform.env: what is written is what compose and sh read.

Where the two disagree, as found with compose v5.0.1 (compose-go 2.10.0) and dash:
- a backslash before the closing single quote ends the value in sh and escapes the quote in compose, so such a value goes into
  double quotes; an even number of them is read alike;
- in double quotes both undo \\\\, \\" and \\$, but \\` only sh: a value that needs double quotes and holds a backtick cannot be written;
- in double quotes compose also makes \\n, \\t and \\0101 into other characters, which is why each backslash there is doubled.
"""

import itertools
import os
import shutil
import string
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.render.env_file import HEADER, env_file, quote, secret_fault
from components.settings import SettingsError

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
# Everything that means something to one of the readers, with some letters that a backslash makes special.
SPECIAL = "'\"\\$`#={}()!~ an0"
SOMETIMES_SPECIAL = st.text(st.sampled_from(SPECIAL + PRINTABLE), min_size=1, max_size=40)
ACCEPTED = SOMETIMES_SPECIAL.filter(lambda value: secret_fault(value) is None)


@cache
def compose() -> Sequence[str]:
    """A docker compose that runs without an engine: docker's plugin, one on PATH, or the one that `make up` has built."""
    kept = Path(os.environ.get("CDP_CACHE_DIR") or Path.home() / ".cache" / "central-data-platform")
    built = sorted(kept.glob("toolchain/docker-compose-*/docker-compose"))
    for candidate in (["docker", "compose"], ["docker-compose"], *([str(path)] for path in built)):
        if (
            shutil.which(candidate[0])
            and not subprocess.run([*candidate, "version"], capture_output=True, check=False).returncode
        ):
            return candidate
    pytest.fail(
        f"no docker compose was found (docker's plugin, docker-compose on PATH, {kept}/toolchain); run `make up` once, or install it",
        pytrace=False,
    )


def read_by_compose(path: Path) -> dict[str, str]:
    ran = subprocess.run(
        [*compose(), "--env-file", str(path), "--file", "-", "config", "--environment"],
        input="name: x\nservices: {a: {image: b}}\n",
        env={key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.returncode, ran.stderr
    return dict(line.split("=", 1) for line in ran.stdout.splitlines())


def read_by_sh(path: Path) -> dict[str, str]:
    ran = subprocess.run(
        ["sh", "-euc", 'set -a; . "$1"; env -0', "sh", str(path)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.returncode, ran.stderr
    return dict(entry.split("=", 1) for entry in ran.stdout.split("\0") if entry)


def assert_read_back(values: Sequence[str], path: Path) -> None:
    """Many values in one file: each reader is started once."""
    written = {f"V{number}": value for number, value in enumerate(values)}
    path.write_text(env_file(written), encoding="utf-8")
    for reader in (read_by_compose, read_by_sh):
        read = reader(path)
        wrong = [(v, quote(v), read.get(k)) for k, v in written.items() if read.get(k) != v]
        assert not wrong, f"{reader.__name__}: (value, written, read) {wrong[:5]}"


def test_every_short_value_is_read_back_by_both(tmp_path: Path) -> None:
    short = ("".join(v) for size in (1, 2, 3) for v in itertools.product(SPECIAL, repeat=size))
    assert_read_back(
        [*(v for v in short if not secret_fault(v)), *PRINTABLE.replace("`", "")], tmp_path / "f"
    )


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(ACCEPTED, min_size=60, max_size=120))
def test_longer_values_are_read_back_by_both(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    assert_read_back(values, tmp_path_factory.getbasetemp() / "longer.env")


def test_a_long_value_is_read_back_by_both(tmp_path: Path) -> None:
    assert_read_back([PRINTABLE.replace("`", "") * 100, PRINTABLE.replace("'", "") * 100], tmp_path / "f")


@given(st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=1))
def test_a_generated_secret_is_always_accepted(value: str) -> None:
    assert secret_fault(value) is None
    assert quote(value) == f"'{value}'"


@settings(max_examples=60)
@given(st.text())
def test_a_value_is_written_exactly_if_it_has_no_fault(value: str) -> None:
    fault = secret_fault(value)
    if fault is None:
        assert "\n" not in quote(value)
    else:
        with pytest.raises(
            SettingsError, match=r"^a value for platform\.env .*; choose one of \[A-Za-z0-9_-\]$"
        ):
            quote(value)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "is empty"),
        ("two\nlines", "control character"),
        ("tab\there", "control character"),
        ("nul\0", "control character"),
        ("delete\x7f", "control character"),
        ("pässword", "beyond ASCII"),
        ("both ' and `", "backtick together with a single quote"),
        ("` and the end \\", "final backslash"),
    ],
)
def test_what_cannot_be_read_alike_is_refused_without_being_shown(value: str, fault: str) -> None:
    found = secret_fault(value)
    assert found is not None
    assert fault in found
    assert not value or value not in found


@pytest.mark.parametrize("value", ["'`", "`\\"])
def test_a_refused_value_can_really_not_be_written(tmp_path: Path, value: str) -> None:
    """The one way that sh takes is not the one that compose takes: the refusal is not more than is needed."""
    path = tmp_path / "f"
    in_double = value.replace("\\", "\\\\").replace("`", "\\`")
    path.write_text(f'V="{in_double}"\n', encoding="utf-8")
    assert read_by_sh(path)["V"] == value
    assert read_by_compose(path)["V"] != value


def test_the_file_says_where_it_comes_from_and_how_to_get_it_back() -> None:
    assert all(line.startswith("#") for line in HEADER.splitlines())
    assert "Pulumi" in HEADER
    assert "make import-secrets" in HEADER
