"""HTTP with patience: time-outs, and another try after a broken connection, a busy registry or its rate limit."""

import random
import re
import urllib.request
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import parse_url

from scripts.workstation.registry.repository import is_loopback
from scripts.workstation.trouble import Trouble

CONNECT_SECONDS = 10
READ_SECONDS = 30
TRIES = 5
# Of one wait; a registry that asks for more is asked again after this long, and given up in the end.
LONGEST_WAIT_SECONDS = 30
FIRST_WAIT_SECONDS = 0.5
REDIRECTIONS = 3
TRY_AGAIN = (429, 500, 502, 503, 504)

Response = urllib3.BaseHTTPResponse


class Patience(urllib3.Retry):
    """urllib3's, with a wait before the second try too, and each wait a chance between half and whole: clients do not come back together."""

    def get_backoff_time(self) -> float:
        """Seconds before the next try, where the registry has named none."""
        failures = len(self.history)
        longest = min(self.backoff_max, self.backoff_factor * 2 ** (failures - 1)) if failures else 0
        return longest * random.uniform(0.5, 1)  # noqa: S311 # spreads clients, hides nothing


def patience() -> Patience:
    """What every request has. A registry's last refusal comes back as its answer."""
    return Patience(
        total=TRIES - 1,
        status_forcelist=TRY_AGAIN,
        allowed_methods=("GET",),
        backoff_factor=FIRST_WAIT_SECONDS,
        backoff_max=LONGEST_WAIT_SECONDS,
        retry_after_max=LONGEST_WAIT_SECONDS,
        raise_on_status=False,
    )


class Transport:
    """Connections that are kept, to whichever host, through the proxy that the environment names."""

    def __init__(self) -> None:
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def get(self, url: str, headers: dict[str, str]) -> Response:
        """The answer with its whole body. Raises Trouble where there is none, or where it would come in the clear."""
        for _ in range(1 + REDIRECTIONS):
            answer = self._ask(url, headers)
            if answer.status in TRY_AGAIN:
                raise Trouble(_refusal(answer, url))
            location = answer.get_redirect_location()
            if not location:
                return answer
            before, url = url, urljoin(url, location)
            require_tls(url)
            if urlsplit(url).netloc != urlsplit(before).netloc:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
        raise Trouble(f"{urlsplit(url).netloc} sends us on and on; try again later")

    def _ask(self, url: str, headers: dict[str, str]) -> Response:
        try:
            return self._pool(url).request(
                "GET",
                url,
                headers=headers,
                retries=patience(),
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
        except MaxRetryError as error:
            raise Trouble(
                f"{urlsplit(url).netloc} does not answer after {TRIES} tries ({_cause(error)}); look at the network, and try again"
            ) from None
        except HTTPError as error:
            raise Trouble(
                f"{urlsplit(url).netloc} gives no answer that can be read ({error}); try again"
            ) from None

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        bypassed = is_loopback(parts.netloc) or urllib.request.proxy_bypass(parts.netloc)
        proxy = None if bypassed else urllib.request.getproxies().get(parts.scheme)
        if proxy not in self._pools:
            self._pools[proxy] = _through(proxy) if proxy else urllib3.PoolManager()
        return self._pools[proxy]


def _through(proxy: str) -> urllib3.ProxyManager:
    login = parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers)


def require_tls(url: str) -> None:
    """Raises Trouble where an address is neither https nor this machine's own."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.netloc)):
        raise Trouble(
            f"the registry sends us to {parts.scheme}://{parts.netloc}, which is not encrypted; nothing from there is taken"
        )


def _cause(error: MaxRetryError) -> str:
    said = error.reason.args[0] if error.reason and error.reason.args else error.reason
    # urllib3 names its own objects in front of what happened.
    return re.sub(r"^(<.*?>|\w+Connection(Pool)?\(.*?\)): ", "", str(said))


def _refusal(answer: Response, url: str) -> str:
    host, wait = urlsplit(url).netloc, answer.headers.get("Retry-After")
    if answer.status == 429:
        asked = f" and asks to wait {wait} s" if wait and wait.isdigit() else ""
        return f"{host} limits how often it is asked (429, {TRIES} tries){asked}; try again later"
    return f"{host} is out of order ({answer.status}, {TRIES} tries); try again later"
