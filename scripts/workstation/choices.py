"""Which plugins and images a stack that is made here runs with: chosen once, and kept while the stack lives.

Another plugin or image under a live stack would be a change of its own, so a choice is made again only after `make destroy`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from scripts.workstation import atomic
from scripts.workstation.trouble import Trouble

Kind = Literal["plugins", "images"]
Choice = Literal["published", "stand-ins"]


@dataclass(frozen=True)
class Choices:
    """One stack's, in a file."""

    file: Path

    def recorded(self, kind: Kind) -> Choice | None:
        """The choice made for the stack that lives, if one was."""
        try:
            choice = json.loads(self.file.read_text(encoding="utf-8")).get(kind)
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, AttributeError):
            raise Trouble(
                f"{self.file} is not what was written there; correct it, or delete it to choose plugins and images again"
            ) from None
        if choice is not None and choice not in get_args(Choice):
            raise Trouble(f"{self.file} says {kind}: {choice!r}; write published or stand-ins")
        return choice

    def record(self, kind: Kind, choice: Choice) -> None:
        """Keep a choice."""
        known = {name: self.recorded(name) for name in get_args(Kind)}
        kept = {name: value for name, value in (known | {kind: choice}).items() if value}
        atomic.write(self.file, json.dumps(kept, indent=2) + "\n")

    def forget(self) -> None:
        """Let the next stack choose anew."""
        self.file.unlink(missing_ok=True)
