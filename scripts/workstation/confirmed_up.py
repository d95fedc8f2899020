"""`make up` for a stack of the user's own backend: the preview with its summary, one question, then the update."""

import sys
from collections.abc import Sequence

from scripts.workstation import event_log, plan, preview, restarts, run_pulumi
from scripts.workstation.session import Session
from scripts.workstation.trouble import Trouble

# With one of these the user has answered already, or wants what only pulumi itself can do.
_PULUMI_ALONE = (
    "-f",
    "-h",
    "-j",
    "-y",
    "--help",
    "--json",
    "--non-interactive",
    "--plan",
    "--skip-preview",
    "--strict",
    "--yes",
)
# Of an update, and of no preview.
_OF_THE_UPDATE = ("--continue-on-error",)


def up(session: Session, options: Sequence[str]) -> int:
    """pulumi's exit code. Where there is nobody to ask, pulumi does all of it in its own way."""
    asked = sys.stdin.isatty() and sys.stdout.isatty()
    if not asked or any(option.partition("=")[0] in _PULUMI_ALONE for option in options):
        return run_pulumi.attached(session, session.words("up", *options))
    shown = [option for option in options if option.partition("=")[0] not in _OF_THE_UPDATE]
    if code := preview.show(session, shown):
        return code
    if input(f"\nDo this to stack {session.stack}? Type yes: ").strip().lower() != "yes":
        raise Trouble("nothing was done")
    with event_log.kept(session) as (logging, log):
        words = logging.words("up", "--skip-preview", *options, "--event-log", str(log))
        code = run_pulumi.attached(logging, words)
        seconds = restarts.of_log(plan.events_of(event_log.text_of(log)))
    restarts.remember(restarts.path_of(session.stack), seconds)
    return code
