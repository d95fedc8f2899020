"""Text of the systemd units that run backups, off-site copies, drills and alerts by themselves (install-timers.sh)."""

from dataclasses import dataclass

from components.render.machine import END

NAME = "central-data-platform"
# What a job may use: it speaks to Docker's socket and the network, and writes below SRV_ROOT alone. Without PrivateTmp: what
# a script mounts into a container is looked up by Docker, outside. Without NoNewPrivileges: SELinux changes the domain.
_CONFINED = """\
ProtectSystem=full
ProtectHome=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes"""
# It takes what applications leave over.
_GENTLE = "Nice=10\nIOSchedulingClass=idle"
# Its runs are too many for the journal: only what the script says and what fails is noted.
_QUIET = "SyslogLevel=notice\nLogLevelMax=notice"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A script of SRV_ROOT/apps and the times at which it runs (systemd.time(7)); `limit` ends one that hangs."""

    about: str
    command: str
    times: str
    # Whether a time that was missed while the machine was off is made up for.
    catch_up: bool = False
    delay: str = "0"
    limit: str
    style: str


# Where monitoring is on.
_METRICS = Job(
    about="metrics of the platform's own",
    command="metrics.sh",
    times="*-*-* *:*:20 UTC",
    limit="5min",
    style=_QUIET,
)


def jobs(*, backup_at: str, drill_day: str, drill_at: str, metrics: bool = False) -> dict[str, Job]:
    """By the name in the unit's. Times are UTC."""
    return {
        "backup": Job(
            about="dumps and base backup",
            command="backup.sh",
            times=f"*-*-* {backup_at}:00 UTC",
            catch_up=True,
            delay="15min",
            limit="24h",
            style=_GENTLE,
        ),
        "wal": Job(
            about="WAL compressed and off-site",
            command="backup.d/wal.sh",
            times="*-*-* *:*:00 UTC",
            limit="6h",
            style=_QUIET,
        ),
        "drill": Job(
            about="restore drill",
            command="drill.sh",
            times=f"{drill_day} *-*-* {drill_at}:00 UTC",
            catch_up=True,
            delay="15min",
            limit="12h",
            style=_GENTLE,
        ),
        "alert": Job(
            about="alerts",
            command="alert.sh",
            times="*-*-* *:0/5:30 UTC",
            limit="15min",
            style=_QUIET,
        ),
        **({"metrics": _METRICS} if metrics else {}),
    }


def units(
    srv_root: str, *, backup_at: str, drill_day: str, drill_at: str, metrics: bool = False
) -> dict[str, str]:
    """Each unit's text by its name."""
    made: dict[str, str] = {}
    every = jobs(backup_at=backup_at, drill_day=drill_day, drill_at=drill_at, metrics=metrics)
    for name, job in every.items():
        for kind, text in (("service", _service(srv_root, job)), ("timer", _timer(job))):
            unit = f"{NAME}-{name}.{kind}"
            made[unit] = f"# unit: {unit}\n# srv: {srv_root}\n# Made by Pulumi (install-timers.sh).\n{text}"
    return made


def framed(texts: dict[str, str]) -> str:
    """What install-timers.sh reads."""
    return "".join(texts.values()) + f"{END}\n"


def _service(srv_root: str, job: Job) -> str:
    script, *words = job.command.split()
    # By the shell: systemd takes no program whose path has a quotation mark.
    command = " ".join(["/bin/sh", _quoted(f"{srv_root}/apps/{script}"), *words])
    return f"""\
[Unit]
Description=Central data platform: {job.about}
After=docker.service
RequiresMountsFor={_quoted(srv_root)}

[Service]
Type=oneshot
ExecStart={command}
TimeoutStartSec={job.limit}
{job.style}
{_CONFINED}
"""


def _timer(job: Job) -> str:
    return f"""\
[Unit]
Description=Central data platform: {job.about}, {job.times}

[Timer]
OnCalendar={job.times}
AccuracySec=1s
RandomizedDelaySec={job.delay}
Persistent={str(job.catch_up).lower()}

[Install]
WantedBy=timers.target
"""


def _quoted(path: str) -> str:
    """As systemd.syntax(7) and the specifiers of systemd.unit(5) want a path. It has no dollar sign (settings.py)."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
