"""Text of Redis' configuration and of its access list."""

import hashlib
import hmac
import re
from collections.abc import Mapping

from components.application_settings import Application, RedisOptIn
from components.settings import RedisSettings

CONFIG_DIR = "/etc/redis"
PORT, TLS_PORT = 6379, 6380
CERTIFICATE, KEY = f"{CONFIG_DIR}/tls/server.crt", f"{CONFIG_DIR}/tls/server.key"
ADMIN = "admin"
OPERATOR = "operator"
# The last line of what a script is given: without it the sender was cut off.
END = "end"

# What works on keys and channels that the server looks at, and what concerns the connection alone. Then, without what names
# or counts other users' keys and channels: CLIENT TRACKING in broadcast mode tells of every key that is written.
_SAFE_COMMANDS = (
    "-@all +@read +@write +@connection +@transaction +@pubsub -@dangerous -@admin -@scripting -scan -randomkey -dbsize -pubsub "
    "-client|tracking -client|trackinginfo -client|caching -client|getredir +memory|usage +time +command"
)
_OPT_IN: dict[RedisOptIn, str] = {
    "scan": "+scan",
    "keys": "+keys",
    "randomkey": "+randomkey",
    # In a script too, each command is looked at by the user's own rights.
    "scripts": "+eval +eval_ro +evalsha +evalsha_ro +script|load +script|exists",
    "info": "+info",
}


def redis_conf(settings: RedisSettings) -> str:
    """redis.conf. Redis is only started with it: a change replaces the container."""
    return f"""\
# Made by Pulumi. A change replaces the container.
bind * -::*
protected-mode yes
# For the bridge network, which stays inside this host; and for clients outside it.
port {PORT}
tls-port {TLS_PORT}
tls-cert-file {CERTIFICATE}
tls-key-file {KEY}
tls-protocols "TLSv1.2 TLSv1.3"
# Clients prove a password.
tls-auth-clients no
tcp-keepalive 60
aclfile {CONFIG_DIR}/users.acl

dir /data
appendonly yes
appendfsync everysec
# With it, data are read from the append-only file alone. A snapshot is made by backup.sh; one more whenever much is written would be for nobody.
save ""

maxmemory {settings.maxmemory}mb
maxmemory-policy {settings.maxmemory_policy}
{_lines(settings.parameters)}
# Standard output is the container's log, which Docker rotates.
logfile ""
loglevel notice
"""


def _lines(parameters: Mapping[str, str]) -> str:
    return "".join(f"{name} {value}\n" for name, value in parameters.items())


def operator_password(salt_key: str) -> str:
    """The password with which `up` changes the access list and the certificate of the running server.

    It depends on saltKey alone, so it is still good while every other password is being rotated.
    """
    return hmac.digest(salt_key.encode(), f"redis:{OPERATOR}".encode(), "sha256").hex()


def users(*, admin_password: str, salt_key: str) -> dict[str, str]:
    """Each user's rules (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/): hashes, no password."""
    return {
        "default": "off sanitize-payload resetchannels -@all",
        ADMIN: f"on sanitize-payload #{_sha256(admin_password)} ~* &* +@all",
        # CONFIG for a new certificate and for settings that somebody has changed. It adds no power: who may run ACL may give itself everything.
        OPERATOR: f"on sanitize-payload #{_sha256(operator_password(salt_key))} resetchannels -@all +acl +config|get +config|set +ping",
        "health": "on nopass sanitize-payload resetchannels -@all +ping",
    }


def application_user(application: Application, password: str) -> str:
    """The rules of an application's user: keys and channels that begin with its prefix, and safe commands.

    Which commands are in which category: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/#command-categories
    """
    allowed = application.settings.redis.allow if application.settings.redis else []
    further = "".join(f" {_OPT_IN[name]}" for name in sorted(set(allowed)))
    prefix = f"{application.key_prefix}*"
    return f"on sanitize-payload #{_sha256(password)} ~{prefix} resetchannels &{prefix} {_SAFE_COMMANDS}{further}"


def users_acl(rules: dict[str, str]) -> str:
    """users.acl, read when the server starts."""
    return "".join(f"user {name} {rule}\n" for name, rule in rules.items())


def reload_commands(rules: Mapping[str, str], *, salt_key: str) -> str:
    """Commands that give the running server the same rules, without the disconnections of ACL LOAD, and its certificate.

    A user's earlier password stays good beside the new one, until applications have the new one and redis-running.sh takes it
    away. The server reads both files of the certificate again although their names stay the same, and goes on with the old
    ones where they do not fit.
    """
    sets = "".join(
        f"ACL SETUSER {name} resetkeys resetchannels clearselectors -@all {rule}\n"
        for name, rule in rules.items()
    )
    certificate = f"CONFIG SET tls-cert-file {CERTIFICATE} tls-key-file {KEY}\n"
    return f"{authentication(salt_key)}{sets}{certificate}{END}\n"


# Taken when the server starts, and the certificate's by the commands above.
_AT_START = ("port", "tls-port", "bind", "aclfile", "dir", "logfile", "tls-cert-file", "tls-key-file")
# Those of the machine's shape that a running server takes and gives back alike; the operator's further ones are looked at by their file alone.
_FROM_SHAPE = re.compile("maxmemory-clients|lazyfree-lazy-.*|auto-aof-rewrite-.*")
_UNITS = {"kb": 10, "mb": 20, "gb": 30}


def running_settings(settings: RedisSettings) -> dict[str, str]:
    """What redis.conf sets and a running server may have been told otherwise, as CONFIG GET answers it."""
    lines = [line.split(" ", 1) for line in redis_conf(settings).splitlines() if line and line[0] != "#"]
    not_looked_at = {*_AT_START, *(name for name in settings.parameters if not _FROM_SHAPE.fullmatch(name))}
    return {name: _answered(value.strip('"')) for name, value in lines if name not in not_looked_at}


def _answered(value: str) -> str:
    """A size in bytes, as the server gives it back; anything else as it is."""
    size = re.fullmatch(r"(\d+)([kmg]b)", value.lower())
    return str(int(size[1]) << _UNITS[size[2]]) if size else value


def running_list(rules: Mapping[str, str], settings: RedisSettings, *, salt_key: str) -> str:
    """Standard input of redis-running.sh."""
    configured = "".join(f"config {name} {value}\n" for name, value in running_settings(settings).items())
    return f"{authentication(salt_key)}{users_acl(dict(rules))}{configured}{END}\n"


def authentication(salt_key: str) -> str:
    """The command with which `up` becomes user operator."""
    return f"AUTH {OPERATOR} {operator_password(salt_key)}\n"


def _sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
