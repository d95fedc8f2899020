"""What an operator may write, and the sentence for what not."""

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.host_settings import LocalHostSettings, OciHostSettings
from components.settings import RESERVED_CONNECTIONS, Image, ImageCatalogue, Settings, SettingsError, parse
from tests.unit.conftest import OCI_HOST

HERE = "central-data-platform:"
LOCAL = {"kind": "local"}
OCI = OCI_HOST
GROUP = "ocid1.networksecuritygroup.oc1.eu-frankfurt-1.aaaaclients"


def read(**raw: Any) -> Settings:
    return parse(Settings, {"host": LOCAL, **raw}, where=HERE)


def sentences(raw: Mapping[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(Settings, {"host": LOCAL, **raw}, where=HERE)
    return str(caught.value).splitlines()


def test_the_defaults_are_those_of_the_manual() -> None:
    settings = read()
    assert settings.srv_root == "/srv"
    assert (settings.postgres.port, settings.redis.port, settings.pgbouncer.port) == (5432, 6379, 6432)
    assert str(settings.network.subnet) == "172.28.0.0/24"
    assert str(settings.network.gateway_address) == "172.28.0.1"
    assert str(settings.network.container_range) == "172.28.0.0/25"
    assert str(settings.publish_address) == "127.0.0.1"
    assert settings.host == LocalHostSettings(kind="local", socket="unix:///var/run/docker.sock", sudo=False)


def test_a_host_is_chosen_by_its_kind() -> None:
    assert isinstance(read(host=OCI).host, OciHostSettings)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        # --- a name that is not one ---
        (
            {"postgres": {"prot": 1}},
            "central-data-platform:postgres.prot is not a setting; did you mean port?",
        ),
        (
            {"postgres": {"max_connections": 50}},
            "central-data-platform:postgres.max_connections is not a setting; did you mean maxConnections?",
        ),
        (
            {"postgres": {"locale": {"nam": "C"}}},
            "central-data-platform:postgres.locale.nam is not a setting; did you mean name?",
        ),
        ({"postgre": {}}, "central-data-platform:postgre is not a setting; did you mean postgres?"),
        ({"srv_root": "/x"}, "central-data-platform:srv_root is not a setting; did you mean srvRoot?"),
        (
            {"host": {**OCI, "shap": "x"}},
            "central-data-platform:host.shap is not a setting; did you mean shape?",
        ),
        (
            {"host": {**LOCAL, "zzz": 1}},
            "central-data-platform:host.zzz is not a setting; the keys here are cpus, diskGib, kind, memoryGib, socket, sudo",
        ),
        (
            {"pgbouncer": {"zzz": 1}},
            "central-data-platform:pgbouncer.zzz is not a setting; the keys here are maxClients, memory, parameters, pauseSeconds, poolSize, port, whenBusy",
        ),
        # --- a host that is not one ---
        ({"host": {"kind": "locl"}}, "central-data-platform:host.kind is locl; write local or oci"),
        ({"host": {"sudo": True}}, "central-data-platform:host.kind is missing; write local or oci"),
        (
            {"host": {k: v for k, v in OCI.items() if k != "compartment"}},
            "central-data-platform:host.compartment is missing and has no default; write it",
        ),
        (
            {"host": {**OCI, "shape": "VM.Standard.E5.Flex"}},
            "central-data-platform:host.shape: VM.Standard.E5.Flex is not an Ampere (arm64) flexible shape, and the platform's images "
            "are pinned for arm64; write VM.Standard.A1.Flex, VM.Standard.A2.Flex or VM.Standard.A4.Flex",
        ),
        (
            {"host": {**OCI, "sshCidrs": ["0.0.0.0/0"]}},
            "central-data-platform:host: sshCidrs holds 0.0.0.0/0, which lets every address on the internet try to log in; "
            "write your own networks, such as 203.0.113.7/32, or say sshOpenToAll: true",
        ),
        (
            {"host": {**OCI, "sshCidrs": ["203.0.113.7/32", "203.0.113.7"]}},
            "central-data-platform:host.sshCidrs: a network stands there twice; write each once",
        ),
        (
            {"host": {**OCI, "sshPublicKey": "/home/me/.ssh/id_ed25519.pub"}},
            "central-data-platform:host.sshPublicKey: write the line of a public key's .pub file, such as: ssh-ed25519 AAAA…",
        ),
        (
            {"host": {**OCI, "sshPublicKey": "ssh-ed25519 AAAAC3Nz"}},
            "central-data-platform:host.sshPublicKey: that is not the whole line of a .pub file; copy it without line breaks",
        ),
        (
            {"host": {**OCI, "vcn": {"cidr": "8.8.0.0/16", "subnet": "8.8.1.0/24"}}},
            "central-data-platform:host.vcn: cidr 8.8.0.0/16 is no network for a VCN; write a private one of /16 to /30, such as 10.20.0.0/16",
        ),
        (
            {"host": {**OCI, "vcn": {"subnet": "10.21.1.0/24"}}},
            "central-data-platform:host.vcn: subnet 10.21.1.0/24 is not part of cidr 10.20.0.0/16; write a part of it",
        ),
        (
            {"host": {**OCI, "vcn": {"subnet": "10.20.1.0/31"}}},
            "central-data-platform:host.vcn: subnet 10.20.1.0/31 has no address for a host, of which OCI keeps three; write a prefix of /30 or shorter",
        ),
        (
            {"host": {**OCI, "privateAddress": "10.20.1.1"}},
            "central-data-platform:host: privateAddress 10.20.1.1 is no host's address in vcn.subnet 10.20.1.0/24; write one from 10.20.1.2 on",
        ),
        (
            {"host": {**OCI, "publicAddress": False}},
            "central-data-platform:host: publicAddress is false and there is no jumpHost, so nobody would reach the host; "
            "write jumpHost: user@host, or publicAddress: true",
        ),
        (
            {"host": {**OCI, "memoryGib": 200}},
            "central-data-platform:host: memoryGib 200 does not fit ocpus 2; write 2 to 128",
        ),
        (
            {"host": OCI, "network": {"clientCidrs": ["10.30.0.0/24"]}},
            "central-data-platform: network.clientCidrs holds 10.30.0.0/24, which is not in the VCN 10.20.0.0/16: "
            "the databases are open inside it only; write a part of it",
        ),
        (
            {"host": OCI, "network": {"subnet": "10.20.5.0/24"}},
            "central-data-platform: network.subnet 10.20.5.0/24 overlaps the VCN 10.20.0.0/16; write another private network for one of them",
        ),
        (
            {"host": OCI, "network": {"publishAddress": "10.20.1.11"}},
            "central-data-platform: network.publishAddress 10.20.1.11 is not the host's; leave it out for 10.20.1.10, or write 127.0.0.1",
        ),
        (
            {"host": OCI, "postgres": {"memory": 11000}},
            "central-data-platform: postgres.memory 11000 + redis.memory 2304 + pgbouncer.memory 320 + the WAL receiver 64 + the system 2252 "
            "= 15940 MiB, and host.memoryGib 12 is 12288 MiB; write less, or a bigger machine",
        ),
        (
            {"network": {"clientCidrs": ["0.0.0.0/0"]}},
            "central-data-platform:network: clientCidrs holds 0.0.0.0/0, which is more than a private network; "
            "write those of your clients, such as 10.20.2.0/24",
        ),
        (
            {"tls": {"days": 30, "renewBeforeDays": 30}},
            "central-data-platform:tls: renewBeforeDays 30 is not less than days 30; write less",
        ),
        (
            {"host": {**LOCAL, "socket": "tcp://1.2.3.4"}},
            "central-data-platform:host.socket is 'tcp://1.2.3.4'; "
            r"it should match pattern '^unix:///\S+$'",
        ),
        (
            {"host": {**LOCAL, "sudo": "yes"}},
            "central-data-platform:host.sudo is 'yes'; it should be a valid boolean",
        ),
        # --- a value of another type ---
        ({"postgres": 5}, "central-data-platform:postgres is 5; write an object, such as {name: value}"),
        (
            {"postgres": {"port": "5432"}},
            "central-data-platform:postgres.port is '5432'; it should be a valid integer",
        ),
        (
            {"postgres": {"port": True}},
            "central-data-platform:postgres.port is True; it should be a valid integer",
        ),
        (
            {"postgres": {"memory": 1024.5}},
            "central-data-platform:postgres.memory is 1024.5; it should be a valid integer",
        ),
        (
            {"postgres": {"timezone": 2}},
            "central-data-platform:postgres.timezone is 2; it should be a valid string",
        ),
        ({"srvRoot": 5}, "central-data-platform:srvRoot is 5; it should be a valid string"),
        (
            {"redis": {"maxmemoryPolicy": "lru"}},
            "central-data-platform:redis.maxmemoryPolicy is 'lru'; it should be 'noeviction', 'allkeys-lru', 'allkeys-lfu', "
            "'allkeys-random', 'volatile-lru', 'volatile-lfu', 'volatile-random' or 'volatile-ttl'",
        ),
        # --- a number out of its range ---
        (
            {"postgres": {"port": 0}},
            "central-data-platform:postgres.port is 0; it should be greater than or equal to 1",
        ),
        (
            {"redis": {"port": 65536}},
            "central-data-platform:redis.port is 65536; it should be less than or equal to 65535",
        ),
        (
            {"postgres": {"maxConnections": 5}},
            "central-data-platform:postgres.maxConnections is 5; it should be greater than or equal to 20",
        ),
        # --- addresses ---
        (
            {"network": {"subnet": "172.28.0.0/33"}},
            "central-data-platform:network.subnet is '172.28.0.0/33'; it is not a valid IPv4 network",
        ),
        (
            {"network": {"subnet": "172.28.0.1/24"}},
            "central-data-platform:network.subnet is '172.28.0.1/24'; it is not a valid IPv4 network",
        ),
        (
            {"network": {"gateway": "172.28.0"}},
            "central-data-platform:network.gateway is '172.28.0'; it is not a valid IPv4 address",
        ),
        (
            {"network": {"subnet": "10.0.0.0/29"}},
            "central-data-platform:network: subnet 10.0.0.0/29 is too small; write a prefix of /28 or shorter",
        ),
        (
            {"network": {"gateway": "172.29.0.1"}},
            "central-data-platform:network: gateway 172.29.0.1 is no host's address in subnet 172.28.0.0/24; "
            "write one, such as 172.28.0.1",
        ),
        (
            {"network": {"gateway": "172.28.0.255"}},
            "central-data-platform:network: gateway 172.28.0.255 is no host's address in subnet 172.28.0.0/24; "
            "write one, such as 172.28.0.1",
        ),
        (
            {"network": {"dynamicRange": "172.29.0.0/25"}},
            "central-data-platform:network: dynamicRange 172.29.0.0/25 is not part of subnet 172.28.0.0/24; write a part of it",
        ),
        (
            {"network": {"publishAddress": "0.0.0.0"}},  # noqa: S104 what must be refused
            "central-data-platform:network: publishAddress 0.0.0.0 would open the databases to every network; "
            "write one private address, such as 127.0.0.1",
        ),
        (
            {"network": {"publishAddress": "8.8.8.8"}},
            "central-data-platform:network: publishAddress 8.8.8.8 would open the databases to every network; "
            "write one private address, such as 127.0.0.1",
        ),
        # --- folders ---
        (
            {"srvRoot": "srv"},
            "central-data-platform:srvRoot: write an absolute path below /, such as /srv",
        ),
        ({"srvRoot": "/"}, "central-data-platform:srvRoot: write an absolute path below /, such as /srv"),
        (
            {"srvRoot": "/a/../b"},
            "central-data-platform:srvRoot: write an absolute path below /, such as /srv",
        ),
        (
            {"srvRoot": "/a:b"},
            "central-data-platform:srvRoot: write a path without a colon, a dollar sign or control characters",
        ),
        (
            {"srvRoot": "/a$b"},
            "central-data-platform:srvRoot: write a path without a colon, a dollar sign or control characters",
        ),
        # --- what does not go together ---
        (
            {"redis": {"port": 5432}},
            "central-data-platform: postgres.port 5432, redis.port 5432 and pgbouncer.port 6432 must differ; give each its own",
        ),
        (
            {"postgres": {"memory": 256, "shmSize": 300}},
            "central-data-platform: postgres.shmSize 300 MiB is above postgres.memory 256 MiB, of which it is a part; write less",
        ),
        (
            {"redis": {"memory": 512, "maxmemory": 500}},
            "central-data-platform: redis.maxmemory 500 MiB is more than two thirds of redis.memory 512 MiB: "
            "a background save needs the rest; write maxmemory 341 or less",
        ),
        (
            {"pgbouncer": {"poolSize": 91}},
            "central-data-platform: pgbouncer.poolSize 91 is above postgres.maxConnections 100 less 10 kept in reserve; "
            "write 90 or less",
        ),
    ],
)
def test_a_fault_is_one_sentence_that_names_the_key(raw: dict[str, Any], sentence: str) -> None:
    assert sentences(raw) == [sentence]


def test_every_fault_is_said_at_once() -> None:
    raw = {"postgres": {"port": 0, "prot": 1}, "redis": {"memory": "much"}}
    assert [s.partition(" is ")[0] for s in sentences(raw)] == [
        "central-data-platform:postgres.port",
        "central-data-platform:postgres.prot",
        "central-data-platform:redis.memory",
    ]


def test_the_host_must_be_said() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(Settings, {}, where=HERE)
    assert str(caught.value) == "central-data-platform:host is missing and has no default; write it"


def test_nothing_changes_after_the_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().srv_root = "/x"  # type: ignore[misc]


# --- the catalogue of images ---

DIGEST = "sha256:" + "0" * 64
IMAGE = {"repository": "postgres", "tag": "17", "manifests": {"amd64": DIGEST}}
CATALOGUE = {"postgres": IMAGE, "redis": IMAGE, "pgbouncer": IMAGE}


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "images.json is []; write an object, such as {name: value}"),
        (
            {"postgres": IMAGE, "redis": IMAGE},
            "images.json: pgbouncer is missing and has no default; write it",
        ),
        (
            {**CATALOGUE, "mysql": IMAGE},
            "images.json: mysql is not a setting; the keys here are grafana, node-exporter, pgbouncer, pgbouncer-exporter, postgres, postgres-exporter, prometheus, redis, redis-exporter",
        ),
        (
            {**CATALOGUE, "redis": {**IMAGE, "manifests": {"amd64": "sha256:abc"}}},
            "images.json: redis.manifests.amd64 is 'sha256:abc'; it should match pattern '^sha256:[0-9a-f]{64}$'",
        ),
        (
            {**CATALOGUE, "redis": {**IMAGE, "manifests": {"amd64": "latest"}}},
            "images.json: redis.manifests.amd64 is 'latest'; it should match pattern '^sha256:[0-9a-f]{64}$'",
        ),
        (
            {**CATALOGUE, "redis": {**IMAGE, "index": "sha256:ABC"}},
            "images.json: redis.index is 'sha256:ABC'; it should match pattern '^sha256:[0-9a-f]{64}$'",
        ),
        (
            {**CATALOGUE, "redis": {**IMAGE, "manifests": {"aarch64": DIGEST}}},
            "images.json: redis.manifests.aarch64 is 'aarch64'; it should be 'amd64' or 'arm64'",
        ),
        (
            {**CATALOGUE, "redis": {**IMAGE, "manifests": {}}},
            "images.json: redis has no digest under manifests; run make pin-images",
        ),
        (
            {**CATALOGUE, "redis": {**IMAGE, "repository": "Redis@sha256"}},
            "images.json: redis.repository is 'Redis@sha256'; it should match pattern '^[a-z0-9.:/_-]+$'",
        ),
        (
            {**CATALOGUE, "redis": {**IMAGE, "tags": "7"}},
            "images.json: redis.tags is not a setting; did you mean tag?",
        ),
    ],
)
def test_a_fault_of_the_catalogue_is_one_sentence(raw: Any, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(ImageCatalogue, raw, where="images.json: ")
    assert str(caught.value) == sentence


def test_an_image_is_named_by_the_digest_of_the_hosts_architecture() -> None:
    digests = {"amd64": "sha256:" + "a" * 64, "arm64": "sha256:" + "b" * 64}
    image = parse(Image, {**IMAGE, "manifests": digests}, where="")
    assert {a: image.reference(a) for a in digests} == {a: f"postgres@{d}" for a, d in digests.items()}


def test_an_image_without_a_manifest_says_which_it_has() -> None:
    image = parse(Image, IMAGE, where="")
    with pytest.raises(SettingsError) as caught:
        image.reference("arm64")
    assert str(caught.value) == (
        "image postgres:17 has no manifest for arm64, only for amd64; choose an image that is built for the host"
    )


# --- what is accepted fits together ---


@given(st.integers(20, 10_000), st.integers(1, 10_000))
def test_a_pool_never_takes_every_connection(connections: int, pool: int) -> None:
    raw = {"postgres": {"maxConnections": connections}, "pgbouncer": {"poolSize": pool}}
    if pool + RESERVED_CONNECTIONS <= connections:
        assert read(**raw).pgbouncer.pool_size == pool
    else:
        assert "poolSize" in sentences(raw)[0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 28))
def test_the_addresses_of_every_subnet_fit_it(address: int, prefix: int) -> None:
    subnet = IPv4Network((address, prefix), strict=False)
    network = read(network={"subnet": str(subnet)}).network
    assert network.gateway_address in subnet
    assert network.container_range.subnet_of(subnet)
    # The other half is for applications that need an address of their own.
    assert network.container_range.num_addresses * 2 == subnet.num_addresses


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda v: (
            st.lists(v) | st.dictionaries(st.sampled_from(["port", "memory", "kind", "locale", "zzz"]), v)
        ),
    )
)
def test_whatever_is_written_is_taken_or_refused_in_sentences(value: Any) -> None:
    said: list[str] = []
    for key in Settings.model_fields:
        try:
            parse(Settings, {"host": LOCAL, key: value}, where=HERE)
        except SettingsError as error:
            said += str(error).splitlines()
    assert all(line.startswith("central-data-platform:") for line in said)


# --- who is let in ---


def test_only_an_explicit_word_opens_ssh_to_all() -> None:
    settings = read(host={**OCI, "sshCidrs": ["0.0.0.0/0"], "sshOpenToAll": True})
    assert isinstance(settings.host, OciHostSettings)
    assert settings.host.ssh_cidrs == [IPv4Network("0.0.0.0/0")]


def test_ports_are_published_on_the_host_s_private_address() -> None:
    assert str(read(host=OCI).publish_address) == "10.20.1.10"
    assert str(read(host={**OCI, "privateAddress": "10.20.1.77"}).publish_address) == "10.20.1.77"
    assert str(read(host=OCI, network={"publishAddress": "127.0.0.1"}).publish_address) == "127.0.0.1"


def test_outside_clients_are_the_host_itself_the_listed_and_the_groups_network() -> None:
    assert read().outside_clients == []
    assert read(host=OCI).outside_clients == [IPv4Network("10.20.1.10")]
    listed = read(host={**OCI, "clientGroups": [GROUP]}, network={"clientCidrs": ["10.20.2.0/24"]})
    assert listed.outside_clients == [
        IPv4Network("10.20.1.10"),
        IPv4Network("10.20.2.0/24"),
        IPv4Network("10.20.0.0/16"),
    ]


def test_the_comment_of_a_public_key_does_not_count() -> None:
    first, second = (
        read(host={**OCI, "sshPublicKey": f"{OCI['sshPublicKey']} {who}"}) for who in ("a", "b c")
    )
    assert first == second


@given(st.integers(min_value=16, max_value=30))
def test_a_host_gets_an_address_in_a_subnet_of_any_size(prefix: int) -> None:
    subnet = IPv4Network(f"10.20.0.0/{prefix}")
    host = read(host={**OCI, "vcn": {"subnet": str(subnet)}}).host
    assert host.own_address in list(subnet.hosts())[1:]
