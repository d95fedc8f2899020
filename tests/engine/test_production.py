"""The unchanged program on a simulated OCI: first `up`, changes, a reboot, and what can go wrong on the way to a host."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from pulumi import automation

from tests.engine.platform import Run
from tests.engine.production import Production, serves
from tests.waiting import until

pytestmark = pytest.mark.fresh

INSTANCE = "host-machine-instance"


@pytest.fixture(scope="module")
def production(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, catalogue: Path
) -> Iterator[Production]:
    """One machine for this module. The first test brings it up."""
    production = Production(tmp_path_factory.mktemp("production") / "p", docker_host, catalogue)
    try:
        yield production
    finally:
        production.remove()


def command_lines() -> Iterator[str]:
    """Of every process here, those inside the machine too: they are this kernel's."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue


class Watch:
    """Looks at every process, again and again, for secrets on command lines."""

    def __init__(self, secrets: list[str]) -> None:
        self.secrets = secrets
        self.found: set[str] = set()
        self.looked = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._end.is_set():
            for line in command_lines():
                self.looked += 1
                self.found |= {line for secret in self.secrets if secret in line}
            time.sleep(0.02)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


# --- from nothing ---


def test_a_preview_of_an_empty_stack_needs_no_host(production: Production) -> None:
    seen = production.preview().operations()
    assert seen[INSTANCE] == "create"
    assert seen["platform-postgres-container"] == "create"
    assert not list((production.cloud / "machines").glob("*"))


def test_the_first_up_leaves_a_platform_that_serves(production: Production) -> None:
    with Watch(list(production.secrets.values())) as watch:
        production.up()
    assert watch.looked > 1000
    assert not watch.found
    serves(production)


def test_a_second_up_changes_nothing(production: Production) -> None:
    ids = production.ids()
    assert production.up().operations() == {}
    assert production.up(refresh=True).operations() == {}
    assert production.ids() == ids


def test_no_secret_is_in_the_metadata_or_on_the_console(production: Production) -> None:
    logs = production.run(["docker", "logs", production.machine()]).stdout
    everything = [production.user_data(), logs, production.state()]
    everything += [p.read_text(errors="replace") for p in production.cloud.rglob("*.json")]
    everything += [p.read_text(errors="replace") for p in (production.cloud / "machines").rglob("seed/*")]
    for secret in production.secrets.values():
        assert not [text[:200] for text in everything if secret in text]
    # No private key of the host either: its public one is learnt from the console.
    assert not [text[:200] for text in everything if "PRIVATE KEY" in text]


def test_the_data_is_on_the_volume_and_docker_needs_it(production: Production) -> None:
    assert production.on_machine("findmnt --noheadings --output FSTYPE --mountpoint /srv") == "xfs"
    assert "RequiresMountsFor" in production.on_machine("systemctl cat docker.service")
    uuid = production.on_machine("findmnt --noheadings --output UUID --mountpoint /srv")
    assert f"UUID={uuid}" in production.on_machine("cat /etc/fstab")


def test_the_host_s_own_commands_work(production: Production) -> None:
    production.ssh("sudo", "/srv/apps/status.sh")
    compose = "cd /srv/apps/postgres-stack && docker compose --env-file /srv/config/platform.env up -d"
    before = production.ids()
    production.ssh("sudo", "sh", "-c", compose)
    assert production.ids() == before
    # What lives outside /srv can be made again from /srv alone, and changes nothing where it is in order.
    production.ssh("sudo", "/srv/apps/bootstrap.sh")
    assert production.ids() == before


def test_what_was_changed_on_the_machine_is_found_and_put_in_order(production: Production) -> None:
    sshd = "/etc/ssh/sshd_config.d/00-central-data-platform.conf"
    timer = "central-data-platform-alert.timer"
    for line in (
        "firewall-cmd --zone=public --add-port=5432/tcp",
        f"echo PermitRootLogin yes >>{sshd}",
        f"systemctl disable --now {timer}",
    ):
        production.on_machine(line)
    assert production.preview(refresh=True).operations() == {"platform-machine": "update"}
    production.up(refresh=True)
    assert production.on_machine("firewall-cmd --zone=public --list-ports") == ""
    assert "PermitRootLogin yes" not in production.on_machine(f"cat {sshd}")
    assert production.on_machine(f"systemctl is-active {timer}") == "active"
    assert production.up(refresh=True).operations() == {}


def test_backups_run_by_themselves(production: Production) -> None:
    timers = production.on_machine("systemctl list-timers --all --no-legend 'central-data-platform-*'")
    for job in ("backup", "wal", "drill", "alert"):
        assert f"central-data-platform-{job}.timer" in timers
    production.on_machine("systemctl start central-data-platform-backup.service")
    assert production.on_machine("ls /srv/backups/dumps")
    production.on_machine("systemctl start central-data-platform-drill.service")
    until(
        lambda: "ok" in production.on_machine("cat /srv/backups/state/wal 2>/dev/null || true"),
        seconds=90,
        what="the timer of each minute",
    )
    checks = {
        check["name"]: check["state"]
        for check in json.loads(production.ssh("sudo", "/srv/apps/status.sh", "--json"))["checks"]
    }
    assert {checks[name] for name in ("backup", "base-backup", "wal", "drill")} == {"ok"}


# --- clients outside the bridge network ---


def test_a_client_in_the_vcn_verifies_the_server(production: Production) -> None:
    outputs = production.outputs()
    network = production.run(
        ["docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", production.machine()]
    ).stdout
    (vcn,) = [name for name, n in json.loads(network).items() if n["IPAddress"] == "10.20.1.10"]
    image = json.loads(Path(os.environ["CDP_TEST_CATALOGUE"]).read_text())["postgres"]
    architecture = production.run(["docker", "version", "--format", "{{.Server.Arch}}"]).stdout.strip()
    reference = f"{image['repository']}@{image['manifests'][architecture]}"
    # From standard input, as an application would have them in a file: the authority, then the password.
    client = (
        'while read -r line; do echo "$line"; case $line in *END*) break ;; esac; done >/tmp/ca.crt; '
        "read -r PGPASSWORD; export PGPASSWORD; "
        "psql -XtA -c 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()' "
        "'host=%s port=%s user=platform_admin dbname=postgres sslmode=%s sslrootcert=/tmp/ca.crt'"
    )

    def ask(name: str, mode: str) -> "subprocess.CompletedProcess[str]":
        host, port = outputs[f"{name}Address"].split(":")
        words = ["docker", "run", "--rm", "-i", "--network", vcn, "--entrypoint", "sh", reference, "-c"]
        text = outputs["caCertificate"] + production.secrets["postgresPassword"] + "\n"
        return production.run([*words, client % (host, port, mode)], stdin=text, check=False)

    answer = ask("postgres", "verify-full")
    assert answer.stdout.strip() == "t", answer.stderr
    # Through the pooler, the server's own connection is on the bridge network.
    answer = ask("pgbouncer", "verify-full")
    assert answer.returncode == 0, answer.stderr
    for name in ("postgres", "pgbouncer"):
        assert ask(name, "disable").returncode != 0


def test_a_tunnel_reaches_all_three_over_tls(production: Production) -> None:
    with production.tunnel() as ports:
        with production.client(ports["pgbouncer"]) as client:
            assert client.execute("SELECT current_user").fetchone() == ("platform_admin",)
        for name in ("postgres", "pgbouncer"):
            with pytest.raises(psycopg.OperationalError):
                production.client(ports[name], sslmode="disable", sslrootcert=None)
        cache = redis.Redis(
            host="localhost",
            port=ports["redis"],
            username="admin",
            password=production.secrets["redisAdminPassword"],
            ssl=True,
            ssl_ca_certs=str(production.ca_file()),
            ssl_check_hostname=True,
        )
        assert cache.ping()


# --- changes ---


def host(production: Production, **changes: Any) -> dict[str, Any]:
    return {**production.config["host"], **changes}


def test_another_shape_is_in_place_and_is_waited_for(production: Production) -> None:
    machine = production.machine()
    larger = {**production.config["postgres"], "memory": 640}
    # In one `up` with more memory for PostgreSQL, which needs the machine back after its restart.
    with production.changed(host=host(production, ocpus=3, memoryGib=16), postgres=larger):
        seen = production.up().operations()
        assert seen[INSTANCE] == "update"
        assert "platform-postgres-container" in seen
        serves(production)
        assert production.up().operations() == {}
    assert production.up().operations()[INSTANCE] == "update"
    assert production.machine() == machine


def test_a_newer_image_replaces_nothing(production: Production) -> None:
    settings = production.cloud / "settings.json"
    settings.write_text(json.dumps({"newer_image": True}))
    try:
        production.pulumi("preview", "--stack", production.stack_name, "--expect-no-changes")
        # It is there to be seen: without the line that ignores it, it would be taken.
        source = production.project / "components/hosts/oci_instance.py"
        text = source.read_text()
        source.write_text(
            text.replace('ignore_changes=["sourceDetails.sourceId", "metadata"]', "ignore_changes=[]")
        )
        try:
            assert INSTANCE in production.preview().operations()
        finally:
            source.write_text(text)
    finally:
        settings.unlink()


def test_another_ssh_key_is_taken_without_a_new_machine(production: Production) -> None:
    machine = production.machine()
    other = production.folder / "id_other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    line = production.public_key(other)
    with production.changed(host=host(production, moreSshPublicKeys=[line])):
        assert "host-authorize-key" in production.up().operations()
    with production.changed(
        host=host(
            production,
            sshPublicKey=line,
            sshKeyFile=str(other),
            moreSshPublicKeys=[production.public_key(production.key)],
        )
    ):
        production.up()
        assert production.ssh("whoami") == "opc"
    production.up()
    refused = production.run(
        [
            *("ssh", "-F", "none", "-i", str(other), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *(production.outputs()["sshCommand"][-1], "true"),
        ],
        check=False,
    )
    assert "Permission denied" in refused.stderr
    assert production.machine() == machine


@pytest.mark.parametrize(
    ("key", "value"),
    [("vcn", {"cidr": "10.20.0.0/16", "subnet": "10.20.7.0/24"}), ("privateAddress", "10.20.1.77")],
)
def test_a_change_that_would_replace_the_machine_is_refused(
    production: Production, key: str, value: object
) -> None:
    ids = production.ids()
    with (
        production.changed(host=host(production, **{key: value}), network={}),
        pytest.raises(automation.CommandError, match="protect"),
    ):
        production.preview()
    assert production.ids() == ids


# --- a reboot ---


def test_everything_comes_back_after_a_reboot(production: Production) -> None:
    production.on_machine("systemctl is-active --quiet central-data-platform-containers.service")
    production.psql("CREATE TABLE IF NOT EXISTS rebooted AS SELECT 42 AS answer")
    production.reboot()
    until(lambda: production.ssh_answers(), seconds=90, what="ssh after the reboot")
    serves(production)
    assert production.psql("SELECT answer FROM rebooted") == "42"
    # PostgreSQL was told to end and had the time for it: it found nothing to recover.
    log = production.on_machine(
        "docker logs --since 5m postgres-db 2>&1 | grep 'database system was' | tail -n 1"
    )
    assert "database system was shut down at" in log
    assert production.up().operations() == {}


# --- what can go wrong, and that the next `up` finishes the job ---


def failing_up(production: Production) -> str:
    """What an `up` with something to do on the host says when it fails."""
    with pytest.raises(automation.CommandError) as failed:
        production.up()
    # Without the differences that are shown on the way.
    return str(failed.value).partition("Diagnostics:")[2]


def something_to_do(production: Production, milliseconds: int) -> dict[str, Any]:
    return {"postgres": {**production.config["postgres"], "slowQueryMilliseconds": milliseconds}}


def finishes(production: Production, milliseconds: int) -> None:
    assert production.up().operations()
    assert production.psql("SHOW log_min_duration_statement") == f"{milliseconds}ms"
    assert production.up().operations() == {}


def test_ssh_refused(production: Production) -> None:
    with production.changed(**something_to_do(production, 1501)):
        production.on_machine("systemctl stop sshd.service")
        try:
            said = failing_up(production)
        finally:
            production.on_machine("systemctl start sshd.service")
        assert "Connection refused" in said
        finishes(production, 1501)


def test_a_changed_host_key_is_not_accepted(production: Production) -> None:
    keep = "mkdir -p /root/keys && cp -p /etc/ssh/ssh_host_* /root/keys/"
    fresh = "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart sshd"
    with production.changed(**something_to_do(production, 1502)):
        production.on_machine(f"{keep}; {fresh}")
        try:
            said = failing_up(production)
        finally:
            production.on_machine("cp -p /root/keys/* /etc/ssh/; systemctl restart sshd")
        assert "Host key verification failed" in said
        finishes(production, 1502)


def test_docker_down(production: Production) -> None:
    with production.changed(**something_to_do(production, 1503)):
        production.on_machine("systemctl stop docker.socket docker.service")
        try:
            said = failing_up(production)
        finally:
            production.on_machine("systemctl start docker.service")
        assert "docker daemon" in said.lower()
        finishes(production, 1503)


def test_a_connection_that_is_cut_in_the_middle(production: Production) -> None:
    with production.changed(**something_to_do(production, 1504), redis={"memory": 160, "maxmemory": 64}):
        ended = threading.Event()

        def cut() -> None:
            while not ended.is_set():
                # Each of sshd's children is a connection.
                production.on_machine("pkill -KILL -f '^sshd: opc' || :", check=False)
                time.sleep(0.3)

        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            said = failing_up(production)
        finally:
            ended.set()
            cutter.join()
        assert "closed" in said.lower() or "reset" in said.lower() or "broken pipe" in said.lower()
        production.up(refresh=True)
        assert production.psql("SHOW log_min_duration_statement") == "1504ms"
        serves(production)
    production.up()


def test_a_disk_that_is_not_there_after_a_boot(production: Production) -> None:
    (volume,) = (production.cloud / "volumes").glob("*.img")
    record = next((production.cloud / "machines").glob("*/etc/volumes"))
    kept = record.read_text()
    with production.changed(**something_to_do(production, 1505)):
        record.write_text("")
        production.reboot()
        try:
            until(lambda: production.ssh_answers(), seconds=180, what="ssh without the volume")
            # Nothing was started on an empty /srv.
            assert production.on_machine("mountpoint -q /srv && echo yes || echo no") == "no"
            assert production.on_machine("ls -A /srv") == ""
            said = failing_up(production)
        finally:
            record.write_text(kept)
        assert "/srv" in said
        assert "is the data volume mounted?" in said
        production.reboot()
        until(lambda: production.ssh_answers(), seconds=90, what="ssh with the volume")
        serves(production)
        finishes(production, 1505)
    assert volume.exists()


def test_the_settings_are_back(production: Production) -> None:
    run: Run = production.up()
    assert INSTANCE not in run.operations()
    serves(production)


def test_a_destroy_keeps_the_volume_and_a_new_stack_adopts_it(production: Production) -> None:
    production.psql("CREATE TABLE IF NOT EXISTS adopted AS SELECT 'kept' AS what")
    volume = production.outputs()["dataVolumeId"]
    resources = json.loads(production.state())["deployment"]["resources"]
    data = ("host-data-volume", "host-backups-bucket")
    for resource in resources:
        if resource.get("protect") and not resource["urn"].endswith(data):
            production.pulumi(
                "state", "unprotect", "--yes", resource["urn"], "--stack", production.stack_name
            )
    production.down()
    assert list((production.cloud / "volumes").glob("*.img"))
    assert not list((production.cloud / "machines").glob("*"))
    # As after a lost state: the new one knows nothing of the volume.
    (urn,) = [r["urn"] for r in resources if r["urn"].endswith(data[0])]
    production.pulumi("state", "unprotect", "--yes", urn, "--stack", production.stack_name)
    production.pulumi("state", "delete", "--yes", urn, "--stack", production.stack_name)
    with production.changed(host=host(production, dataVolumeId=volume)):
        production.up()
        assert production.psql("SELECT what FROM adopted") == "kept"
        serves(production)
        assert production.up().operations() == {}
