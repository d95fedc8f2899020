"""Encrypting secrets into a stack's file by pulumi, which reads one at a time on standard input, and several only on a command line."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.workstation import atomic, yaml_edit
from scripts.workstation.config_file import PROJECT, ConfigFile, SecretPath, load, place
from scripts.workstation.paths import ROOT
from scripts.workstation.session import Session
from scripts.workstation.shell import answer
from scripts.workstation.trouble import Trouble

# Each call derives a key from the passphrase, half a second of work, or asks a service.
CALL_SECONDS = 120
# What a stack's file says of the key that encrypts its secrets.
_KEYS = ("secretsprovider", "encryptionsalt", "encryptedkey")


def pulumi_path(path: SecretPath) -> str:
    """A secret's key as pulumi's --path reads it."""
    within = (f'["{key}"]' if "-" in key else f".{key}" for key in path[1:])
    return f"{PROJECT}:{path[0]}{''.join(within)}"


def set_secrets(config: ConfigFile, session: Session, values: Mapping[SecretPath, str]) -> None:
    """Encrypt secrets into a stack's file, all or none.

    pulumi works on copies, since it writes a file anew as a whole; all else in this one stays as a person wrote it.
    """
    if not values:
        return
    text, before = config.path.read_text(encoding="utf-8"), config.load()
    with tempfile.TemporaryDirectory(dir=config.path.parent, prefix=".new-") as folder:
        first, *others = values.items()
        keyed = Path(folder) / "0.yaml"
        shutil.copy(config.path, keyed)
        # It also writes down how this stack's secrets are encrypted, where the file does not say so yet: the others need it.
        encrypted = {first[0]: _encrypt(session, keyed, *first)}
        for key, value in load(keyed).items():
            if key in _KEYS and before.get(key) != value:
                text = yaml_edit.set_value(text, (key,), value)
        encrypted |= _all_encrypted(session, keyed, dict(others))
    for path, secure in encrypted.items():
        text = yaml_edit.set_value(text, (*place(path), "secure"), secure)
    atomic.write(config.path, text, config.path.stat().st_mode & 0o777)


def _all_encrypted(session: Session, keyed: Path, values: Mapping[SecretPath, str]) -> dict[SecretPath, str]:
    """The secrets as pulumi encrypts them for this stack: several at once, each into a copy of its own."""

    def encrypt(number: int, path: SecretPath, value: str) -> str:
        copy = keyed.with_name(f"{number}.yaml")
        shutil.copy(keyed, copy)
        return _encrypt(session, copy, path, value)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            begun = {
                path: pool.submit(encrypt, number, path, value)
                for number, (path, value) in enumerate(values.items(), start=1)
            }
            return {path: future.result() for path, future in begun.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _encrypt(session: Session, file: Path, path: SecretPath, value: str) -> str:
    """Set one secret in a file. Returns it as it is written there."""
    nested = ["--path"] if len(path) > 1 else []
    said = answer(
        [
            *(session.executable, "config", "set", "--secret", pulumi_path(path), *nested),
            *("--stack", session.stack, "--config-file", str(file), "--non-interactive"),
        ],
        environment=session.environment,
        cwd=ROOT,
        stdin=value,
        timeout=CALL_SECONDS,
    )
    if said.returncode:
        lines = [line.strip() for line in said.stderr.splitlines() if line.strip()]
        reason = lines[-1].rstrip(".") if lines else "pulumi said nothing"
        raise Trouble(
            f"the secret {'.'.join(path)} of stack {session.stack} could not be set: {reason}; nothing was changed"
        )
    return str(ConfigFile(path=file).value(*path, "secure"))
