"""Requests and answers, all of them JSON; no sockets here."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from .library import Library, NotFoundError, NotPossibleError
from .server_env import ServerEnvError

LONGEST_TEXT = 500
LARGEST_NUMBER = 2**63 - 1


class BadRequestError(Exception):
    """What is wrong with a request, as one sentence for whoever sent it."""


@dataclass(frozen=True)
class Answer:
    """A status of HTTP, and what goes with it."""

    status: int
    body: Any


class Api:
    """The library, by method and path."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._posts: dict[str, Callable[[dict[str, Any]], Any]] = {
            "/members": lambda said: library.add_member(_text(said, "name")),
            "/books": lambda said: library.add_book(_text(said, "title"), _text(said, "author")),
            "/loans": lambda said: library.lend(_number(said, "book"), _number(said, "member")),
            "/returns": lambda said: library.take_back(_number(said, "loan")),
        }

    def answer(self, method: str, target: str, body: bytes = b"") -> Answer:
        """The answer to a request; every fault is one."""
        try:
            return self._post(target, body) if method == "POST" else self._get(target)
        except BadRequestError as error:
            return _fault(400, str(error))
        except NotFoundError as error:
            return _fault(404, str(error))
        except NotPossibleError as error:
            return _fault(409, str(error))
        except (psycopg.OperationalError, ServerEnvError) as error:
            logging.error("PostgreSQL: %s", error)
            return _fault(503, "the database does not answer; try again later")
        except Exception:  # one request must not take the others with it
            logging.exception("%s %s", method, target)
            return _fault(500, "this is our fault, and it is in our log")

    def _post(self, target: str, body: bytes) -> Answer:
        path = urlsplit(target).path
        if path not in self._posts:
            raise NotFoundError(f"there is nothing to POST to at {path}")
        return Answer(201, self._posts[path](_object(body)))

    def _get(self, target: str) -> Answer:
        parts = urlsplit(target)
        if parts.path == "/health":
            health = self._library.health()
            return Answer(200 if all(health.values()) else 503, health)
        if parts.path == "/books":
            said = {key: values[0] for key, values in parse_qs(parts.query).items()}
            return Answer(200, self._library.find(_text(said, "title")))
        if found := re.fullmatch(r"/books/([0-9]{1,18})", parts.path):
            return Answer(200, self._library.book(int(found.group(1))))
        raise NotFoundError(f"there is nothing at {parts.path}")


def _fault(status: int, sentence: str) -> Answer:
    return Answer(status, {"error": sentence})


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(said, dict):
        raise BadRequestError("the body is not a JSON object")
    return said


def _text(said: dict[str, Any], key: str) -> str:
    value = said.get(key)
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > LONGEST_TEXT
        or not value.isprintable()
    ):
        raise BadRequestError(f"{key} has to be one line of 1 to {LONGEST_TEXT} characters")
    return value


def _number(said: dict[str, Any], key: str) -> int:
    value = said.get(key)
    if type(value) is not int or not 0 < value <= LARGEST_NUMBER:
        raise BadRequestError(f"{key} has to be the id of one")
    return value
