"""Where answers come from: a terminal, lines on standard input, or a file. Only a terminal is asked again."""

import getpass
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from scripts.workstation import config_file
from scripts.workstation.questions import NOTHING, Question
from scripts.workstation.trouble import Trouble


class Answers(Protocol):
    """A source of answers."""

    # Whether a person sees what is refused, and can answer again.
    patient: bool

    def answer(self, question: Question, proposal: str) -> str:
        """The answer; the proposal where nothing is said, and empty where it is cleared."""
        ...

    def secret(self, key: str) -> str | None:
        """A value for a secret, or None to have it generated."""
        ...

    def agree(self, text: str) -> bool:
        """Whether to go on."""
        ...


class Typed:
    """A person, or lines on standard input in the order of the questions."""

    def __init__(self) -> None:
        self.patient = sys.stdin.isatty()
        self._own_secrets: bool | None = None

    def answer(self, question: Question, proposal: str) -> str:
        """As `Answers` says."""
        print(f"\n{question.title}")
        for note in question.notes:
            print(f"  {note}")
        shown = f" [{proposal}]" if proposal else " [none]" if question.optional else ""
        clear = f", {NOTHING} for none" if question.optional and proposal else ""
        return settled(self._line(f"{question.name}{shown}{clear}: ", question.name), proposal)

    def secret(self, key: str) -> str | None:
        """As `Answers` says: typed without an echo, and only on a terminal."""
        if not self.patient:
            return None
        if self._own_secrets is None:
            said = self._line("\nThe secrets: generate them, or type your own? [generate]/type: ", "secrets")
            self._own_secrets = said.lower().startswith("t")
        return getpass.getpass(f"{key} (empty to generate it): ") or None if self._own_secrets else None

    def agree(self, text: str) -> bool:
        """As `Answers` says; who sends lines has agreed."""
        return not self.patient or self._line(f"{text} [yes]/no: ", "agreement").lower() in ("", "y", "yes")

    def _line(self, prompt: str, name: str) -> str:
        try:
            return input(prompt).strip()
        except EOFError:
            raise Trouble(f"the answers end before {name}; nothing was written") from None


class FromFile:
    """A YAML file with answers by name; what it does not say is as proposed."""

    patient = False

    def __init__(self, path: Path, questions: Sequence[Question]) -> None:
        if not path.is_file():
            raise Trouble(f"INIT_FILE is {path}, which is no file; name one with a line for each answer")
        self._path = path
        self._answers: Mapping[str, Any] = config_file.load(path)
        names = [question.name for question in questions]
        if unknown := sorted(set(self._answers) - set(names)):
            raise Trouble(
                f"{path} answers {', '.join(unknown)}, which is not asked; the names are {', '.join(names)}"
            )

    def answer(self, question: Question, proposal: str) -> str:
        """As `Answers` says."""
        if question.name not in self._answers:
            return proposal
        said = self._answers[question.name]
        if isinstance(said, bool):
            return "yes" if said else "no"
        if isinstance(said, list):
            return " ".join(str(part) for part in said)
        return "" if said is None else settled(str(said).strip(), proposal)

    def secret(self, key: str) -> str | None:  # noqa: ARG002
        """As `Answers` says: a file with answers is no place for secrets."""
        return None

    def agree(self, text: str) -> bool:  # noqa: ARG002
        """As `Answers` says."""
        return True


def settled(said: str, proposal: str) -> str:
    """The proposal for an empty answer, and nothing for a dash."""
    return "" if said == NOTHING else said or proposal
