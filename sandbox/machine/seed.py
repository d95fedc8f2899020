"""What cloud-init reads instead of OCI's metadata service: the files of a NoCloud seed."""

import base64
import json

from sandbox.machine.errors import MachineError

NO_USER_DATA = b"#cloud-config\n{}\n"


def seed_files(instance_id: str, hostname: str, metadata: dict[str, str]) -> dict[str, bytes]:
    """The seed's files by name. `metadata` is the instance's: ssh_authorized_keys, and user_data in base64."""
    keys = [line.strip() for line in metadata.get("ssh_authorized_keys", "").splitlines() if line.strip()]
    about = {"instance-id": instance_id, "local-hostname": hostname, "public-keys": keys}
    # JSON is YAML.
    return {
        "meta-data": (json.dumps(about, indent=2) + "\n").encode(),
        "user-data": _decoded(metadata["user_data"]) if "user_data" in metadata else NO_USER_DATA,
    }


def _decoded(user_data: str) -> bytes:
    try:
        return base64.b64decode("".join(user_data.split()), validate=True)
    except ValueError as error:
        raise MachineError(f"the metadata's user_data is no base64 ({error}): encode the text") from error
