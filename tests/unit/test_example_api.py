"""The example's HTTP and what it does when its stores fail, without any of them."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, cast

import psycopg
import pytest
import redis

from examples.librarian.librarian import cache as cache_module
from examples.librarian.librarian import database as database_module
from examples.librarian.librarian.api import Api
from examples.librarian.librarian.cache import Cache
from examples.librarian.librarian.database import Database
from examples.librarian.librarian.library import Library, NotFoundError, NotPossibleError
from examples.librarian.librarian.server import LARGEST_BODY, Server
from examples.librarian.librarian.server_env import Connections, ServerEnvError


class Shelf:
    """A library that says back what it was asked, or fails as it was told."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.well = {"database": True, "redis": True}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def say_back(*values: object) -> list[object]:
            if self.fault:
                raise self.fault
            return [name, *values]

        return say_back

    def health(self) -> dict[str, bool]:
        return self.well


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def api(shelf: Shelf) -> Api:
    return Api(cast(Library, shelf))


@pytest.mark.parametrize(
    ("path", "said", "done"),
    [
        ("/members", {"name": "Zoë"}, ["add_member", "Zoë"]),
        ("/books", {"title": "T", "author": "A"}, ["add_book", "T", "A"]),
        ("/loans", {"book": 1, "member": 2}, ["lend", 1, 2]),
        ("/returns", {"loan": 3}, ["take_back", 3]),
    ],
)
def test_a_post_does_what_its_path_says(api: Api, path: str, said: dict[str, Any], done: list[Any]) -> None:
    answer = api.answer("POST", path, json.dumps(said).encode())
    assert (answer.status, answer.body) == (201, done)


@pytest.mark.parametrize(
    ("path", "found"),
    [("/books/7", ["book", 7]), ("/books?title=a%20b%25", ["find", "a b%"]), ("/books/007?x=y", ["book", 7])],
)
def test_a_get_finds(api: Api, path: str, found: list[Any]) -> None:
    answer = api.answer("GET", path)
    assert (answer.status, answer.body) == (200, found)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"title": "T"}',
        b'{"title": "T", "author": 1}',
        b'{"title": " ", "author": "A"}',
        b'{"title": "T\\u0000", "author": "A"}',
        b'{"title": "\\ud800", "author": "A"}',
        json.dumps({"title": "T" * 501, "author": "A"}).encode(),
    ],
)
def test_a_book_that_is_none_is_refused(api: Api, said: bytes) -> None:
    answer = api.answer("POST", "/books", said)
    assert answer.status == 400
    assert set(answer.body) == {"error"}


@pytest.mark.parametrize("number", ["0", "-1", "true", "1.0", '"1"', "null", str(2**63)])
def test_an_id_that_is_none_is_refused(api: Api, number: str) -> None:
    assert api.answer("POST", "/returns", f'{{"loan": {number}}}'.encode()).status == 400


@pytest.mark.parametrize("path", ["/books", "/books?title=", "/books?title=%00", "/books?other=1"])
def test_a_search_for_nothing_is_refused(api: Api, path: str) -> None:
    assert api.answer("GET", path).status == 400


@pytest.mark.parametrize("path", ["/", "/books/", "/books/x", "/books/-1", f"/books/{10**18}", "/loans"])
def test_other_paths_are_not_there(api: Api, path: str) -> None:
    assert api.answer("GET", path).status == 404


def test_nothing_else_can_be_posted_to(api: Api) -> None:
    assert api.answer("POST", "/health", b"{}").status == 404


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (NotFoundError("there is no book 7"), 404),
        (NotPossibleError("book 7 is lent already"), 409),
        (psycopg.OperationalError("canary"), 503),
        (ServerEnvError("server.env lacks DATABASE_URL"), 503),
        (psycopg.ProgrammingError("canary"), 500),
        (KeyError("canary"), 500),
    ],
)
def test_every_fault_is_an_answer(api: Api, shelf: Shelf, fault: Exception, status: int) -> None:
    shelf.fault = fault
    answer = api.answer("GET", "/books/7")
    assert answer.status == status
    assert "canary" not in answer.body["error"]


def test_health_is_that_of_both_stores(api: Api, shelf: Shelf) -> None:
    assert api.answer("GET", "/health").status == 200
    shelf.well = {"database": True, "redis": False}
    answer = api.answer("GET", "/health")
    assert (answer.status, answer.body) == (503, shelf.well)


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with Server(("127.0.0.1", 0), api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_it_speaks_http(url: str) -> None:
    with urllib.request.urlopen(f"{url}/members", '{"name": "Zoë"}'.encode()) as answer:  # noqa: S310
        assert (answer.status, answer.headers["Content-Type"]) == (201, "application/json")
        assert json.load(answer) == ["add_member", "Zoë"]


def test_a_body_that_is_too_long_is_not_read(url: str) -> None:
    request = urllib.request.Request(f"{url}/members", b"", {"Content-Length": str(LARGEST_BODY + 1)})  # noqa: S310
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request)  # noqa: S310


class FakeConnection:
    """As much of a connection as a transaction needs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.closed = False
        self.ended: list[str] = []

    def commit(self) -> None:
        self.ended.append("commit")

    def rollback(self) -> None:
        self.ended.append("rollback")

    def close(self) -> None:
        self.closed = True


class Postgres:
    """A server with one password, and the server.env that goes with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.password = self.written = "old"
        self.opened: list[FakeConnection] = []
        # What happens between reading the file and using what it said.
        self.meanwhile: Callable[[], None] = lambda: None
        monkeypatch.setattr(database_module, "_open", self._open)

    def read(self) -> Connections:
        return Connections(self.written, "", "h", 1, "u", self.written, "librarian:")

    def _open(self, url: str) -> FakeConnection:
        self.meanwhile()
        if url != self.password:
            raise psycopg.OperationalError("password authentication failed")
        self.opened.append(FakeConnection(url))
        return self.opened[-1]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Postgres:
    monkeypatch.setattr(database_module, "PAUSE_SECONDS", 0.01)
    return Postgres(monkeypatch)


def _url(connection: Any) -> str:
    return connection.url


def test_a_connection_is_used_again(server: Postgres) -> None:
    database = Database(server.read)
    assert [database.transaction(_url), database.transaction(_url)] == ["old", "old"]
    assert [connection.ended for connection in server.opened] == [["commit", "commit"]]


def test_a_password_that_changes_after_it_was_read_is_read_again(server: Postgres) -> None:
    def change() -> None:
        server.password = server.written = "new"

    server.meanwhile = change
    assert Database(server.read).transaction(_url) == "new"


def test_a_wrong_password_is_not_tried_for_ever(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "PATIENCE_SECONDS", 0.1)
    server.password = "other"
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        Database(server.read).transaction(_url)
    server.password = "old"
    assert Database(server.read).transaction(_url) == "old"


def test_an_idle_connection_that_died_is_nobody_s_error(server: Postgres) -> None:
    database = Database(server.read)
    database.transaction(_url)
    server.password = server.written = "new"

    def work(connection: Any) -> str:
        if connection.url == "old":
            raise psycopg.OperationalError("server login failed")
        return connection.url

    assert database.transaction(work) == "new"
    assert [connection.closed for connection in server.opened] == [True, False]


def test_work_that_fails_every_time_is_an_error_in_the_end(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PATIENCE_SECONDS", 0.1)

    def work(_: Any) -> None:
        raise psycopg.OperationalError("too many")

    with pytest.raises(psycopg.OperationalError, match="too many"):
        Database(server.read).transaction(work)
    assert len(server.opened) > 1
    assert all(connection.closed for connection in server.opened)


def test_a_commit_that_fails_is_not_tried_again(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(server.read)
    database.transaction(_url)

    def commit(_: FakeConnection) -> None:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(FakeConnection, "commit", commit)
    runs: list[None] = []
    with pytest.raises(psycopg.OperationalError, match="gone"):
        database.transaction(lambda _: runs.append(None))
    assert len(runs) == 1


def test_a_refused_request_is_rolled_back(server: Postgres) -> None:
    def work(_: Any) -> None:
        raise NotPossibleError

    database = Database(server.read)
    with pytest.raises(NotPossibleError):
        database.transaction(work)
    assert database.transaction(_url) == "old"
    assert [connection.ended for connection in server.opened] == [["rollback", "commit"]]


class FakeRedis:
    """Answers with what it was given, exceptions among it."""

    def __init__(self, **said: Any) -> None:
        self.credentials = said["credential_provider"]
        self.answers: list[Any] = []
        self.seen: list[tuple[Any, ...]] = []

    def __getattr__(self, command: str) -> Callable[..., Any]:
        def answer(*words: Any, **options: Any) -> Any:
            self.seen.append((command, *words, *options.items()))
            found = self.answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        return answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, server: Postgres) -> tuple[Cache, FakeRedis]:
    made: list[FakeRedis] = []

    def make(**said: Any) -> FakeRedis:
        made.append(FakeRedis(**said))
        return made[-1]

    monkeypatch.setattr(cache_module.redis, "Redis", make)
    return Cache(server.read), made[0]


def test_keys_have_the_application_s_prefix_and_books_an_end(fake: tuple[Cache, FakeRedis]) -> None:
    cache, store = fake
    store.answers = [True, 5, '{"id": 7}']
    cache.keep({"id": 7})
    assert (cache.count_view(7), cache.book(7)) == (5, {"id": 7})
    assert store.seen == [
        ("set", "librarian:book:7", '{"id": 7}', ("ex", cache_module.KEEP_SECONDS)),
        ("incr", "librarian:views:7"),
        ("get", "librarian:book:7"),
    ]


def test_a_refused_password_is_read_and_tried_once_more(
    fake: tuple[Cache, FakeRedis], server: Postgres
) -> None:
    cache, store = fake
    store.answers = [redis.AuthenticationError("WRONGPASS"), 6]
    assert cache.count_view(7) == 6
    server.written = "new"
    assert store.credentials.get_credentials() == ("u", "new")


@pytest.mark.parametrize(
    "fault", [redis.ConnectionError("down"), ServerEnvError("server.env lacks REDIS_HOST")]
)
def test_without_redis_a_book_is_only_slower(fake: tuple[Cache, FakeRedis], fault: Exception) -> None:
    cache, store = fake
    store.answers = [fault, fault]
    assert (cache.book(7), cache.count_view(7)) == (None, None)
