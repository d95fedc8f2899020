"""What the policy pack says, as the engine's `policyEvent`."""

from collections.abc import Mapping
from typing import Any


def as_diagnostic(violation: Mapping[str, Any]) -> dict[str, Any]:
    """The same as an engine's diagnostic. The rule's title comes first; the sentence after it names the resource itself."""
    title, _, sentence = str(violation.get("message", "")).partition("\n")
    forbidden = violation.get("enforcementLevel") == "mandatory"
    return {"severity": "error" if forbidden else "warning", "message": sentence.strip() or title}
