"""HTTP with short timeouts, which tells `nothing answers` from `the answer was no`."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path

CONNECT_SECONDS = 5.0


class Unreachable(Exception):
    """Nothing answered: no name, no route, refused, or silence."""


class Refused(Exception):
    """Something answered, and not with the file."""


class CutOff(Exception):
    """The transfer began and did not end."""


def fetch(url: str, destination: Path) -> None:
    """Download to a file. Raises Unreachable, Refused or CutOff."""
    try:
        # Redirects and proxies are followed as the environment says.
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer, destination.open("wb") as file:  # noqa: S310
            expected = answer.headers.get("Content-Length")
            got = 0
            while chunk := _read(answer, url):
                file.write(chunk)
                got += len(chunk)
    except urllib.error.HTTPError as error:
        raise Refused(f"{url} answered {error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"{url} does not answer ({reason})") from None
    except http.client.HTTPException as error:
        raise Refused(f"{url} did not answer in HTTP ({error})") from None
    if expected is not None and got != int(expected):
        raise CutOff(f"{url} ended after {got} of {expected} bytes")


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return answer.read(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        raise CutOff(f"{url} broke off ({type(error).__name__})") from None


def answers(url: str) -> bool:
    """Whether anything at all answers there, be it an error page."""
    try:
        urllib.request.urlopen(url, timeout=CONNECT_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False
    return True
