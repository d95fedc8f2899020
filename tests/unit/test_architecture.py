"""The direction of imports, and what each part may know."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))
SETTINGS = [
    ROOT / f"components/{name}.py"
    for name in (
        *("model", "application_settings", "backup_settings", "host_settings", "settings"),
        *("tuning", "tuning_faults", "native_names", "native_parameters"),
    )
]
PURE = [*SETTINGS, *sorted((ROOT / "components/render").glob("*.py"))]
PRODUCT = [
    *COMPONENTS,
    ROOT / "__main__.py",
    *sorted(ROOT.glob("Pulumi*.yaml")),
    ROOT / "images.json",
    *sorted((ROOT / "scripts/host").rglob("*.sh")),
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, whole dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def calls(path: Path) -> set[str]:
    """The text of everything that a file calls."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", PURE, ids=name)
def test_settings_and_render_import_neither_pulumi_nor_what_does(path: Path) -> None:
    allowed = re.compile(
        r"components(\.model|\.application_settings|\.backup_settings|\.host_settings|\.settings|\.render"
        r"|\.monitoring_settings|\.tuning|\.tuning_faults|\.native_names|\.native_parameters)(\..*)?$"
    )
    assert not {m for m in imports(path) if m.startswith("pulumi")}
    assert not {m for m in imports(path) if m.startswith("components.") and not allowed.match(m)}


def test_settings_and_render_work_where_pulumi_is_not_installed() -> None:
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in PURE if p.stem != "__init__"]
    blocked = "sys.modules.update(dict.fromkeys(('pulumi', 'pulumi_docker', 'pulumi_command', 'pulumi_oci')))"
    program = f"import sys; {blocked}; import {', '.join(modules)}"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.returncode, ran.stderr


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_only_hosts_know_oci(path: Path) -> None:
    if path.parent.name != "hosts":
        assert not {m for m in imports(path) if m.startswith("pulumi_oci")}


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_only_hosts_run_commands_and_know_the_kinds_of_host(path: Path) -> None:
    if path.parent.name != "hosts":
        assert not {m for m in imports(path) if m.startswith("pulumi_command")}
        assert not {m for m in imports(path) if re.match(r"components\.hosts\.(?!base)", m)}


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_only_config_reads_the_configuration(path: Path) -> None:
    if path.name != "config.py":
        assert not calls(path) & {"pulumi.Config", "Config", "pulumi.runtime.get_config"}


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_nothing_asks_which_stack_it_is_in(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    asked = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Compare | ast.Match)]
    assert not [text for text in asked if "get_stack" in text.partition("\n")[0]]


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_the_product_knows_no_sandbox(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"sandbox|stand-in|CDP_", text, re.IGNORECASE)


def test_the_program_is_short() -> None:
    assert len((ROOT / "__main__.py").read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("path", sorted((ROOT / "scripts/host").rglob("*.sh")), ids=name)
def test_a_host_script_is_plain_sh_that_stops_at_a_fault(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.parent.name in ("backup.d", "monitoring.d", "status.d") and lines[0] == "# shellcheck shell=sh":
        # Read by the others, which stop at a fault by what they read first.
        return
    assert lines[0] == "#!/bin/sh"
    assert "set -eu" in lines or any(re.fullmatch(r'\. "\$\(dirname .*/common\.sh"', line) for line in lines)
