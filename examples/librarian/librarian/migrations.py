"""The tables, brought up to date at every start."""

import psycopg

# In order; one that has ever run anywhere is not edited any more, a new one follows it.
MIGRATIONS = (
    """
    CREATE TABLE members (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL CHECK (name <> '')
    );
    CREATE TABLE books (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        title text NOT NULL CHECK (title <> ''),
        author text NOT NULL CHECK (author <> '')
    );
    CREATE TABLE loans (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        book bigint NOT NULL REFERENCES books,
        member bigint NOT NULL REFERENCES members,
        lent_at timestamptz NOT NULL DEFAULT now(),
        returned_at timestamptz CHECK (returned_at >= lent_at)
    );
    -- A book is one copy: nobody gets it before it is back.
    CREATE UNIQUE INDEX loans_one_at_a_time ON loans (book) WHERE returned_at IS NULL;
    """,
    """
    CREATE INDEX books_by_parts_of_titles ON books USING gin (title gin_trgm_ops);
    """,
)
# Any number; two starts at once wait for each other by it.
_LOCK = 20_250_101


def migrate(url: str) -> int:
    """Run what has not run yet, all or nothing. Takes the direct URL; returns how many ran."""
    with psycopg.connect(url, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (number int PRIMARY KEY)")
        done = {row[0] for row in connection.execute("SELECT number FROM migrations")}
        new = [pair for pair in enumerate(MIGRATIONS, 1) if pair[0] not in done]
        for number, statements in new:
            connection.execute(statements.encode())
            connection.execute("INSERT INTO migrations VALUES (%s)", (number,))
    return len(new)
