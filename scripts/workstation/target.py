"""Where a stack's services are, for the commands that talk to them."""

import json
from dataclasses import dataclass
from pathlib import Path

from scripts.workstation import engine, prepare, run_pulumi, stack
from scripts.workstation.engine import Engine
from scripts.workstation.shell import answer
from scripts.workstation.trouble import Trouble


@dataclass(frozen=True, kw_only=True)
class Target:
    """An engine on this machine, and the platform's folder."""

    engine: Engine
    srv_root: Path

    def require_container(self, name: str) -> None:
        """Raises Trouble unless a container runs."""
        found = self.engine.inspect("container", [name])
        state = str(found[0]["State"]["Status"]) if found else "not there"
        if state != "running":
            raise Trouble(f"the container {name} is {state}; run make up, then the same command again")


def find() -> Target:
    """The selected stack's. Raises Trouble where it has none on this machine."""
    if not prepare.is_local():
        return _of_another_stack(prepare.selected_stack())
    if not stack.CONFIG.exists() or "srvRoot" not in stack.settings():
        raise Trouble("the local stack has not been brought up yet; run make up first")
    socket = prepare.recorded_socket() or engine.require_local(engine.current_socket())
    return Target(engine=Engine(socket=socket), srv_root=Path(stack.settings()["srvRoot"]))


def _of_another_stack(name: str) -> Target:
    session = prepare.other_stack()
    said = answer(session.words("config", "get", "host"), environment=session.environment)
    if said.returncode:
        raise Trouble(
            f"the host of stack {name} cannot be read: {said.stderr.strip().removeprefix('error: ')}"
        )
    host = json.loads(said.stdout)
    outputs = run_pulumi.outputs(session)
    if host.get("kind") != "local":
        raise Trouble(
            f"stack {name} runs on a host of its own; log in there and use docker exec -it postgres-db psql -U platform_admin, "
            f"docker exec -it redis-cache redis-cli --user admin --askpass, or sudo {outputs.get('srvRoot', '/srv')}/apps/status.sh"
        )
    if "srvRoot" not in outputs:
        raise Trouble(f"stack {name} has not been brought up yet; run make up STACK={name} first")
    return Target(
        engine=Engine(socket=host.get("socket", engine.DEFAULT_SOCKET)), srv_root=Path(outputs["srvRoot"])
    )
