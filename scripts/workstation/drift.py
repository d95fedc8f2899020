"""`make drift`: what on the host is not as the last `up` left it, and what the next one will do about it.

It changes nothing there but a line for `make status`, which says when somebody looked and what came of it.

Exit code 0: nothing; 1: something; 2: it could not be looked at.
"""

import json
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from components.render.postgres import ADMIN, BACKUP_ROLE, RESTORE_ROLE
from scripts.workstation import container_drift, event_log, plan, prepare, run_pulumi, state, target
from scripts.workstation.parts import SERVICES, Kind, Part
from scripts.workstation.plan import Action, Change, Plan
from scripts.workstation.session import Session
from scripts.workstation.shell import answer
from scripts.workstation.target import Target
from scripts.workstation.trouble import Trouble, command

NOT_LOOKED_AT = 2
SCHEMA = 1
# Far more than a refresh takes.
PATIENCE_SECONDS = 900

_DONE = {
    Action.MADE: "makes it again",
    Action.CHANGED: "puts it in order",
    Action.REPLACED: "makes it anew",
    Action.REMOVED: "removes it",
}
_LEFT = "leaves it"
# As backup.d/common.sh's `record` writes it, for status.d/80-drift.sh: all of it or nothing.
_NOTE = """\
cd "$1" && umask 077 && printf '%s\\t%s\\t%s\\n' "$2" "$(date +%s)" "$3" >drift.new && mv -f drift.new drift"""
# Roles that may do what only the platform's own may: read in pg_roles, whatever their name.
_STRANGERS = f"""
SELECT format('%s %s', rolname, concat_ws(' and ',
    CASE WHEN rolsuper THEN 'is a superuser' END, CASE WHEN rolcreaterole THEN 'may create roles' END,
    CASE WHEN rolreplication THEN 'may replicate' END, CASE WHEN rolbypassrls THEN 'is above row security' END))
  FROM pg_roles
  WHERE (rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls)
    AND rolname !~ '^pg_' AND rolname NOT IN ('{ADMIN}', '{BACKUP_ROLE}', '{RESTORE_ROLE}')
  ORDER BY rolname
"""  # noqa: S608 # constants of ours


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is looked at, how it differs, and what `up` does about it; `repaired` where that is something."""

    what: str
    differs: str
    remedy: str
    repaired: bool


def main() -> int:
    """The selected stack's drift, as a table or, with --json, for machines."""
    if unknown := [word for word in sys.argv[1:] if word != "--json"]:
        raise Trouble(f"make drift knows only ARGS=--json, not {unknown[0]}", NOT_LOOKED_AT)
    try:
        found = findings()
    except Trouble as trouble:
        raise Trouble(str(trouble), NOT_LOOKED_AT) from None
    except Exception:
        # With 1, which is Python's own code, it would look like drift.
        traceback.print_exc()
        return NOT_LOOKED_AT
    print(as_json(found) if "--json" in sys.argv[1:] else as_table(found, prepare.suffix()))
    return 1 if found else 0


def findings() -> list[Finding]:
    """Everything that differs; the host is only looked at, and keeps a note of how many there are."""
    session = prepare.session(prepare.own_stack())
    outputs = run_pulumi.outputs(session)
    if not outputs:
        raise Trouble(
            f"stack {session.stack} has not been brought up yet; run make up{prepare.suffix()} first"
        )
    host = target.of_outputs(session, outputs)
    refreshed = looked_at(session)
    found = [
        *of_states(refreshed),
        *of_containers(refreshed, state.read(session), host),
        *of_roles(host),
    ]
    note(host, len(found))
    return found


def note(host: Target, count: int) -> None:
    """Leave word on the host. Where that fails, what was found is no less true."""
    outcome = ("fail", _differences(count)) if count else ("ok", "nothing differs")
    folder = str(host.srv_root / "backups" / "state")
    try:
        noted = host.run_as_root(["sh", "-c", _NOTE, "drift", folder, *outcome]) == 0
    except Trouble:
        noted = False
    if not noted:
        print(
            f"warning: no note of this look could be left in {folder}, so make status does not know of it",
            file=sys.stderr,
        )


def looked_at(session: Session) -> Plan:
    """What pulumi finds when it looks at every resource, and would do then. The state stays as it is."""
    with event_log.kept(session) as (logging, log):
        # Nothing is going to be changed.
        asked = ("preview", "--refresh", "--non-interactive", "--event-log", str(log))
        words = logging.words(*asked, config=True, policies=False)
        said = answer(words, environment=logging.environment, timeout=PATIENCE_SECONDS)
        found = plan.read(plan.events_of(event_log.text_of(log)), session.stack)
    if not found.refreshed:
        reasons = found.errors or [line for line in said.stderr.splitlines() if line.strip()][-1:]
        raise Trouble(
            f"the host could not be looked at: {reasons[0] if reasons else 'pulumi gave no reason'}"
        )
    return found


def of_states(refreshed: Plan) -> list[Finding]:
    """What scripts and providers read back. Where a provider's own words change and `up` does nothing, nothing is wrong."""
    changes = {change.name: change for change in refreshed.changes}
    return [
        _finding(_what(drift.part), sentence, changes.get(drift.name))
        for drift in refreshed.drift
        if drift.name in changes and drift.part.kind is not Kind.CONTAINER
        for sentence in drift.sentences
    ]


def _what(part: Part) -> str:
    return f"running {SERVICES[part.service]}" if part.kind is Kind.RELOAD and part.service else part.words


def of_containers(refreshed: Plan, known: state.State, host: Target) -> list[Finding]:
    """What the provider does not read back of the containers: environment, labels, mounts, rights, networks, image."""
    changes = {change.name: change for change in refreshed.changes}
    found: list[Finding] = []
    for resource in known.of_type(state.CONTAINER):
        inputs = resource["inputs"]
        container = _inspected(host, "container", inputs["name"])
        image = _inspected(host, "image", inputs["image"])
        change = changes.get(str(resource["urn"]).rpartition("::")[2])
        in_place = container_drift.changed_in_place(inputs, container or {})
        for sentence in container_drift.differences(inputs, str(resource["id"]), container, image):
            # What is changed and not made anew keeps the rest of what it has.
            stays = change is not None and change.action is Action.CHANGED and sentence not in in_place
            found.append(_finding(f"container {inputs['name']}", sentence, None if stays else change))
    return found


def of_roles(host: Target) -> list[Finding]:
    """Roles that are none of the platform's and may do what only its own may."""
    words = (
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        f"--username={ADMIN}",
        "--dbname=postgres",
    )
    said = host.docker("exec", "postgres-db", *words, f"--command={_STRANGERS}")
    # One that does not run is a finding already.
    lines = said.stdout.splitlines() if said.returncode == 0 else []
    return [
        Finding(
            what="roles of PostgreSQL",
            differs=f"{line}, and is none of the platform's",
            remedy=f"{_LEFT}: take its rights (ALTER ROLE) or drop it, in make psql{prepare.suffix()}",
            repaired=False,
        )
        for line in lines
    ]


def _inspected(host: Target, kind: str, name: str) -> Mapping[str, object] | None:
    said = host.docker(kind, "inspect", name)
    if said.returncode:
        if "no such" in said.stderr.lower():
            return None
        raise Trouble(f"docker on the host cannot be asked about {kind} {name}: {said.stderr.strip()}")
    return json.loads(said.stdout)[0]


def _finding(what: str, sentence: str, change: Change | None) -> Finding:
    if change is None:
        return Finding(what=what, differs=sentence, remedy=f"{_LEFT}: undo it with docker", repaired=False)
    return Finding(what=what, differs=sentence, remedy=_DONE[change.action], repaired=True)


def as_json(found: Sequence[Finding]) -> str:
    """For machines, schema 1: `{schema, drift: [{what, differs, remedy, repaired}]}`."""
    return json.dumps({"schema": SCHEMA, "drift": [asdict(finding) for finding in found]}, indent=2)


def as_table(found: Sequence[Finding], suffix: str) -> str:
    """For people."""
    if not found:
        return "No drift: the host is as the last up left it."
    rows = [("WHAT", "DIFFERS", "UP"), *((f.what, f.differs, f.remedy) for f in found)]
    repair = f"make up ARGS=--refresh{suffix}"
    repaired = sum(f.repaired for f in found)
    return "\n".join([*_aligned(rows), "", _ending(len(found), repaired, repair)])


def _aligned(rows: Sequence[tuple[str, str, str]]) -> Iterable[str]:
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return (f"{what:<{first}}  {differs:<{second}}  {remedy}" for what, differs, remedy in rows)


def _ending(count: int, repaired: int, repair: str) -> str:
    if repaired == count:
        return f"{_differences(count)}: {repair} repairs {'it' if count == 1 else 'all of them'}."
    if not repaired:
        return f"{_differences(count)}, which no up repairs."
    return f"{_differences(count)}: {repair} repairs {repaired} of them."


def _differences(count: int) -> str:
    return "One difference" if count == 1 else f"{count} differences"


if __name__ == "__main__":
    command(main)
