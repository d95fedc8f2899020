"""What `make init-prod` asks, in this order. Each answer is text that becomes settings; the program's own rules check them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from components.host_settings import ARM_SHAPES, EVERYWHERE, OciHostSettings
from scripts.workstation import key_files, oci_profile
from scripts.workstation.draft import Draft, Path
from scripts.workstation.oci_profile import DEFAULT_PROFILE

# Clears what is there.
NOTHING = "-"
OPEN_TO_ALL = "open to all"


@dataclass(frozen=True, kw_only=True)
class Question:
    """`key` is the setting's name in the rules' sentences, `read` makes settings of an answer or raises ValueError with one sentence."""

    name: str
    key: str
    title: str
    notes: Sequence[str] = ()
    propose: Callable[[Draft], str]
    read: Callable[[str], Mapping[Path, Any]]
    optional: bool = False


def _host(key: str) -> Path:
    return ("host", key)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    return "" if value is None else str(value)


def _default(key: str) -> Any:
    fields = {to_camel(name): field for name, field in OciHostSettings.model_fields.items()}
    return fields[key].get_default()


def _present(path: Path, otherwise: str = "") -> Callable[[Draft], str]:
    return lambda draft: _shown(draft.value(path)) or otherwise


def _text(key: str) -> Callable[[str], Mapping[Path, Any]]:
    return lambda answer: {_host(key): answer or None}


def _number(key: str) -> Callable[[str], Mapping[Path, Any]]:
    def read(answer: str) -> Mapping[Path, Any]:
        if not re.fullmatch(r"\d{1,6}", answer):
            raise ValueError(f"{key} is {answer!r}; write a whole number")
        return {_host(key): int(answer)}

    return read


def _yes_or_no(key: str) -> Callable[[str], Mapping[Path, Any]]:
    def read(answer: str) -> Mapping[Path, Any]:
        if answer.lower() not in ("yes", "no", "y", "n"):
            raise ValueError(f"{key} is {answer!r}; write yes or no")
        return {_host(key): answer.lower().startswith("y")}

    return read


def _networks(answer: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", answer) if word]


def _ssh_cidrs(answer: str) -> Mapping[Path, Any]:
    open_to_all = OPEN_TO_ALL in answer
    networks = _networks(answer.replace(OPEN_TO_ALL, ""))
    if str(EVERYWHERE) in networks and not open_to_all:
        raise ValueError(
            f"{EVERYWHERE} lets every address on the internet try to log in; write your own networks, or, if that is meant, "
            f"write it out: {EVERYWHERE} {OPEN_TO_ALL}"
        )
    return {_host("sshCidrs"): networks, _host("sshOpenToAll"): True if open_to_all else None}


def _propose_ssh_cidrs(draft: Draft) -> str:
    said = _shown(draft.value(_host("sshCidrs")))
    return f"{said} {OPEN_TO_ALL}" if draft.value(_host("sshOpenToAll")) else said


def _profile(answer: str) -> Mapping[Path, Any]:
    known = oci_profile.profiles()
    if answer and known and answer not in known:
        raise ValueError(f"{oci_profile.path()} has no profile {answer}; write one of {', '.join(known)}")
    return {_host("profile"): None if answer in ("", DEFAULT_PROFILE) else answer}


def _from_profile(field: str) -> Callable[[Draft], str]:
    def propose(draft: Draft) -> str:
        profile = oci_profile.profiles().get(draft.value(_host("profile")) or DEFAULT_PROFILE)
        proposed = getattr(profile, field) if profile else ""
        said = _shown(draft.value(_host(field)))
        # A file in which nobody has said a tenancy yet is the committed one, whose region is only an example.
        untouched = draft.value(_host("tenancy")) is None
        return (proposed or said) if untouched else (said or proposed)

    return propose


def _propose_public_key(draft: Draft) -> str:
    if draft.value(_host("sshPublicKey")):
        return KEEP
    found = key_files.proposed()
    return str(found) if found else ""


KEEP = "keep"


def _public_key(answer: str) -> Mapping[Path, Any]:
    return {} if answer == KEEP else {_host("sshPublicKey"): key_files.read_public(answer)}


def _private_key(answer: str) -> Mapping[Path, Any]:
    return {_host("sshKeyFile"): key_files.checked_private(answer) if answer else None}


def _how_many(key: str, title: str, *notes: str) -> Question:
    """A question for a number of the host's settings that has a default."""
    return Question(
        name=key,
        key=key,
        title=title,
        notes=notes,
        propose=_present(_host(key), _shown(_default(key))),
        read=_number(key),
    )


QUESTIONS: tuple[Question, ...] = (
    Question(
        name="profile",
        key="profile",
        title="Profile of ~/.oci/config",
        notes=("With it the provider signs its requests; `oci setup config` makes the file.",),
        propose=_present(_host("profile"), DEFAULT_PROFILE),
        read=_profile,
    ),
    Question(
        name="region",
        key="region",
        title="Region",
        notes=("Such as eu-frankfurt-1. Always Free is in the tenancy's home region only.",),
        propose=_from_profile("region"),
        read=_text("region"),
    ),
    Question(
        name="homeRegion",
        key="homeRegion",
        title="Home region of the tenancy, if it is another one",
        propose=_present(_host("homeRegion")),
        read=_text("homeRegion"),
        optional=True,
    ),
    Question(
        name="tenancy",
        key="tenancy",
        title="OCID of the tenancy",
        notes=("In the console: Profile, Tenancy.",),
        propose=_from_profile("tenancy"),
        read=_text("tenancy"),
    ),
    Question(
        name="compartment",
        key="compartment",
        title="OCID of the compartment",
        notes=("In the console: Identity, Compartments. The tenancy's own OCID is its root compartment.",),
        propose=lambda draft: _shown(draft.value(_host("compartment")) or draft.value(_host("tenancy"))),
        read=_text("compartment"),
    ),
    _how_many(
        "availabilityDomain",
        "Number of the availability domain",
        "1 to 3, in many regions only 1. Machine and volume are in the same one; Ampere may be out of stock in one.",
    ),
    Question(
        name="shape",
        key="shape",
        title="Shape",
        notes=(
            f"{', '.join(ARM_SHAPES)}; the images are pinned for arm64. Only A1 is Always Free: 2 OCPUs and 12 GB in all, as users have",
            "reported since 2026 (4 and 24 before). Look at your own in the console: Limits, Quotas and Usage, Compute, ...a1... cores and memory.",
        ),
        propose=_present(_host("shape"), ARM_SHAPES[0]),
        read=_text("shape"),
    ),
    _how_many("ocpus", "OCPUs"),
    _how_many("memoryGib", "Memory in GiB"),
    _how_many(
        "dataVolumeGib",
        "Size of the volume for /srv in GiB",
        "Always Free: 200 GB of block volumes in all, boot volumes with them (50 here), and 5 volume backups.",
    ),
    Question(
        name="sshCidrs",
        key="sshCidrs",
        title="From which networks SSH is let in",
        notes=(
            "Your own addresses, such as 203.0.113.7/32 198.18.4.0/24. Nobody else reaches the machine's port 22.",
        ),
        propose=_propose_ssh_cidrs,
        read=_ssh_cidrs,
    ),
    Question(
        name="sshPublicKeyFile",
        key="sshPublicKey",
        title="File of your public SSH key",
        notes=(
            f"The .pub file; `ssh-keygen -t ed25519` makes a pair. {KEEP}: the key that the settings hold.",
        ),
        propose=_propose_public_key,
        read=_public_key,
    ),
    Question(
        name="sshKeyFile",
        key="sshKeyFile",
        title="File of the private key that belongs to it",
        notes=(
            "Empty: what the agent and ~/.ssh/config offer. ssh never asks here, so a key with a passphrase has to be in the agent.",
        ),
        propose=_present(_host("sshKeyFile")),
        read=_private_key,
        optional=True,
    ),
    Question(
        name="publicAddress",
        key="publicAddress",
        title="A public address for SSH?",
        notes=(
            "A reserved one, that stays when the machine is replaced; the limit is reserved-public-ip-count. no: a jump host is needed.",
        ),
        propose=_present(_host("publicAddress"), _shown(_default("publicAddress"))),
        read=_yes_or_no("publicAddress"),
    ),
    Question(
        name="jumpHost",
        key="jumpHost",
        title="Jump host, as user@host",
        notes=("Such as a session of OCI Bastion; empty for none.",),
        propose=_present(_host("jumpHost")),
        read=_text("jumpHost"),
        optional=True,
    ),
    Question(
        name="clientCidrs",
        key="clientCidrs",
        title="Which networks in the VCN (10.20.0.0/16 unless set) reach the databases, over TLS",
        notes=("Such as 10.20.2.0/24; empty for none: applications in Docker and the tunnel need no entry.",),
        propose=_present(("network", "clientCidrs")),
        read=lambda answer: {("network", "clientCidrs"): _networks(answer)},
        optional=True,
    ),
)
