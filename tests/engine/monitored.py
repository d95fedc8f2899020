"""A platform with monitoring on, for tests: the store is asked as an operator's tunnel would."""

import json
import os
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.engine.platform import CHECKOUT, Platform

MONITORS = ("node-exporter", "postgres-exporter", "pgbouncer-exporter", "redis-exporter", "prometheus")


def with_stand_ins(catalogue: Path, folder: Path) -> Path:
    """The catalogue with the images of monitoring, where it has none: built from Debian packages, once."""
    known = json.loads(catalogue.read_text())
    if all(known.get(name, {}).get("manifests") for name in MONITORS):
        return catalogue
    path = folder / "images.json"
    # Where package mirrors and the registry that takes images are.
    outside = os.environ.get("CDP_TEST_OUTSIDE")
    enter = ["nsenter", f"--net={outside}"] if outside else []
    words = ["sh", str(CHECKOUT / "sandbox/images/monitoring.sh"), str(catalogue), str(path)]
    built = subprocess.run([*enter, *words], capture_output=True, text=True, check=False, timeout=900)
    assert built.returncode == 0, built.stdout + built.stderr
    return path


class Monitored(Platform):
    """Everything but Grafana, which no package registry has."""

    def first_config(self) -> dict[str, Any]:
        on = {"enabled": True, "grafana": False, "scrapeIntervalSeconds": 5}
        return super().first_config() | {"monitoring": on}

    def get(self, path: str, **parameters: str) -> Any:
        """What the store answers on its port."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        with urllib.request.urlopen(f"http://127.0.0.1:9090{path}{query}", timeout=30) as answer:
            return json.load(answer)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression at this moment."""
        return self.get("/api/v1/query", query=expression)["data"]["result"]

    def remove(self) -> None:
        subprocess.run(
            ["docker", "rm", "-f", *MONITORS], env=self.environment, capture_output=True, check=False
        )
        super().remove()
