"""Recorded event logs of previews, made small and free of what belongs to the machine they were recorded on.

    PULUMI_DEBUG_COMMANDS=true pulumi preview --event-log LOG …
    python -m tests.unit.preview_events LOG FOLDER >tests/golden/preview/NAME.jsonl

FOLDER is the one below which the stack's srvRoot and engine were.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.workstation.file_lists import files_in
from scripts.workstation.plan import STACK

KEPT = ("preludeEvent", "diagnosticEvent", "summaryEvent", "policyEvent")
STEPS = ("resourcePreEvent", "resOutputsEvent")
OUTPUTS = ("differences",)
# Of a container, beside what differs.
CONTAINER = ("name", "memory", "ports")


def scrubbed(log: str, folder: str) -> Iterator[str]:
    """The lines that a summary is made from."""
    for line in log.splitlines():
        event = json.loads(line)
        kept = {name: event[name] for name in KEPT if name in event}
        for name in STEPS:
            if name in event and (step := _step(event[name]["metadata"], name)):
                kept[name] = {"metadata": step}
        if kept and not _noise(kept.get("diagnosticEvent") or {}):
            yield json.dumps(_elsewhere(kept, folder), sort_keys=True)


def _noise(diagnostic: Mapping[str, Any]) -> bool:
    # The second is about a stand-in plugin that was slow to end, with a trace.
    return diagnostic.get("severity") == "debug" or "exited prematurely" in diagnostic.get("message", "")


def _step(step: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    if step["type"] == STACK:
        side = "old" if name == "resourcePreEvent" else "new"
        ended = _outputs(step.get(side))
        return {**_head(step), side: ended} if ended else None
    # A refresh matters for what it finds, a change for what it begins.
    if step["op"] in ("same", "read") or (step["op"] == "refresh") != (name == "resOutputsEvent"):
        return None
    return {**_head(step), **{side: _state(step, side) for side in ("old", "new")}}


def _head(step: Mapping[str, Any]) -> dict[str, Any]:
    return {key: step[key] for key in ("op", "urn", "type", "keys", "diffs", "detailedDiff") if step.get(key)}


def _outputs(state: Mapping[str, Any] | None) -> dict[str, Any] | None:
    outputs = dict((state or {}).get("outputs") or {})
    if "caCertificate" in outputs:
        outputs["caCertificate"] = _short(str(outputs["caCertificate"]))
    return {"outputs": outputs} if outputs else None


def _state(step: Mapping[str, Any], side: str) -> dict[str, Any] | None:
    state = step.get(side)
    if state is None:
        return None
    kept: dict[str, Any] = {key: True for key in ("protect", "retainOnDelete") if state.get(key)}
    if step["op"] == "refresh":
        found = state.get("outputs") or {}
        return kept | {"outputs": {key: found[key] for key in OUTPUTS if key in found}}
    inputs = {key: value for key, value in (state.get("inputs") or {}).items() if key != "__provider"}
    if str(step["type"]).startswith("docker:index/container:"):
        differing = {*CONTAINER, *(step.get("keys") or []), *(step.get("diffs") or [])} - {"labels"}
        inputs = {key: value for key, value in inputs.items() if key in differing}
    if isinstance(inputs.get("stdin"), str):
        inputs["stdin"] = _stdin(inputs["stdin"])
    return kept | {"inputs": _shortened(inputs)}


def _stdin(text: str) -> str:
    listed = files_in(text)
    if not listed:
        return _short(text)
    parts: list[str] = []
    for path, entry in listed.items():
        kind, mode, owner, _, _ = entry.partition("\n")[0].split(" ", 4)
        content = _short(entry.partition("\n")[2])
        parts.append(f"{kind} {mode} {owner} {len(content.encode())} {path}\n{content}\n")
    return "".join([*parts, "end\n"])


def _shortened(value: Any) -> Any:
    """Scripts, cut to a line that is another one where the script is."""
    if isinstance(value, dict):
        return {key: item if key == "stdin" else _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return _script(value) if isinstance(value, str) and "\n" in value else value


def _script(text: str) -> str:
    # Over ssh the script is a word within the line, quoted.
    before, quote, rest = text.partition("'#!")
    if quote and " sh -c " in before:
        script, _, after = rest.rpartition("'")
        return f"{before}'#!\n{_short(script)}'{after}"
    return f"#!\n{_short(text)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _elsewhere(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {_elsewhere(key, folder): _elsewhere(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_elsewhere(item, folder) for item in value]
    if not isinstance(value, str):
        return value
    return value.replace(f"{folder}/live/srv", "/srv").replace(folder, "/elsewhere")


if __name__ == "__main__":
    print("\n".join(scrubbed(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2])))
