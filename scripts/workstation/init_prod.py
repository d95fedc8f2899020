"""`make init-prod`: ask for what a stack in OCI needs, check it, and write it down with its secrets. Nothing is made in OCI."""

import os
from collections.abc import Sequence
from pathlib import Path

from components.render.env_file import secret_fault
from scripts.workstation import atomic, backend, encryption, prepare, secret_values, yaml_edit
from scripts.workstation.answers import Answers, FromFile, Typed
from scripts.workstation.config_file import PROJECT, ConfigFile, of_stack
from scripts.workstation.draft import Draft
from scripts.workstation.questions import QUESTIONS, Question
from scripts.workstation.stack import LOCAL, OWN
from scripts.workstation.trouble import Trouble, command

DEFAULT_STACK = "prod"
_NEW_FILE = "# The OCI machine, as make init-prod has asked for it.\n"


def main() -> int:
    """All questions first, then one file, the stack, and the secrets; each step completes one that was cut off."""
    name = os.environ["STACK"] if prepare.selected_stack() != LOCAL.name else DEFAULT_STACK
    if name in OWN:
        raise Trouble(f"the stack {name} needs no questions; make up STACK={name} makes it")
    os.environ["STACK"] = name
    config = of_stack(name)
    session = prepare.session(None)
    address = backend.require(session, config.load() if config.exists() else {})
    print(f"Settings of the stack {name} ({config.path.name}); its state is kept in {address}.")
    answers = _source()
    draft = Draft(config.settings() if config.exists() else {})
    ask(draft, answers)
    values = typed_or_generated(config, answers)
    if not answers.agree(
        f"\nWrite {config.path.name}, make the stack {name} if it is new, and encrypt {len(values)} secrets?"
    ):
        raise Trouble("nothing was written")
    write(config, draft)
    if not backend.has_stack(session):
        backend.make_stack(session)
    encryption.set_secrets(config, session, {(key,): value for key, value in values.items()})
    print(_closing(name, config, sorted(values)))
    return 0


def _source() -> Answers:
    name = os.environ.get("INIT_FILE")
    return FromFile(Path(name), QUESTIONS) if name else Typed()


def ask(draft: Draft, answers: Answers, questions: Sequence[Question] = QUESTIONS) -> None:
    """Every question until its answer is one that the program takes. Raises Trouble where nobody can be asked again."""
    for number, question in enumerate(questions):
        later = [other.key for other in questions[number + 1 :]]
        while fault := _answered(draft, answers, question, later):
            if not answers.patient:
                raise Trouble(f"{question.name}: {fault}; nothing was written")
            print(f"  {fault}")
    if faults := draft.faults():
        raise Trouble("\n       ".join([*faults, "nothing was written"]))


def _answered(draft: Draft, answers: Answers, question: Question, later: Sequence[str]) -> str | None:
    """Take one answer. Returns why it cannot be used, or None."""
    said = answers.answer(question, question.propose(draft))
    if not said and not question.optional:
        return f"{question.title} is needed; write it"
    try:
        changes = question.read(said)
    except ValueError as fault:
        return str(fault)
    before = {path: draft.value(path) for path in changes}
    for path, value in changes.items():
        draft.change(path, value)
    fault = next(iter(draft.faults_of(question.key, later)), None)
    if fault:
        # What is proposed next is what was there before.
        for path, value in before.items():
            draft.change(path, value)
    return fault


def typed_or_generated(config: ConfigFile, answers: Answers) -> dict[str, str]:
    """A value for each secret that the stack does not have yet."""
    values: dict[str, str] = {}
    for key, length in secret_values.LENGTHS.items():
        if config.has_secret(key):
            continue
        typed = answers.secret(key)
        while typed and (fault := secret_fault(typed)):
            print(f"  {key} {fault}")
            typed = answers.secret(key)
        values[key] = typed or secret_values.generate(length)
    return values


def write(config: ConfigFile, draft: Draft) -> None:
    """The changed settings into the stack's file, all at once; its comments stay."""
    text = config.path.read_text(encoding="utf-8") if config.exists() else _NEW_FILE
    for path, value in draft.changes.items():
        full = ("config", f"{PROJECT}:{path[0]}", *path[1:])
        text = yaml_edit.remove(text, full) if value is None else yaml_edit.set_value(text, full, value)
    mode = config.path.stat().st_mode & 0o777 if config.exists() else 0o644
    atomic.write(config.path, text, mode)


def _closing(name: str, config: ConfigFile, made: Sequence[str]) -> str:
    secrets = f"{', '.join(made)} are set, encrypted." if made else "its secrets were there already."
    return (
        f"\n{config.path.name} is written; {secrets}\n"
        f"Next: make preview STACK={name}, then make up STACK={name}. Nothing has been made in OCI yet."
    )


if __name__ == "__main__":
    command(main)
