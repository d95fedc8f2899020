"""compose takes the containers for its own, and Pulumi settles after compose made them."""

import json

from tests.engine.platform import CONTAINERS, Platform


def test_compose_sees_what_pulumi_made(running: Platform) -> None:
    listed = [
        json.loads(line)
        for line in running.compose("ps", "--format", "json").splitlines()
        if line.startswith("{")
    ]
    assert {(c["Name"], c["State"], c["Health"]) for c in listed} == {
        (n, "running", "healthy") for n in CONTAINERS
    }
    assert (
        running.compose(
            "exec",
            "-T",
            "postgres-db",
            "psql",
            "-U",
            "platform_admin",
            "-d",
            "postgres",
            "-XqtAc",
            "SELECT 6*7",
        )
        == "42\n"
    )
    assert "docker-compose.yml" in running.compose("ls")


def test_compose_up_recreates_nothing(running: Platform) -> None:
    before = running.ids()
    network = running.docker("network", "inspect", "--format", "{{.Id}}", "central-data-platform")
    said = running.compose("up", "-d")
    assert running.ids() == before, said
    assert running.docker("network", "inspect", "--format", "{{.Id}}", "central-data-platform") == network


def test_compose_brings_a_removed_platform_back_and_pulumi_settles(platform: Platform) -> None:
    platform.psql("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    platform.redis().set("kept", "42")
    platform.docker("rm", "-f", *CONTAINERS)
    platform.compose("up", "-d", "--wait")
    made_by_compose = platform.ids()
    assert platform.psql("SELECT answer FROM kept") == "42"
    assert platform.redis().get("kept") == b"42"
    with platform.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)

    platform.up(refresh=True)
    assert platform.up().operations() == {}
    assert set(platform.ids().values()).isdisjoint(made_by_compose.values())
    assert platform.psql("SELECT answer FROM kept") == "42"
    assert platform.redis().get("kept") == b"42"
    assert platform.compose("up", "-d").count("Recreate") == 0


def test_the_whole_platform_from_an_archive_of_srv(platform: Platform) -> None:
    """Unpacked on a host without containers and without the network, /srv and `up -d` are enough."""
    platform.psql("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    platform.redis().set("kept", "42")
    platform.compose("stop")
    archive = platform.folder / "srv.tar"
    platform.run(
        ["tar", "-C", str(platform.folder), "--numeric-owner", "-cpf", str(archive), platform.srv.name]
    )
    platform.docker("rm", "-f", *CONTAINERS)
    platform.docker("network", "rm", "central-data-platform")
    platform.run(["rm", "-rf", str(platform.srv)])
    platform.run(["tar", "-C", str(platform.folder), "--numeric-owner", "-xpf", str(archive)])
    archive.unlink()
    platform.compose("up", "-d", "--wait")
    assert platform.psql("SELECT answer FROM kept") == "42"
    assert platform.redis().get("kept") == b"42"
    with platform.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    # Pulumi's network is gone and compose's is in the way of a new one, with the containers that are on it.
    made = platform.up(refresh=True).operations()
    assert not [name for name in made if name in ("platform-tree", "platform-postgres-cluster")]
    assert platform.up().operations() == {}
    assert platform.run([str(platform.srv / "apps/backup.sh")]).stdout
    assert platform.psql("SELECT answer FROM kept") == "42"
