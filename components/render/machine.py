"""Text of what lives on the machine outside /srv: Docker, sshd, updates, cloud-init, and the script that makes it all again."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence

import yaml

from components.render.service import LOG_OPTIONS

# The last line of a text that has no end of its own: without it the sender was cut off, and the old file stays.
END = "# end"

# As long as PostgreSQL may take for a clean stop.
STOP_SECONDS = 120

# What the scripts of a machine's preparation take as these files, as they are given it.
FILES = {
    "configure-sshd.sh": "/etc/ssh/sshd_config.d/00-central-data-platform.conf",
    "configure-network.sh": "/etc/sysctl.d/60-central-data-platform.conf",
    "configure-docker.sh": "/etc/docker/daemon.json",
    "configure-shutdown.sh": "/etc/systemd/system/central-data-platform-containers.service",
    "configure-updates.sh": "/etc/dnf/automatic.conf",
}
# What they have systemd run.
UNITS = (
    "docker.service",
    "firewalld.service",
    "chronyd.service",
    "dnf-automatic.timer",
    "central-data-platform-containers.service",
)

# Docker's packages change by install-docker.sh alone.
LOCKED_PACKAGES = ("docker-ce*", "containerd.io", "docker-compose-plugin", "docker-buildx-plugin")


def daemon_json() -> str:
    """/etc/docker/daemon.json (https://docs.docker.com/reference/cli/dockerd/). Without `hosts`: systemd's socket is the only way in.

    Networks that name no subnet get one of the pool, which meets neither the platform's own nor a VCN in 10.0.0.0/8. The
    proxy stays on: without it, a published port is reached from the host itself only with br_netfilter loaded, which
    not every kernel has. The image store stays the one whose image ids are those of compose's labels.
    """
    return _json(
        {
            "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}],
            "features": {"containerd-snapshotter": False},
            "live-restore": True,
            "log-driver": "json-file",
            "log-opts": LOG_OPTIONS,
            "selinux-enabled": True,
            "userland-proxy": True,
        }
    )


def sshd_drop_in() -> str:
    """A file of sshd_config.d (sshd_config(5)). Forwarding of ports stays allowed: tunnels and jumps need it."""
    return f"""\
# Made by Pulumi (configure-sshd.sh).
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
PermitRootLogin no
X11Forwarding no
AllowAgentForwarding no
# One `up` opens many connections at once; sshd drops some beyond 10 unless told otherwise.
MaxStartups 100:30:200
# A client that vanished is noticed after two minutes.
ClientAliveInterval 30
ClientAliveCountMax 4
{END}
"""


def sysctl_conf(kernel: Mapping[str, str]) -> str:
    """A file of sysctl.d: the machine's kernel parameters. The security group lets no ICMP in, not even "fragmentation needed": TCP finds the path's size itself (RFC 4821)."""
    lines = "".join(f"{name} = {value}\n" for name, value in kernel.items())
    return f"""\
# Made by Pulumi (configure-network.sh).
net.ipv4.tcp_mtu_probing = 1
{lines}{END}
"""


def shutdown_unit() -> str:
    """A unit that does its work when it ends: before Docker, since it started after it (systemd.unit(5), After=).

    It starts what it has stopped, since Docker takes that for stopped by hand. It does not require Docker: a restart of
    Docker, during which containers go on, must not stop them. A dollar sign is doubled for systemd.
    """
    kept = "/var/lib/central-data-platform/stopped"
    return f"""\
# Made by Pulumi (configure-shutdown.sh).
[Unit]
Description=Clean stop of the containers before a shutdown, and their start after it
After=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
StateDirectory=central-data-platform
ExecStart=/bin/sh -euc '[ -e {kept} ] || exit 0; docker version >/dev/null; for c in $$(cat {kept}); do docker start "$$c" || :; done; rm {kept}'
ExecStop=/bin/sh -euc 'docker ps --quiet --no-trunc >{kept}.new; mv {kept}.new {kept}; [ ! -s {kept} ] || docker stop -t {STOP_SECONDS} $$(cat {kept})'
TimeoutStartSec=120
TimeoutStopSec={STOP_SECONDS + 30}

[Install]
WantedBy=docker.service
{END}
"""


def automatic_conf() -> str:
    """/etc/dnf/automatic.conf (https://dnf.readthedocs.io/en/latest/automatic.html)."""
    return f"""\
# Made by Pulumi (configure-updates.sh): security updates every day, and never a reboot by surprise.
[commands]
upgrade_type = security
network_online_timeout = 60
download_updates = yes
apply_updates = yes
reboot = never

[emitters]
emit_via = stdio

[base]
excludepkgs = {", ".join(LOCKED_PACKAGES)}
{END}
"""


def cloud_config() -> str:
    """The instance's user data: public, since whoever is on the machine can read it.

    The one host key is made on the machine and printed on its console, where it is read to be pinned. The user's key comes
    from the instance's metadata.
    """
    return "#cloud-config\n" + yaml.safe_dump(
        {
            "ssh_deletekeys": True,
            "ssh_genkeytypes": ["ed25519"],
            "ssh": {"emit_keys_to_console": True},
            # Types that are not printed: all but the one that is pinned.
            "ssh_key_console_blacklist": ["ssh-dss", "ssh-rsa", "ecdsa-sha2-nistp256"],
            "ssh_fp_console_blacklist": [],
            "ssh_pwauth": False,
            "disable_root": True,
        },
        sort_keys=False,
    )


def machine_list(files: Mapping[str, str], running: Sequence[str]) -> str:
    """Standard input of machine-running.sh: texts by their paths, and the units that systemd has to run."""
    sums = [f"file {hashlib.sha256(text.encode()).hexdigest()} {path}\n" for path, text in files.items()]
    return "".join([*sums, *(f"unit {name}\n" for name in running), "end\n"])


def bootstrap_sh(steps: Sequence[tuple[str, Sequence[str], str | None]]) -> str:
    """bootstrap.sh: each step is a script of bootstrap.d, its arguments, and the text of its standard input."""
    return f"""\
#!/bin/sh
# bootstrap.sh: what lives outside /srv is made again on a machine on which /srv was unpacked or mounted.
#
# Made by Pulumi, which runs the same scripts in the same order. Safe to run again, also after it was cut off. Then, in
# apps/postgres-stack: sudo docker compose --env-file ../../config/platform.env up -d
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

fail() {{
  echo "$1" >&2
  exit 1
}}

step() {{ # SCRIPT [ARGUMENT...]
  echo "== $1"
  script=$1
  shift
  sh "bootstrap.d/$script" "$@" ||
    fail "bootstrap.sh ended at $script (the lines above say why); correct it, then run bootstrap.sh again"
}}

[ "$(id -u)" = 0 ] || fail "only root can prepare the machine; run sudo $0"
{"".join(_step(*step) for step in steps)}\
echo "the machine is prepared"
"""


def _step(script: str, arguments: Sequence[str], text: str | None) -> str:
    command = shlex.join(["step", script, *arguments])
    if text is None:
        return f"{command} </dev/null\n"
    delimiter = "END"
    while delimiter in text.splitlines():
        delimiter += "_"
    lines = text.removesuffix("\n")
    return f"{command} <<'{delimiter}'\n{lines}\n{delimiter}\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
