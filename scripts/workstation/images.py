"""The images: the pinned ones, or, where no registry answers, stand-ins built from Debian packages."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.monitoring_settings import EXPORTERS, GRAFANA, STORE
from scripts.workstation.choices import Choices
from scripts.workstation.engine import Engine
from scripts.workstation.paths import LOGS, ROOT, STATE
from scripts.workstation.progress import Step
from scripts.workstation.shell import log_path, logged
from scripts.workstation.trouble import Trouble

PINNED = ROOT / "images.json"
STAND_IN_CATALOGUE = STATE / "images.json"
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
OF_MONITORING = (*EXPORTERS, STORE, GRAFANA)

# What the engine says when nobody answered. Anything else is an answer, and no reason for other images.
_NO_ANSWER = re.compile(
    r"no such host|server misbehaving|name resolution|connection refused|network is unreachable|no route to host"
    r"|i/o timeout|handshake timeout|context deadline exceeded|Client\.Timeout|request canceled while waiting|connection reset",
    re.IGNORECASE,
)
_ADVICE = (
    (
        "toomanyrequests",
        "the registry limits anonymous pulls; run docker login, or wait, and run the same command again",
    ),
    ("manifest unknown", "the registry no longer has that digest; update images.json by make pin-images"),
    ("not found", "the registry has no such image; correct images.json"),
    ("denied", "the registry wants a login or has no such image; run docker login or correct images.json"),
    ("unauthorized", "the registry wants a login; run docker login and run the same command again"),
    ("no space left", "the disk is full; free some space (docker system df shows what Docker holds)"),
)


def nobody_answered(message: str) -> bool:
    """Whether a failed pull means that no registry answered."""
    return bool(_NO_ANSWER.search(message))


def advice_for(message: str) -> str:
    """What to do about a registry's answer."""
    lower = message.lower()
    return next(
        (advice for sign, advice in _ADVICE if sign in lower),
        "see what docker says, and run the same command again",
    )


def references(catalogue: Mapping[str, Any], architecture: str) -> dict[str, str]:
    """`repository@sha256:…` of each image of the platform for an architecture. Raises Trouble where one is not built for it.

    Those of monitoring are pulled by `up` itself, where it is on.
    """
    found: dict[str, str] = {}
    for name, image in catalogue.items():
        if name in OF_MONITORING:
            continue
        digest = image["manifests"].get(architecture)
        if digest is None:
            raise Trouble(
                f"images.json has no {name} image for {architecture}; add its digest under manifests"
            )
        found[name] = f"{image['repository']}@{digest}"
    return found


def provide(step: Step, engine: Engine, choices: Choices) -> Path:
    """Have the images in the engine. Returns the catalogue that names them."""
    architecture = engine_architecture(engine)
    if choices.recorded("images") == "stand-ins":
        return _stand_ins(step, engine, choices, architecture)
    missing = _missing(engine, references(_read(PINNED), architecture))
    for reference in missing.values():
        step.expect(f"pulling {reference.partition('@')[0]}")
        message = _pull(engine, reference)
        if message is None:
            continue
        if not nobody_answered(message):
            raise Trouble(f"{reference} cannot be pulled: {message}; {advice_for(message)}")
        if choices.recorded("images") == "published":
            raise Trouble(
                f"{reference} is not on this machine, no registry answers ({message}), and this stack was made with the published "
                "images; connect to the network and run the same command again"
            )
        return _stand_ins(step, engine, choices, architecture)
    choices.record("images", "published")
    step.result(f"the pinned ones for {architecture}{', pulled' if missing else ''}")
    return PINNED


def engine_architecture(engine: Engine) -> str:
    """The engine's architecture as Go names it."""
    said = engine.docker("info", "--format", "{{.Architecture}}").stdout.strip()
    if said not in ARCHITECTURES:
        raise Trouble(
            f"the Docker engine runs on {said or 'an unknown architecture'}; the images exist for amd64 and arm64"
        )
    return ARCHITECTURES[said]


def _read(catalogue: Path) -> dict[str, Any]:
    try:
        return json.loads(catalogue.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise Trouble(f"{catalogue} cannot be read ({error}); restore it from git") from None


def _missing(engine: Engine, wanted: dict[str, str]) -> dict[str, str]:
    return {
        name: reference
        for name, reference in wanted.items()
        if engine.docker("image", "inspect", "--format", "{{.Id}}", reference).returncode
    }


def _pull(engine: Engine, reference: str) -> str | None:
    """The engine's last word on a failed pull, or None when the image is here."""
    said = engine.docker("pull", "--quiet", reference, timeout=1800)
    if said.returncode == 0:
        return None
    log_path("pull").write_text(said.stderr, encoding="utf-8")
    lines = [line.strip() for line in said.stderr.splitlines() if line.strip()]
    return (
        lines[-1].removeprefix("Error response from daemon: ").rstrip(".")
        if lines
        else f"no reason given, see {LOGS}"
    )


def _stand_ins(step: Step, engine: Engine, choices: Choices, architecture: str) -> Path:
    if not (
        STAND_IN_CATALOGUE.exists()
        and not _missing(engine, references(_read(STAND_IN_CATALOGUE), architecture))
    ):
        step.expect("no registry answers: building stand-ins from Debian packages (about 5 minutes, once)")
        socket = engine.socket.removeprefix("unix://")
        logged(
            [
                "sh",
                str(ROOT / "sandbox" / "images" / "provide.sh"),
                str(STAND_IN_CATALOGUE),
                "--socket",
                socket,
            ],
            log="images-stand-ins",
            failure="the stand-in images could not be built",
        )
    choices.record("images", "stand-ins")
    step.result("stand-ins of sandbox/images, kept until make destroy")
    return STAND_IN_CATALOGUE
