"""What a library does: members, books, loans."""

import logging
from typing import Any

import psycopg
import redis
from psycopg import errors
from psycopg.rows import dict_row

from .cache import Cache
from .database import Connection, Database
from .server_env import ServerEnvError

MOST_FOUND = 50
Row = dict[str, Any]


class NotFoundError(Exception):
    """Something that was asked for does not exist."""


class NotPossibleError(Exception):
    """The state of a book or a loan does not allow it."""


class Library:
    """All of it is in the database; the cache only makes it faster."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    def add_member(self, name: str) -> Row:
        """A new member."""
        return self._rows("INSERT INTO members (name) VALUES (%s) RETURNING id, name", name)[0]

    def add_book(self, title: str, author: str) -> Row:
        """A new book, which is one copy."""
        sql = "INSERT INTO books (title, author) VALUES (%s, %s) RETURNING id, title, author"
        return self._rows(sql, title, author)[0]

    def book(self, number: int) -> Row:
        """A book, whether it is in, and how often it was asked for."""
        book = self._cache.book(number)
        if book is None:
            found = self._rows("SELECT id, title, author FROM books WHERE id = %s", number)
            if not found:
                raise NotFoundError(f"there is no book {number}")
            book = found[0]
            self._cache.keep(book)
        lent = self._rows("SELECT FROM loans WHERE book = %s AND returned_at IS NULL", number)
        return {**book, "available": not lent, "views": self._cache.count_view(number)}

    def find(self, part: str) -> list[Row]:
        """Books whose title holds the part, in whatever case."""
        literally = part.translate({ord(sign): f"\\{sign}" for sign in "\\%_"})
        sql = "SELECT id, title, author FROM books WHERE title ILIKE %s ORDER BY title, id LIMIT %s"
        return self._rows(sql, f"%{literally}%", MOST_FOUND)

    def lend(self, book: int, member: int) -> Row:
        """A book goes to a member, unless somebody has it: the database knows, whoever else lends it at this moment."""
        sql = "INSERT INTO loans (book, member) VALUES (%s, %s) RETURNING id, book, member, lent_at, returned_at"
        try:
            return self._rows(sql, book, member)[0]
        except errors.UniqueViolation:
            raise NotPossibleError(f"book {book} is lent already") from None
        except errors.ForeignKeyViolation as refused:
            missing = "book" if refused.diag.constraint_name == "loans_book_fkey" else "member"
            raise NotFoundError(f"there is no {missing} {book if missing == 'book' else member}") from None

    def take_back(self, loan: int) -> Row:
        """A book comes back."""

        def work(connection: Connection) -> Row:
            sql = (
                "UPDATE loans SET returned_at = now() WHERE id = %s AND returned_at IS NULL "
                "RETURNING id, book, member, lent_at, returned_at"
            )
            if returned := _rows(connection, sql, loan):
                return returned[0]
            if _rows(connection, "SELECT FROM loans WHERE id = %s", loan):
                raise NotPossibleError(f"the book of loan {loan} is back already")
            raise NotFoundError(f"there is no loan {loan}")

        return self._database.transaction(work)

    def health(self) -> dict[str, bool]:
        """Which of the stores answer."""
        return {"database": self._database_answers(), "redis": self._redis_answers()}

    def _database_answers(self) -> bool:
        try:
            self._rows("SELECT 1")
        except (psycopg.Error, ServerEnvError) as error:
            logging.warning("PostgreSQL: %s", error)
            return False
        return True

    def _redis_answers(self) -> bool:
        try:
            self._cache.ping()
        except (redis.RedisError, ServerEnvError) as error:
            logging.warning("Redis: %s", error)
            return False
        return True

    def _rows(self, sql: str, *values: object) -> list[Row]:
        return self._database.transaction(lambda connection: _rows(connection, sql, *values))


def _rows(connection: Connection, sql: str, *values: object) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.encode(), values).fetchall()
