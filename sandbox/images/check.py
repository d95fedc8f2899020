#!/usr/bin/env python3
"""Checks that the images of a catalogue keep the contract of the published images they stand in for.

check.py CATALOGUE [--socket PATH]

Starts containers of its own on that Docker engine and removes them. Prints one sentence for each violation
and then exits with 1. Run on a catalogue of the published images it has to be as silent.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_SECONDS = 60
PASSWORD = "only-for-this-check"  # noqa: S105 - no secret

Violations = Iterator[str]


class Engine:
    """The docker client, on one engine."""

    def __init__(self, socket: str) -> None:
        """`socket` is the path of the engine's socket."""
        self.host = f"unix://{socket}"

    def run(self, *words: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """One docker command; its output is kept."""
        command = ["docker", "--host", self.host, *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        if check and result.returncode != 0:
            raise RuntimeError(f"docker {' '.join(words[:4])} failed: {result.stderr.strip()}")
        return result

    def output(self, *words: str) -> str:
        """What a docker command prints; an error when it fails."""
        return self.run(*words, check=True).stdout.strip()

    def once(self, image: str, *words: str, options: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
        """Runs a container to its end."""
        return self.run("run", "--rm", *options, image, *words)

    @contextmanager
    def container(self, image: str, *words: str, options: Iterable[str] = ()) -> Iterator[Container]:
        """A container in the background, removed with its volumes at the end."""
        name = f"check-images-{uuid.uuid4().hex[:12]}"
        try:
            self.output("run", "--detach", "--name", name, *options, image, *words)
            yield Container(self, name)
        finally:
            self.run("rm", "--force", "--volumes", name)

    @contextmanager
    def volume(self) -> Iterator[str]:
        """A named volume, removed at the end."""
        name = f"check-images-{uuid.uuid4().hex[:12]}"
        try:
            yield self.output("volume", "create", name)
        finally:
            self.run("volume", "rm", "--force", name)


class Container:
    """A running container."""

    def __init__(self, engine: Engine, name: str) -> None:
        """`name` is the container's."""
        self.engine = engine
        self.name = name

    def execute(self, *words: str, options: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
        """Runs a command in it."""
        return self.engine.run("exec", *options, self.name, *words)

    def text(self, *words: str, options: Iterable[str] = ()) -> str:
        """What a command in it prints, errors included."""
        result = self.execute(*words, options=options)
        return (result.stdout + result.stderr).strip()

    def logs(self) -> str:
        """All that it has logged."""
        result = self.engine.run("logs", self.name)
        return result.stdout + result.stderr

    def wait_for(self, *words: str) -> None:
        """Waits until a command in it succeeds."""
        deadline = time.monotonic() + READY_SECONDS
        while self.execute(*words).returncode != 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(words)} did not succeed; the container logged:\n{self.logs()}")
            time.sleep(0.2)

    def wait_for_log(self, text: str) -> None:
        """Waits until it has logged something."""
        deadline = time.monotonic() + READY_SECONDS
        while text not in self.logs():
            if time.monotonic() > deadline:
                raise RuntimeError(f"'{text}' was not logged, but:\n{self.logs()}")
            time.sleep(0.2)

    def end(self, *words: str) -> tuple[int, float]:
        """Ends it by a docker command; returns its exit code and the seconds it took."""
        began = time.monotonic()
        self.engine.output(*words, self.name)
        code = int(self.engine.output("wait", self.name))
        return code, time.monotonic() - began

    def first_process(self) -> tuple[str, str]:
        """User number and name of process 1."""
        status = dict(
            line.split(":\t", 1)
            for line in self.text("cat", "/proc/1/status").splitlines()
            if line.startswith(("Uid:", "Name:"))
        )
        return status["Uid"].split()[0], status["Name"]


def differs(what: str, found: object, expected: object) -> Violations:
    """One violation when two values differ."""
    if found != expected:
        yield f"{what} is {found!r}, not {expected!r}"


def lacks(what: str, text: str, expected: str) -> Violations:
    """One violation when a text does not hold another."""
    if expected not in text:
        yield f"{what} lacks {expected!r}: {text.strip()[-300:]!r}"


def check_config(config: dict[str, Any], expected: dict[str, Any]) -> Violations:
    """Compares fields of an image's configuration."""
    for field, value in expected.items():
        yield from differs(f"its {field}", config.get(field) or None, value)


def check_tools(engine: Engine, image: str, present: str, absent: str) -> Violations:
    """Looks for programs on PATH."""
    script = 'for tool; do command -v "$tool" >/dev/null || echo "$tool"; done'
    words = [*present.split(), *absent.split()]
    result = engine.once(image, "-c", script, "sh", *words, options=["--entrypoint", "sh"])
    missing = set(result.stdout.split())
    for tool in present.split():
        if tool in missing:
            yield f"it lacks the program {tool}"
    for tool in absent.split():
        if tool not in missing:
            yield f"it holds the program {tool}, which the original does not have"


def check_postgres_config(engine: Engine, image: str, config: dict[str, Any]) -> Violations:
    """How the image says that it wants to be run, and what it holds."""
    expected = {
        "User": None,
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "StopSignal": "SIGINT",
        "ExposedPorts": {"5432/tcp": {}},
        "Volumes": {"/var/lib/postgresql/data": {}},
        "Healthcheck": None,
    }
    yield from check_config(config, expected)
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    for name, value in {"LANG": "en_US.utf8", "PG_MAJOR": "17", "PGDATA": "/var/lib/postgresql/data"}.items():
        yield from differs(f"its {name}", environment.get(name), value)
    if "/usr/lib/postgresql/17/bin" not in environment["PATH"].split(":"):
        yield "its PATH lacks /usr/lib/postgresql/17/bin"
    tools = (
        "bash gosu zstd xz less psql pg_dump pg_dumpall pg_restore pg_basebackup pg_receivewal pg_verifybackup "
        "pg_combinebackup pg_amcheck vacuumdb pg_isready initdb pg_ctl pg_waldump pg_checksums"
    )
    yield from check_tools(engine, image, tools, "nc ncat netcat")


def check_postgres_system(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """Users, folders, locales, and commands that are not the server."""
    script = (
        "id -u; getent passwd postgres; locale -a | grep -c en_US.utf8; date -d @0 +%Z; "
        "stat -Lc '%a %U %G' /var/run/postgresql; ls /usr/share/zoneinfo/Europe/Berlin; "
        "cd /usr/share/postgresql/17/extension && LC_ALL=C ls amcheck.control pg_stat_statements.control pgcrypto.control"
    )
    lines = engine.once(image, "bash", "-c", script, options=["-e", "TZ=Europe/Berlin"]).stdout.splitlines()
    expected = [
        "0",
        "postgres:x:999:999::/var/lib/postgresql:/bin/bash",
        "1",
        "CET",
        "3777 postgres postgres",
        "/usr/share/zoneinfo/Europe/Berlin",
        "amcheck.control",
        "pg_stat_statements.control",
        "pgcrypto.control",
    ]
    yield from differs("what it says of its system", lines, expected)
    given = engine.once(image, "id", "-u", options=["--user", "999"]).stdout.strip()
    yield from differs("the user of a command run with --user 999", given, "999")
    version = engine.once(image, "--version")
    yield from lacks("--version without a password", version.stdout, "postgres (PostgreSQL) 17.")


def check_postgres_refusals(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """An empty data folder needs a password."""
    refused = engine.once(image)
    yield from differs("the exit code without a password", refused.returncode, 1)
    text = "Error: Database is uninitialized and superuser password is not specified."
    yield from lacks("the answer to a missing password", refused.stderr, text)
    both = ["-e", "POSTGRES_PASSWORD=a", "-e", "POSTGRES_PASSWORD_FILE=/etc/hostname"]
    refused = engine.once(image, options=both)
    yield from differs("the exit code with two passwords", refused.returncode, 1)
    yield from lacks("the answer to two passwords", refused.stderr, "are set (but are exclusive)")


def postgres_sql(container: Container, statement: str) -> str:
    """What a statement returns, as superuser over the socket."""
    return container.text(
        "psql", "-XAtU", "boss", "-d", "shop", "-c", statement, options=["--user", "postgres"]
    )


def check_postgres_first_start(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """Initialisation with all its settings, a fast shutdown, and a second start on the same data."""
    with tempfile.TemporaryDirectory() as folder, engine.volume() as volume:
        setup = Path(folder) / "setup"
        setup.mkdir()
        (setup / "1-table.sql").write_text("CREATE TABLE made_by_sql (n int);")
        (setup / "2-table.sh").write_text('docker_process_sql -c "CREATE TABLE made_by_sh (n int)"\n')
        password_file = Path(folder) / "password"
        password_file.write_text(PASSWORD + "\n")
        # For user 999 to read; a script that cannot be executed is sourced.
        for path in (Path(folder), setup):
            path.chmod(0o755)
        for path in (*setup.iterdir(), password_file):
            path.chmod(0o644)
        settings = {
            "POSTGRES_PASSWORD_FILE": "/password",
            "POSTGRES_USER": "boss",
            "POSTGRES_DB": "shop",
            "POSTGRES_INITDB_ARGS": "--data-checksums --locale-provider=builtin --builtin-locale='C.UTF-8'",
        }
        mounts = ["-v", f"{volume}:/var/lib/postgresql/data", "-v", f"{password_file}:/password:ro"]
        mounts += ["-v", f"{setup}:/docker-entrypoint-initdb.d:ro"]
        options = [*mounts, *(word for item in settings.items() for word in ("-e", "=".join(item)))]
        with engine.container(image, options=options) as container:
            container.wait_for("pg_isready", "-q", "-h", "127.0.0.1", "-U", "boss")
            yield from check_running_postgres(container)
            yield from check_fast_shutdown(engine, container)
        with engine.container(image, "-c", "work_mem=5MB", options=mounts[:2]) as container:
            container.wait_for("pg_isready", "-q", "-h", "127.0.0.1", "-U", "boss")
            yield from lacks("a second start", container.logs(), "Skipping initialization")
            tables = postgres_sql(
                container, "SELECT relname FROM pg_class WHERE relname ~ '^made' ORDER BY 1"
            )
            yield from differs("what the setup files made", tables.split(), ["made_by_sh", "made_by_sql"])
            yield from differs("an argument's setting", postgres_sql(container, "SHOW work_mem"), "5MB")


def check_running_postgres(container: Container) -> Violations:
    """A server that was just initialised."""
    yield from differs("process 1", container.first_process(), ("999", "postgres"))
    values = postgres_sql(
        container,
        "SELECT current_setting('data_checksums'), current_setting('listen_addresses'),"
        " current_setting('unix_socket_directories'), current_setting('password_encryption'),"
        " (SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'shop')",
    )
    yield from differs("the new cluster", values, "on|*|/var/run/postgresql|scram-sha-256|bC.UTF-8")
    owner = container.text("stat", "-c", "%u %a", "/var/lib/postgresql/data")
    yield from differs("owner and mode of PGDATA", owner, "999 700")
    environment = container.text("cat", "/proc/1/environ", options=["--user", "postgres"]).split("\0")
    if f"POSTGRES_PASSWORD={PASSWORD}" not in environment:
        yield "process 1 does not have the password of POSTGRES_PASSWORD_FILE in its environment, as the original's"
    login = [
        "psql",
        "-XAt",
        "-h",
        container.text("hostname", "-i"),
        "-U",
        "boss",
        "-d",
        "shop",
        "-c",
        "SELECT 1",
    ]
    right = container.text(*login, options=["-e", f"PGPASSWORD={PASSWORD}"])
    yield from differs("a login over the network", right, "1")
    wrong = container.text(*login, options=["-e", "PGPASSWORD=wrong"])
    yield from lacks("a login with a wrong password", wrong, "password authentication failed")


def check_fast_shutdown(engine: Engine, container: Container) -> Violations:
    """`docker stop` must not wait for clients, and must leave a clean cluster."""
    sleeper = ["psql", "-U", "boss", "-d", "shop", "-c", "SELECT pg_sleep(300)"]
    engine.output("exec", "--detach", "--user", "postgres", container.name, *sleeper)
    code, seconds = container.end("stop", "--time", "60")
    yield from differs("the exit code after docker stop", code, 0)
    yield from lacks("the log of docker stop", container.logs(), "received fast shutdown request")
    yield from lacks("the log of docker stop", container.logs(), "database system is shut down")
    if seconds > 20:
        yield f"docker stop took {seconds:.0f} s with a client at work"


def check_postgres_other_users(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """The container can be started as any user that may write to PGDATA."""
    for user in ("999:999", "12345:12345"):
        options = ["--user", user, "-e", f"POSTGRES_PASSWORD={PASSWORD}", "-e", "PGDATA=/tmp/data"]
        with engine.container(image, options=options) as container:
            container.wait_for("pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres")
            yield from differs(
                f"process 1 with --user {user}", container.first_process()[0], user.split(":")[0]
            )


def check_redis_config(engine: Engine, image: str, config: dict[str, Any]) -> Violations:
    """How the image says that it wants to be run, and what it holds."""
    expected = {
        "User": None,
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["redis-server"],
        "ExposedPorts": {"6379/tcp": {}},
        "Volumes": {"/data": {}},
        "WorkingDir": "/data",
        "StopSignal": None,
        "Healthcheck": None,
    }
    yield from check_config(config, expected)
    tools = "redis-server redis-cli redis-benchmark redis-check-aof redis-check-rdb redis-sentinel"
    yield from check_tools(engine, image, tools, "nc ncat netcat")
    script = "id -u; id -u redis; id -g redis; stat -c '%U %G' /data"
    lines = engine.once(image, "sh", "-c", script).stdout.split()
    yield from differs("what it says of its users", lines, ["0", "999", "999", "redis", "redis"])


def redis_setting(container: Container, name: str) -> str:
    """The value of a setting."""
    return container.text("redis-cli", "config", "get", name).removeprefix(name).strip()


def check_redis_start(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """The default start, what `docker stop` keeps, and who owns it."""
    with engine.volume() as volume:
        mount = ["-v", f"{volume}:/data"]
        engine.once(image, "sh", "-c", "touch /data/of-root", options=mount)
        with engine.container(image, options=mount) as container:
            container.wait_for("redis-cli", "ping")
            yield from differs("process 1", container.first_process(), ("999", "redis-server"))
            yield from differs("protected mode", redis_setting(container, "protected-mode"), "no")
            yield from differs("the save points", redis_setting(container, "save"), "3600 1 300 100 60 10000")
            container.text("redis-cli", "set", "kept", "yes")
            code, _ = container.end("stop", "--time", "30")
            yield from differs("the exit code after docker stop", code, 0)
            yield from lacks("the log of docker stop", container.logs(), "DB saved on disk")
        with engine.container(image, options=mount) as container:
            container.wait_for("redis-cli", "ping")
            yield from differs("a key after docker stop", container.text("redis-cli", "get", "kept"), "yes")
            files = container.text("stat", "-c", "%U %a %n", "dump.rdb", "of-root")
            expected = "redis 600 dump.rdb\nredis 600 of-root"
            yield from differs("owner and mode of the files in /data", files, expected)


def check_redis_arguments(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """What the entry point makes of its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "guarded.conf").write_text("protected-mode yes\nmaxmemory 32mb\n")
        (Path(folder) / "plain.conf").write_text("maxmemory 32mb\n")
        options = ["-v", f"{folder}:/conf:ro"]
        cases = [
            (["--maxmemory", "32mb"], "999", "no"),
            (["/conf/plain.conf"], "999", "no"),
            (["/conf/guarded.conf"], "999", "yes"),
            (["redis-server", "/conf/plain.conf", "--protected-mode", "yes"], "999", "yes"),
            (["redis-server", "/conf/guarded.conf"], "999", "yes"),
            # Only this very name steps down: by its path the server stays what the container runs as.
            (["sh", "-c", "exec redis-server /conf/plain.conf"], "0", None),
        ]
        for words, user, protected in cases:
            with engine.container(image, *words, options=options) as container:
                container.wait_for("redis-cli", "ping")
                started = " ".join(words)
                yield from differs(f"the user of '{started}'", container.first_process()[0], user)
                memory = redis_setting(container, "maxmemory")
                yield from differs(f"maxmemory of '{started}'", memory, str(32 << 20))
                if protected:
                    found = redis_setting(container, "protected-mode")
                    yield from differs(f"protected mode of '{started}'", found, protected)


def check_pgbouncer_config(engine: Engine, image: str, config: dict[str, Any]) -> Violations:
    """How the image says that it wants to be run, and what it holds."""
    expected = {
        "User": "1001",
        "Entrypoint": ["/entrypoint.sh"],
        "Cmd": ["/usr/bin/pgbouncer", "/etc/pgbouncer/pgbouncer.ini"],
        "ExposedPorts": None,
        "Volumes": None,
        "StopSignal": None,
        "Healthcheck": None,
    }
    yield from check_config(config, expected)
    yield from check_tools(engine, image, "bash pgbouncer grep sed ps", "nc ncat netcat psql pg_isready")
    folders = "/etc/pgbouncer /var/log/pgbouncer /var/run/pgbouncer"
    script = f"command -v pgbouncer; id -u; id -g; id -un; stat -Lc %u {folders}"
    lines = engine.once(image, "-c", script, options=["--entrypoint", "bash"]).stdout.split()
    expected_lines = ["/usr/bin/pgbouncer", "1001", "1001", "pgbouncer", "1001", "1001", "1001"]
    yield from differs("what it says of its user and folders", lines, expected_lines)


def check_pgbouncer_entry_point(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """The entry point writes the configuration from the environment, at every start."""
    settings = {"HOST": "db", "PORT": "5433", "USER": "app", "PASSWORD": "p", "DBNAME": "shop"}
    options = [word for name, value in settings.items() for word in ("-e", f"DATABASES_{name}={value}")]
    listens = ("bash", "-c", "exec 3<>/dev/tcp/localhost/6432")
    with engine.container(image, options=[*options, "-e", "AUTH_TYPE=scram-sha-256"]) as container:
        container.wait_for(*listens)
        yield from differs("process 1", container.first_process(), ("1001", "pgbouncer"))
        ini = container.text("cat", "/etc/pgbouncer/pgbouncer.ini")
        yield from lacks("pgbouncer.ini", ini, "[databases]\nshop = host=db port=5433 user=app\n")
        yield from lacks("pgbouncer.ini", ini, "\nauth_type = scram-sha-256\n")
        users = container.text("cat", "/etc/pgbouncer/userlist.txt")
        yield from differs("userlist.txt", users, '"app" "p"')
        engine.output("restart", "--time", "10", container.name)
        container.wait_for(*listens)
        users = container.text("cat", "/etc/pgbouncer/userlist.txt")
        yield from differs("userlist.txt after a restart", users, '"app" "p"\n"app" "p"')
    with engine.container(image) as container:
        container.wait_for(*listens)
        users = container.text("cat", "/etc/pgbouncer/userlist.txt")
        yield from differs(
            "userlist.txt by default", users, '"postgres" "md53175bce1d3201d16594cebf9d7eb3f9d"'
        )


def check_pgbouncer_signals(engine: Engine, image: str, _config: dict[str, Any]) -> Violations:
    """SIGINT is a graceful end; SIGHUP reloads."""
    with engine.container(image) as container:
        container.wait_for("bash", "-c", "exec 3<>/dev/tcp/localhost/6432")
        engine.output("kill", "--signal", "HUP", container.name)
        container.wait_for_log("got SIGHUP")
        code, _ = container.end("kill", "--signal", "INT")
        yield from differs("the exit code after SIGINT", code, 0)
        yield from lacks("the log of SIGINT", container.logs(), "got SIGINT, shutting down")


def check_common(engine: Engine, image: str, config: dict[str, Any]) -> Violations:
    """What holds for all of them."""
    privileged = engine.once(
        image, "/", "-xdev", "-type", "f", "-perm", "/6000", options=["--user", "0", "--entrypoint", "find"]
    ).stdout.split()
    # The published images are Debian's, with its usual ones: only ours promise to have none.
    if "central-data-platform.stands-in-for" in (config.get("Labels") or {}):
        yield from differs("the list of its set-uid programs", privileged, [])


Check = Callable[[Engine, str, dict[str, Any]], Violations]
CHECKS: dict[str, list[Check]] = {
    "postgres": [
        check_common,
        check_postgres_config,
        check_postgres_system,
        check_postgres_refusals,
        check_postgres_first_start,
        check_postgres_other_users,
    ],
    "redis": [check_common, check_redis_config, check_redis_start, check_redis_arguments],
    "pgbouncer": [
        check_common,
        check_pgbouncer_config,
        check_pgbouncer_entry_point,
        check_pgbouncer_signals,
    ],
}


def check_image(engine: Engine, name: str, image: str) -> list[str]:
    """All violations of one image."""
    if engine.run("image", "inspect", image).returncode != 0:
        engine.output("pull", "--quiet", image)
    config = json.loads(engine.output("image", "inspect", "--format", "{{json .Config}}", image))
    found = []
    for check in CHECKS[name]:
        try:
            found += [f"{name}: {violation}" for violation in check(engine, image, config)]
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            found.append(f"{name}: {check.__name__} could not be finished: {error}")
    return found


def main() -> int:
    """Checks every image of the catalogue for the engine's architecture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--socket", default="/var/run/docker.sock")
    options = parser.parse_args()
    engine = Engine(options.socket)
    architecture = engine.output("version", "--format", "{{.Server.Arch}}")
    catalogue = json.loads(options.catalogue.read_text())
    images = {
        name: f"{catalogue[name]['repository']}@{catalogue[name]['manifests'][architecture]}"
        for name in CHECKS
    }
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda item: check_image(engine, *item), images.items()))
    violations = [violation for of_image in found for violation in of_image]
    for violation in violations:
        print(f"check.py: {violation}", file=sys.stderr)
    if not violations:
        print(f"the contract holds: {', '.join(images)}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
