"""How the host is reached: words for the OpenSSH client, the same for scripts, Docker and tunnels."""

import re
from collections.abc import Mapping

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
# Whole: the length and the first characters follow from the type. A message of the kernel may have cut the line.
KEY = re.compile(r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}(?![A-Za-z0-9+/=])")


def ssh_options(*, host_key: str, key_file: str | None, jump_host: str | None) -> list[str]:
    """Options that accept one host key and never ask (ssh_config(5)).

    KnownHostsCommand needs no file, so a key learnt a minute ago is pinned for every reader of the state.
    """
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "KnownHostsCommand": f"/bin/echo %H {host_key}",
    }
    return [*_words(options), *access_options(key_file=key_file, jump_host=jump_host)]


def access_options(*, key_file: str | None, jump_host: str | None) -> list[str]:
    """Options that say who logs in and by which way, and leave open how the host proves itself."""
    options = {
        "ConnectTimeout": "15",
        # A connection that died in the middle of a script ends after a minute.
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        "ForwardAgent": "no",
        # A connection of the user's own that is kept open would be taken without a look at the host key.
        "ControlMaster": "no",
        "ControlPath": "none",
        "LogLevel": "ERROR",
        # In quotes: a blank would end the path.
        **({"IdentityFile": f'"{key_file}"', "IdentitiesOnly": "yes"} if key_file else {}),
        **({"ProxyJump": jump_host} if jump_host else {}),
    }
    return _words(options)


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def host_key(console: str) -> str | None:
    """The host's ed25519 key as cloud-init prints it on the console (module keys-to-console), or None.

    The last block counts: a machine that made itself new keys has printed them after the old ones.
    """
    blocks = re.findall(f"{BEGIN}(.*?){END}", console.replace("\r", ""), re.DOTALL)
    keys = KEY.findall(blocks[-1]) if blocks else []
    return keys[-1] if keys else None
