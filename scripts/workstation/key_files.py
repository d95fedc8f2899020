"""SSH key files of the operator: the public one, whose line is a setting, and the private one, which is only named."""

from pathlib import Path

from components.host_settings import public_key

_USUAL = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")


def proposed() -> Path | None:
    """The operator's own public key, where ssh looks for it."""
    return next((path for name in _USUAL if (path := Path.home() / ".ssh" / name).is_file()), None)


def read_public(name: str) -> str:
    """The line of a .pub file. Raises ValueError with one sentence for a file that is none."""
    path = Path(name).expanduser()
    text = _read(path)
    if "PRIVATE KEY" in text:
        raise ValueError(f"{path} is a private key, which must not leave this machine; name its .pub file")
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise ValueError(f"{path} does not hold exactly one line; name the .pub file of one key")
    try:
        return public_key(lines[0])
    except ValueError as fault:
        raise ValueError(f"{path} is no public key: {fault}") from None


def checked_private(name: str) -> str:
    """The absolute path of a private key's file. Raises ValueError with one sentence for a file that is none."""
    path = Path(name).expanduser().absolute()
    text = _read(path)
    if "PRIVATE KEY" not in text:
        raise ValueError(f"{path} is no private key; name the file beside the .pub file, without .pub")
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others, which ssh refuses; run: chmod 600 {path}")
    return str(path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"{path} cannot be read ({reason}); name a key's file") from None
