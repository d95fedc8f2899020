"""SCRAM-SHA-256 verifiers, so that SQL and files carry no password.

The form is PostgreSQL's (pg_authid.rolpassword): SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, with the keys of RFC 5802, section 3.
"""

import base64
import hashlib
import hmac

ITERATIONS = 4096  # PostgreSQL's own default (scram_iterations)


def salt(salt_key: str, role: str) -> bytes:
    """16 bytes that stay the same from run to run: HMAC-SHA256(saltKey, "postgres:" + role), cut."""
    return hmac.digest(salt_key.encode(), f"postgres:{role}".encode(), "sha256")[:16]


def verifier(password: str, salt_bytes: bytes) -> str:
    """The verifier of a password of printable ASCII (for which SASLprep changes nothing)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt_bytes, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(b).decode() for b in (salt_bytes, stored_key, server_key))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt64}${stored64}:{server64}"
