"""What pin-images makes of names, answers and digests, without a registry (tests/engine/test_pin_images.py has one)."""

import copy
import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util.retry import RequestHistory

from components.settings import ImageCatalogue, SettingsError, parse
from scripts.workstation.registry import catalogue, pins, signatures, transport
from scripts.workstation.registry.client import Absent, Registry, bearer_challenge, sha256
from scripts.workstation.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    attested,
    document,
    platform_digest,
    platforms,
)
from scripts.workstation.registry.repository import is_loopback, repository
from scripts.workstation.registry.resolve import Resolved
from scripts.workstation.trouble import Trouble

ROOT = Path(__file__).parents[2]
IMAGES = json.loads((ROOT / "images.json").read_text(encoding="utf-8"))
wanted_tags = import_module("scripts.workstation.pin-images").wanted_tags

digests = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64).map(lambda text: f"sha256:{text}")
FIRST, SECOND = (f"sha256:{letter * 64}" for letter in "ab")


# --- where a repository is ---


@pytest.mark.parametrize(
    ("name", "api"),
    [
        ("postgres", "https://registry-1.docker.io/v2/library/postgres"),
        ("percona/percona-pgbouncer", "https://registry-1.docker.io/v2/percona/percona-pgbouncer"),
        ("docker.io/redis", "https://registry-1.docker.io/v2/library/redis"),
        ("ghcr.io/owner/name", "https://ghcr.io/v2/owner/name"),
        ("registry.example.com:5000/a/b/c", "https://registry.example.com:5000/v2/a/b/c"),
        ("127.0.0.1:5443/postgres", "http://127.0.0.1:5443/v2/postgres"),
        ("localhost/x", "http://localhost/v2/x"),
        ("localhost.example.com/x", "https://localhost.example.com/v2/x"),
    ],
)
def test_a_name_is_found_where_docker_finds_it(name: str, api: str) -> None:
    assert repository(name).api == api


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:5000", True),
        ("10.0.0.1:5000", False),
        ("[fe80::1]", False),
    ],
)
def test_only_this_machine_is_spoken_to_without_tls(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("url", ["http://example.com/v2/", "http://10.0.0.1/x", "ftp://127.0.0.1/x"])
def test_a_way_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(Trouble, match="is not encrypted"):
        transport.require_tls(url)


# --- patience ---


@given(failures=st.integers(1, 30))
def test_each_wait_is_between_half_and_whole_of_twice_the_last_and_never_too_long(failures: int) -> None:
    history = tuple(RequestHistory("GET", "/", None, 503, None) for _ in range(failures))
    whole = min(transport.LONGEST_WAIT_SECONDS, transport.FIRST_WAIT_SECONDS * 2 ** (failures - 1))
    assert whole / 2 <= transport.patience().new(history=history).get_backoff_time() <= whole


@given(seconds=st.integers(0, 10**9))
def test_a_registry_is_obeyed_up_to_a_limit(seconds: int) -> None:
    answer = urllib3.HTTPResponse(headers={"Retry-After": str(seconds)}, status=429)
    assert transport.patience().get_retry_after(answer) == min(seconds, transport.LONGEST_WAIT_SECONDS)


@pytest.mark.parametrize(
    ("status", "again"), [(200, False), (401, False), (404, False), (429, True), (500, True), (503, True)]
)
def test_only_what_may_pass_is_asked_again(status: int, again: bool) -> None:
    assert transport.patience().is_retry("GET", status) is again


# --- a registry's answers ---


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull,push"',
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:library/x:pull,push",
            },
        ),
        ('bearer Realm="https://a/t"', {"realm": "https://a/t"}),
        ('Basic realm="x"', {}),
        ("", {}),
        ("Bearer nonsense", {}),
    ],
)
def test_a_challenge_is_read(header: str, parts: dict[str, str]) -> None:
    assert bearer_challenge(header) == parts


class Answers(transport.Transport):
    """What is served, by address; whoever asks is remembered."""

    def __init__(self, served: Mapping[str, urllib3.HTTPResponse]) -> None:
        super().__init__()
        self.served, self.asked = served, list[tuple[str, Mapping[str, str]]]()

    def get(self, url: str, headers: dict[str, str]) -> transport.Response:
        self.asked.append((url, headers))
        return self.served.get(url) or urllib3.HTTPResponse(status=404)


def served(body: bytes, **headers: str) -> urllib3.HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.HTTPResponse(body=body, headers=named, status=200)


def manifest_body(**more: Any) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "config": {"digest": FIRST}, **more}
    ).encode()


TAG_URL = "https://registry-1.docker.io/v2/library/redis/manifests/7"


def test_a_manifest_is_asked_for_once_by_tag_and_digest() -> None:
    body = manifest_body()
    answers = Answers({TAG_URL: served(body, Content_Type=MANIFEST_TYPES[0])})
    registry, redis = Registry(answers), repository("redis")
    found = registry.manifest(redis, "7")
    assert found.digest == sha256(body)
    assert registry.manifest(redis, "7") is registry.manifest(redis, found.digest) is found
    ((_, headers),) = answers.asked
    assert set(headers["Accept"].split(", ")) == {*INDEX_TYPES, *MANIFEST_TYPES}


def test_what_is_not_there_is_told_from_what_is_wrong() -> None:
    with pytest.raises(Absent):
        Registry(Answers({})).manifest(repository("redis"), "7")
    wrong = served(manifest_body(), Content_Type=MANIFEST_TYPES[0], Docker_Content_Digest=SECOND)
    with pytest.raises(Trouble, match=rf"redis:7 has the digest .*, and {SECOND} is promised"):
        Registry(Answers({TAG_URL: wrong})).manifest(repository("redis"), "7")
    by_digest = {f"https://registry-1.docker.io/v2/library/redis/blobs/{FIRST}": served(b"{}")}
    with pytest.raises(Trouble, match="nothing of it is taken"):
        Registry(Answers(by_digest)).blob(repository("redis"), FIRST)


def test_a_token_is_not_fetched_in_the_clear() -> None:
    challenge = urllib3.HTTPResponse(
        status=401, headers={"WWW-Authenticate": 'Bearer realm="http://evil.example/token"'}
    )
    answers = Answers({TAG_URL: challenge})
    with pytest.raises(Trouble, match=r"http://evil\.example, which is not encrypted"):
        Registry(answers).manifest(repository("redis"), "7")
    assert [url for url, _ in answers.asked] == [TAG_URL]


# --- manifests and indexes ---


def entry(digest: str, architecture: str = "arm64", os: str = "linux", **more: Any) -> dict[str, Any]:
    variant = {"variant": more.pop("variant")} if "variant" in more else {}
    return {"digest": digest, "platform": {"os": os, "architecture": architecture, **variant}, **more}


def index(*entries: dict[str, Any]) -> Any:
    content = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": list(entries)}
    return document("redis:7", FIRST, INDEX_TYPES[0], content)


def test_the_plain_variant_of_an_architecture_is_meant() -> None:
    found = index(
        entry(FIRST, "arm64", variant="v8"),
        entry(SECOND, "arm64", variant="v9"),
        entry(SECOND, "arm64", "windows"),
        entry(SECOND, "arm", variant="v7"),
    )
    assert platform_digest(found, "arm64") == FIRST
    assert platform_digest(found, "amd64") is None
    assert platforms(found) == ["linux/arm", "linux/arm64", "windows/arm64"]


def test_two_images_for_one_architecture_are_refused() -> None:
    with pytest.raises(Trouble, match="2 manifests for linux/arm64, and nothing tells which is meant"):
        platform_digest(index(entry(FIRST), entry(SECOND)), "arm64")


def test_attestations_of_a_build_are_no_images() -> None:
    annotations = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": FIRST}
    found = index(entry(FIRST), entry(SECOND, "unknown", "unknown", annotations=annotations))
    assert attested(found) == {FIRST}
    assert platforms(found) == ["linux/arm64"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "neither an image's manifest nor an index"),
        ({"schemaVersion": 2}, "neither an image's manifest nor an index"),
        # One body, two readings: a client that trusts the header may run another image than was looked at.
        ({"schemaVersion": 2, "manifests": [], "config": {}}, "neither an image's manifest nor an index"),
        ({"schemaVersion": 2, "config": {}, "mediaType": INDEX_TYPES[0]}, "of the kind"),
        ({"schemaVersion": 1, "config": {}, "mediaType": MANIFEST_TYPES[0]}, "of the kind"),
    ],
)
def test_what_is_no_image_is_named(content: Any, sentence: str) -> None:
    with pytest.raises(Trouble, match=sentence):
        document("redis:7", FIRST, MANIFEST_TYPES[0], content)


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["platform", "digest", "annotations", "os", "architecture", "variant"]), inner
        )
    ),
)


@given(listed=anything)
def test_whatever_an_index_lists_ends_in_a_sentence_at_worst(listed: Any) -> None:
    content = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": listed}
    found = document("redis:7", FIRST, INDEX_TYPES[0], content)
    readable = isinstance(listed, list) and all(isinstance(entry, dict) for entry in listed)
    if readable:
        assert all("/" in platform for platform in platforms(found))
        assert attested(found) == set()
        return
    for read in (platforms, attested):
        with pytest.raises(Trouble, match="an index whose list cannot be read"):
            read(found)


# --- the file ---


def test_the_catalogue_is_written_as_it_stands() -> None:
    text = (ROOT / "images.json").read_text(encoding="utf-8")
    assert catalogue.render(catalogue.read(ROOT / "images.json")) == text


def changed_lines(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before = catalogue.render(old).splitlines()
    return [line for line in catalogue.render(new).splitlines() if line not in before]


@given(
    name=st.sampled_from(["postgres", "redis"]),
    tag=st.from_regex(r"[a-z0-9]{1,9}\.[0-9]{1,3}", fullmatch=True),
    new=st.tuples(digests, digests, digests),
)
def test_a_new_pin_changes_its_own_lines_alone(name: str, tag: str, new: tuple[str, str, str]) -> None:
    before = copy.deepcopy(IMAGES)
    resolved = Resolved(new[0], {"amd64": new[1], "arm64": new[2]})
    after = IMAGES | {name: catalogue.pinned(IMAGES[name], tag, resolved)}
    assert before == IMAGES
    assert {n: e for n, e in after.items() if n != name} == {n: e for n, e in IMAGES.items() if n != name}
    assert list(after[name]) == list(IMAGES[name])
    lines = changed_lines(IMAGES, after)
    assert [line.strip().partition(":")[0].strip('"') for line in lines] == ["tag", "index", "amd64", "arm64"]


def test_an_index_that_was_not_pinned_is_put_where_others_have_it() -> None:
    old = IMAGES["pgbouncer"]
    new = catalogue.pinned(old, old["tag"], Resolved(FIRST, dict(old["manifests"])))
    assert list(new) == ["repository", "tag", "index", "manifests"]
    assert changed_lines(IMAGES, IMAGES | {"pgbouncer": new}) == [f'    "index": "{FIRST}",']
    assert catalogue.pinned(new, old["tag"], Resolved(FIRST, dict(old["manifests"]))) == new


def test_an_image_that_has_lost_its_index_loses_the_pin_of_it() -> None:
    new = catalogue.pinned(IMAGES["redis"], "7.2.17", Resolved(None, {"arm64": FIRST}))
    assert new == {"repository": "redis", "tag": "7.2.17", "manifests": {"arm64": FIRST}}


def test_a_catalogue_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.json"
    for text in (None, "{", json.dumps({"postgres": {}})):
        if text is not None:
            path.write_text(text)
        with pytest.raises(Trouble, match=r"images\.json"):
            catalogue.read(path)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("policy/keys/percona.pub", None),
        ("../outside.pub", "should match pattern"),
        ("/etc/key.pub", "should match pattern"),
        ("policy/keys/percona.pem", "should match pattern"),
    ],
)
def test_a_signatures_key_is_a_file_below_the_catalogue(key: str, sentence: str | None) -> None:
    raw = IMAGES | {"redis": IMAGES["redis"] | {"signature": {"key": key}}}
    if sentence is None:
        signature = parse(ImageCatalogue, raw, where="images.json: ").redis.signature
        assert signature
        assert signature.key == key
        return
    with pytest.raises(SettingsError, match=rf"^images\.json: redis\.signature\.key is .*{sentence}"):
        parse(ImageCatalogue, raw, where="images.json: ")


# --- words and sentences ---


def test_tags_are_taken_by_name() -> None:
    assert wanted_tags(IMAGES, ["postgres=17.12"])["postgres"] == "17.12"
    assert wanted_tags(IMAGES, [])["redis"] == IMAGES["redis"]["tag"]
    for word in ("17.12", "mysql=8", "redis="):
        with pytest.raises(
            Trouble, match="is not NAME=TAG; the names are postgres, redis, pgbouncer"
        ) as failed:
            wanted_tags(IMAGES, [word])
        assert failed.value.code == 2


class Pinned(Registry):
    """Serves one index for a tag, with an image for each architecture."""

    def __init__(self) -> None:
        super().__init__(Answers({}))
        config = {a: json.dumps({"os": "linux", "architecture": a}).encode() for a in ("amd64", "arm64")}
        bodies = {a: manifest_body(config={"digest": sha256(config[a])}) for a in config}
        self.images = {a: sha256(body) for a, body in bodies.items()}
        listed = [
            {"digest": d, "platform": {"os": "linux", "architecture": a}} for a, d in self.images.items()
        ]
        whole = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPES[1], "manifests": listed}).encode()
        self.index, api = sha256(whole), "https://registry-1.docker.io/v2/library/redis"
        self._transport = Answers(
            {
                f"{api}/manifests/7": served(whole, Content_Type=INDEX_TYPES[1]),
                **{
                    f"{api}/manifests/{sha256(b)}": served(b, Content_Type=MANIFEST_TYPES[0])
                    for b in bodies.values()
                },
                **{f"{api}/blobs/{sha256(c)}": served(c) for c in config.values()},
            }
        )


@pytest.mark.parametrize(
    ("old", "sentence"),
    [
        ({}, "7 is as pinned, for amd64 and arm64"),
        ({"tag": "6"}, r"7 \(sha256:[0-9a-f]{12}…\) in place of 6, for amd64 and arm64"),
        (
            {"index": None},
            r"7 has an index \(sha256:[0-9a-f]{12}…\), which is not pinned yet, for amd64 and arm64",
        ),
        (
            {"index": SECOND},
            r"7 has been pushed again: it is sha256:[0-9a-f]{12}… now and was sha256:b{12}…, for amd64 and arm64",
        ),
    ],
)
def test_one_sentence_says_what_differs(old: dict[str, Any], sentence: str) -> None:
    registry = Pinned()
    said = {"repository": "redis", "tag": "7", "index": registry.index, "manifests": registry.images} | old
    entry = {key: value for key, value in said.items() if value is not None}
    found = pins.newest(registry, entry, "7", Path())
    assert re.fullmatch(sentence, found.sentence)
    assert found.changed is bool(old)
    assert found.entry["index"] == registry.index


# --- signatures ---


def test_an_envelope_is_encoded_as_dsse_says() -> None:
    # The example of its specification.
    encoded = signatures.pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_only_a_key_that_cosign_makes_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.pub"
    keys = {
        ec.generate_private_key(ec.SECP256R1()): None,
        ec.generate_private_key(ec.SECP384R1()): "no ECDSA key on P-256",
        rsa.generate_private_key(65537, 2048): "no ECDSA key on P-256",
    }
    for key, sentence in keys.items():
        path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        if sentence is None:
            assert signatures.public_key(path) == key.public_key()
            continue
        with pytest.raises(Trouble, match=sentence):
            signatures.public_key(path)
    path.write_text("no key")
    for wrong in (path, tmp_path / "not-there.pub"):
        with pytest.raises(Trouble, match="cannot be read as a public key"):
            signatures.public_key(wrong)


# --- what the bot proposes ---

RENOVATE = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))


def javascript(pattern: str) -> "re.Pattern[str]":
    """A regular expression of Renovate's, with or without the slashes around it."""
    return re.compile(pattern.strip("/").replace("(?<", "(?P<"))


def test_renovate_finds_every_image_of_the_catalogue() -> None:
    (manager,) = RENOVATE["customManagers"]
    assert all(javascript(p).fullmatch("images.json") for p in manager["managerFilePatterns"])
    text = (ROOT / "images.json").read_text(encoding="utf-8")
    found = [m.groupdict() for p in manager["matchStrings"] for m in javascript(p).finditer(text)]
    assert found == [{"depName": i["repository"], "currentValue": i["tag"]} for i in IMAGES.values()]


@pytest.mark.parametrize(
    ("image", "allowed", "refused"),
    [
        ("postgres", ["17.11", "17.20"], ["18.0", "17", "17.11-alpine", "16.9"]),
        ("redis", ["7.2.16", "7.2.17"], ["7.4.1", "8.0.0", "7.2", "7.2.16-alpine"]),
        ("percona/percona-pgbouncer", ["1.25.2-6", "1.26.0-1"], ["2.0.0-1", "1.25.2", "1.25.2-6-arm64"]),
    ],
)
def test_renovate_proposes_only_what_the_platform_is_made_for(
    image: str, allowed: list[str], refused: list[str]
) -> None:
    (rule,) = [r for r in RENOVATE["packageRules"] if r.get("matchPackageNames") == [image]]
    assert all(javascript(rule["allowedVersions"]).search(tag) for tag in allowed)
    assert not any(javascript(rule["allowedVersions"]).search(tag) for tag in refused)
    versioning = rule.get("versioning", "").removeprefix("regex:")
    assert all(javascript(versioning).search(tag) for tag in allowed)
    current = next(i["tag"] for i in IMAGES.values() if i["repository"] == image)
    assert javascript(rule["allowedVersions"]).search(current)


def test_renovate_leaves_major_versions_to_people() -> None:
    (rule,) = [r for r in RENOVATE["packageRules"] if r.get("matchUpdateTypes") == ["major"]]
    assert rule["dependencyDashboardApproval"] is True
    assert RENOVATE["automerge"] is False
