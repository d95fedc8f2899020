"""`make preview`: what `make up` would change, as pulumi shows it and then in plain words."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from scripts.workstation import atomic, event_log, locks, plan, prepare, restarts, run_pulumi
from scripts.workstation.progress import Progress
from scripts.workstation.session import Session
from scripts.workstation.summary import Summary, summarize
from scripts.workstation.summary_pages import as_markdown, as_text
from scripts.workstation.trouble import Trouble, command

FILE_OPTION = "--summary"


def main() -> int:
    """Preview for the selected stack; `--summary FILE` writes it as Markdown, further words go to pulumi, whose exit code it is."""
    options, file = split(sys.argv[1:])
    own = prepare.own_stack()
    if own is None:
        return show(prepare.users_session_for_changes(), options, file)
    with locks.exclusive(own.lock, "preview", own.name):
        progress = Progress(prepare.STEPS_FOR_CHANGES[own.name] + 1)
        ready = prepare.for_changes(own, progress)
        with progress.step("the stack and its secrets"):
            own.initialise(ready.session)
            own.generate_secrets(ready.session)
        return show(ready.session, options, file)


def split(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """pulumi's words, and the file for the summary. Raises Trouble where they do not go together."""
    rest: list[str] = []
    file: str | None = None
    left = iter(words)
    for word in left:
        if word == FILE_OPTION:
            file = next(left, "")
        elif word.startswith(f"{FILE_OPTION}="):
            file = word.partition("=")[2]
        else:
            rest.append(word)
    if file is None:
        return rest, None
    if not file or file.startswith("-"):
        raise Trouble(f"{FILE_OPTION} needs the name of a file; write {FILE_OPTION} preview.md")
    for other in ("--json", "-j", "--show-secrets"):
        if any(word == other or word.startswith(f"{other}=") for word in rest):
            raise Trouble(f"{FILE_OPTION} does not go together with {other}; leave one of them out")
    return rest, Path(file)


def show(session: Session, options: Sequence[str], file: Path | None = None) -> int:
    """pulumi's preview as it shows it itself, then the summary. Returns pulumi's exit code."""
    if {"--json", "-j"} & set(options):
        # Whoever reads that is a program.
        return run_pulumi.attached(session, session.words("preview", *options, config=True))
    if file:
        options = [*options, *(word for word in ("--diff", "--color=never") if not _given(word, options))]
    with event_log.kept(session) as (logging, log):
        words = logging.words("preview", *options, "--event-log", str(log), config=True)
        printed = bytearray() if file else None
        code = run_pulumi.attached(logging, words, printed)
        events = event_log.text_of(log)
    summary = summary_of(session.stack, events)
    if events:
        print(f"\n{as_text(summary)}", flush=True)
    if file:
        text = (printed or b"").decode(errors="replace")
        atomic.write(file, as_markdown(summary, stack=session.stack, printed=text))
    return code


def summary_of(stack: str, events: str) -> Summary:
    """The summary of an event log."""
    figures = partial(restarts.expected, path=restarts.path_of(stack))
    return summarize(plan.read(plan.events_of(events), stack), figures)


def _given(option: str, options: Sequence[str]) -> bool:
    name = option.partition("=")[0]
    return any(word.partition("=")[0] == name for word in options)


if __name__ == "__main__":
    command(main)
