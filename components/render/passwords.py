"""Standard input of password.sh: a role's verifier, and the files that have to say the same password."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PasswordFile:
    """A file, or with `block` the platform's part of one. `path` is absolute, `owner` is uid:gid, `mode` is octal."""

    path: str
    content: str
    mode: str = "0600"
    owner: str = "0:0"
    block: bool = False


def password_list(
    verifier: str,
    files: Sequence[PasswordFile] = (),
    *,
    reload_pgbouncer: bool = False,
    release: bool = False,
) -> str:
    """The list that scripts/host/password.sh describes; `release` where the password is not a weak one that is put up with."""
    lines = [f"verifier {_base64(verifier)}"]
    lines += [
        f"{'block' if file.block else 'file'} {file.mode} {file.owner} {_base64(file.content)} {file.path}"
        for file in files
    ]
    lines += ["reload-pgbouncer"] if reload_pgbouncer else []
    lines += ["release"] if release else []
    return "".join(f"{line}\n" for line in [*lines, "end"])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
