"""SCRAM-SHA-256 verifiers, against the example of RFC 7677 and against an implementation of the protocol itself."""

import base64
import hashlib
import hmac
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.render import scram

PRINTABLE = st.text(alphabet=string.ascii_letters + string.digits + string.punctuation + " ", min_size=1)

# RFC 7677, section 3: user `user`, password `pencil`.
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
AUTH_MESSAGE = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={NONCE},s={SALT},i=4096,c=biws,r={NONCE}"
CLIENT_PROOF = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_SIGNATURE = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def parts(verifier: str) -> tuple[int, bytes, bytes, bytes]:
    """Iterations, salt, StoredKey and ServerKey, as a server reads them."""
    method, cost, keys = verifier.split("$")
    assert method == "SCRAM-SHA-256"
    iterations, salt = cost.split(":")
    stored, server = keys.split(":")
    return int(iterations), base64.b64decode(salt), base64.b64decode(stored), base64.b64decode(server)


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """Hi() of RFC 5802 written out, so that it shares nothing with hashlib.pbkdf2_hmac."""
    block = hmac.new(password.encode(), salt + b"\x00\x00\x00\x01", "sha256").digest()
    result = int.from_bytes(block, "big")
    for _ in range(iterations - 1):
        block = hmac.new(password.encode(), block, "sha256").digest()
        result ^= int.from_bytes(block, "big")
    return result.to_bytes(32, "big")


def client_proof(password: str, salt: bytes, iterations: int, message: bytes) -> bytes:
    """What a client that knows the password sends."""
    client_key = hmac.new(salted_password(password, salt, iterations), b"Client Key", "sha256").digest()
    signature = hmac.new(hashlib.sha256(client_key).digest(), message, "sha256").digest()
    return bytes(a ^ b for a, b in zip(client_key, signature, strict=True))


def server_accepts(verifier: str, proof: bytes, message: bytes) -> bool:
    """What a server that has only the verifier makes of a client's proof."""
    _, _, stored, _ = parts(verifier)
    signature = hmac.new(stored, message, "sha256").digest()
    return hashlib.sha256(bytes(a ^ b for a, b in zip(proof, signature, strict=True))).digest() == stored


def test_a_server_proves_itself_as_in_the_example_of_the_rfc() -> None:
    _, _, _, server_key = parts(scram.verifier("pencil", base64.b64decode(SALT)))
    signature = hmac.new(server_key, AUTH_MESSAGE.encode(), "sha256").digest()
    assert base64.b64encode(signature).decode() == SERVER_SIGNATURE


def test_a_server_accepts_the_client_of_the_example_of_the_rfc() -> None:
    verifier = scram.verifier("pencil", base64.b64decode(SALT))
    assert server_accepts(verifier, base64.b64decode(CLIENT_PROOF), AUTH_MESSAGE.encode())
    wrong = scram.verifier("Pencil", base64.b64decode(SALT))
    assert not server_accepts(wrong, base64.b64decode(CLIENT_PROOF), AUTH_MESSAGE.encode())


def test_the_verifier_has_postgresqls_form() -> None:
    verifier = scram.verifier("pencil", base64.b64decode(SALT))
    assert verifier.startswith(f"SCRAM-SHA-256$4096:{SALT}$")
    assert [len(part) for part in parts(verifier)[1:]] == [16, 32, 32]


@settings(max_examples=10)
@given(PRINTABLE, PRINTABLE)
def test_only_the_password_opens(password: str, other: str) -> None:
    salt = scram.salt("key", "role")
    proof = client_proof(password, salt, scram.ITERATIONS, b"message")
    assert server_accepts(scram.verifier(password, salt), proof, b"message")
    assert server_accepts(scram.verifier(other, salt), proof, b"message") is (other == password)


@given(PRINTABLE, PRINTABLE)
def test_a_salt_is_the_same_in_each_run(key: str, role: str) -> None:
    expected = hmac.new(key.encode(), b"postgres:" + role.encode(), hashlib.sha256).digest()[:16]
    assert scram.salt(key, role) == expected == scram.salt(key, role)


def test_each_role_and_each_key_has_its_own_salt() -> None:
    salts = {scram.salt(key, role) for key in ("a", "b") for role in ("platform_admin", "pgbouncer_auth")}
    assert len(salts) == 4


def test_a_password_beyond_ascii_is_not_taken_for_another() -> None:
    with pytest.raises(UnicodeEncodeError):
        scram.verifier("pässword", b"0" * 16)
