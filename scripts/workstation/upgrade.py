"""`make upgrade-postgres`, `make upgrade-redis`: data of another major version, and the way back, with the image that the settings name."""

import json
import sys

from scripts.workstation import config_file, images, prepare, target, up
from scripts.workstation.paths import ROOT
from scripts.workstation.target import Target
from scripts.workstation.trouble import Trouble, command

# What is done with an image, and after which of them `up` starts the service again.
WITH_IMAGE = ("rehearse", "switch", "back")
THEN_UP = ("switch", "back")
VERBS = {
    "postgres": "rehearse, switch --yes, back --yes or drop --yes",
    "redis": "switch --yes, back --yes or drop --yes",
}


def main() -> int:
    """The service, then what the host's script is to do; further words go to the script."""
    service, *arguments = sys.argv[1:]
    verb = arguments[0] if arguments else ""
    if verb not in (*WITH_IMAGE, "drop", "settle"):
        raise Trouble(
            f"ARGS is missing; say make upgrade-{service} ARGS=… with {VERBS[service]} (docs/upgrades.md)"
        )
    host = target.find()
    script = f"upgrade-{service}.sh"
    image = [_image(host, service)] if verb in WITH_IMAGE else []
    code = target.run_script(host, script, [verb, *image, *arguments[1:]])
    if code or verb not in THEN_UP:
        return code
    return _up_again(host, service, script)


def _up_again(host: Target, service: str, script: str) -> int:
    print(f"\nNow up, which starts {service} with these data:", flush=True)
    sys.argv[1:] = []
    code = up.main()
    if code or service != "postgres":
        return code
    return target.run_script(host, script, ["finish"])


def _image(host: Target, service: str) -> str:
    """What the stack's catalogue names for the host. Raises Trouble where the host does not answer or has no such image."""
    said = host.docker("version", "--format", "{{.Server.Arch}}")
    if said.returncode:
        raise Trouble(f"Docker on the host of stack {host.stack} does not answer: {said.stderr.strip()}")
    own = prepare.own_stack()
    settings = (own.config if own else config_file.of_stack(prepare.selected_stack())).settings()
    catalogue = ROOT / settings.get("imageCatalogue", images.PINNED.name)
    return images.references(json.loads(catalogue.read_text(encoding="utf-8")), said.stdout.strip())[service]


if __name__ == "__main__":
    command(main)
