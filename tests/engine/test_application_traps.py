"""What an application lays out for the superuser who looks after its database, and what must not open when an `up` stops half-way."""

import time
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy

import psycopg
import pytest
from pulumi import automation

from components.application_settings import Application, ApplicationSettings, applications_of
from components.settings import Settings, parse
from tests.engine.applications import NOT_LET_IN, Account, place
from tests.engine.platform import CHECKOUT, Platform, canary

WAIVED = "trading-app"


def _application(platform: Platform, name: str) -> Application:
    plain = {key: platform.config[key] for key in ("host", "applications")}
    return next(a for a in parse(Settings, plain, where="").application_list if a.name == name)


def _run_application(platform: Platform, action: str, application: Application) -> str:
    """application.sh as the program runs it."""
    words = [
        *(application.name, application.database, application.login, application.owner),
        *(application.read_only, application.read_write, str(application.connections)),
        "yes" if application.settings.password_waiver else "no",
        *application.settings.extensions,
    ]
    return platform.run(["sh", str(CHECKOUT / "scripts/host/application.sh"), action, *words]).stdout


TRAPS = {
    "function in public": """
        CREATE FUNCTION public.format(text, name, text) RETURNS text LANGUAGE plpgsql AS
          $$ BEGIN PERFORM public.spring(); RETURN pg_catalog.format($1, $2, $3); END $$;
        CREATE FUNCTION public.format(text, text, text, text) RETURNS text LANGUAGE plpgsql AS
          $$ BEGIN PERFORM public.spring(); RETURN pg_catalog.format($1, $2, $3, $4); END $$;
        ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM librarian_readonly;
        REVOKE USAGE ON SCHEMA public FROM librarian_readonly;""",
    "search_path of the database": """
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.equal(name, text) RETURNS boolean LANGUAGE plpgsql AS
          $$ BEGIN PERFORM public.spring(); RETURN pg_catalog.nameeqtext($1, $2); END $$;
        CREATE FUNCTION evil.equal(name, name) RETURNS boolean LANGUAGE plpgsql AS
          $$ BEGIN PERFORM public.spring(); RETURN pg_catalog.nameeq($1, $2); END $$;
        CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.equal);
        CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.equal);
        CREATE VIEW evil.pg_namespace AS SELECT public.spring() AS nspname;
        ALTER DATABASE librarian SET search_path = evil, pg_catalog;
        ALTER DATABASE librarian SET role = librarian_user;""",
}
SPRING = """
    CREATE TABLE IF NOT EXISTS public.sprung (by_whom name);
    CREATE OR REPLACE FUNCTION public.spring() RETURNS name LANGUAGE plpgsql SECURITY INVOKER AS $$
      BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN
          INSERT INTO public.sprung VALUES (current_user);
          ALTER ROLE librarian_user SUPERUSER;
        END IF;
        RETURN current_user;
      END $$;"""


@pytest.mark.parametrize("trap", TRAPS)
def test_an_application_does_not_say_what_a_name_means_to_the_superuser(
    platform: Platform, trap: str
) -> None:
    account, application = Account(platform, "librarian"), _application(platform, "librarian")
    with account.connect(pooled=False) as client:
        client.execute(SPRING.encode())
        client.execute(TRAPS[trap].encode())
    try:
        assert _run_application(platform, "check", application)
        _run_application(platform, "apply", application)
        assert _run_application(platform, "check", application) == ""
        drop = platform.run([str(platform.srv / "apps/drop-application.sh"), "nobody", "--yes"])
        assert "keys in Redis are deleted" in drop.stdout
        assert platform.psql("SELECT rolsuper FROM pg_roles WHERE rolname = 'librarian_user'") == "f"
        with account.connect(pooled=False) as client:
            assert client.execute("SELECT count(*) FROM public.sprung").fetchone() == (0,)
    finally:
        platform.psql("ALTER DATABASE librarian RESET ALL")
        with account.connect(pooled=False) as client:
            client.execute("DROP SCHEMA IF EXISTS evil CASCADE")
            client.execute("DROP TABLE public.sprung")
            client.execute(
                "DROP FUNCTION IF EXISTS public.format(text, name, text), public.format(text, text, text, text)"
            )
            client.execute("DROP FUNCTION public.spring()")


# What says whether a row may be in a table, or in an index, is a function of the owner's, whoever reads or fills them.
CHECKED = """
    CREATE FUNCTION public.trap(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
      $$ BEGIN PERFORM public.spring(); RETURN true; END $$;
    CREATE TABLE public.trapped (n int CHECK (public.trap(n)), wrong boolean GENERATED ALWAYS AS (public.trap(n)) STORED);
    INSERT INTO public.trapped SELECT generate_series(1, 100);
    CREATE INDEX ON public.trapped (n) WHERE public.trap(1);
    CREATE INDEX ON public.trapped ((public.trap(n)));
    CREATE MATERIALIZED VIEW public.seen AS SELECT n, public.trap(n) FROM public.trapped;"""


def test_a_backup_and_a_restore_run_nothing_of_an_application_as_the_superuser(platform: Platform) -> None:
    account, apps = Account(platform, "librarian"), platform.srv / "apps"
    with account.connect(pooled=False) as client:
        client.execute(SPRING.encode())
        client.execute(CHECKED.encode())
    try:
        platform.run([str(apps / "backup.sh"), "--dumps"])
        platform.run([str(apps / "restore.sh"), "librarian", "latest", "--into", "trapped"])
        # A query of ours would spring it.
        rows = platform.psql("COPY public.trapped (n) TO STDOUT", database="trapped")
        assert rows.splitlines() == [str(n) for n in range(1, 101)]
        for database in ("librarian", "trapped"):
            assert platform.psql("SELECT count(*) FROM public.sprung", database=database) == "0"
        assert platform.psql("SELECT rolsuper FROM pg_roles WHERE rolname = 'librarian_user'") == "f"
    finally:
        platform.psql("ALTER ROLE librarian_user NOSUPERUSER")
        platform.psql("DROP DATABASE IF EXISTS trapped")
        with account.connect(pooled=False) as client:
            client.execute("DROP MATERIALIZED VIEW public.seen")
            client.execute("DROP TABLE public.trapped, public.sprung")
            client.execute("DROP FUNCTION public.trap(int), public.spring()")


def test_a_login_that_the_settings_no_longer_name_is_closed(platform: Platform) -> None:
    """`user` of an entry was changed: the old login keeps nothing."""
    close = ["sh", str(CHECKOUT / "scripts/host/close-applications.sh")]
    logins = [f"{a.name}/{a.login}" for a in _applications(platform) if a.name != "reporting"]
    words = [str(platform.srv), *logins, "reporting/another_login"]
    account = Account(platform, "reporting")
    with account.connect(pooled=False) as client:
        found = platform.run([*close, "check", *words]).stdout
        assert "role reporting_user may log in" in found
        assert "role reporting_user is connected" in found
        platform.run([*close, "apply", *words])
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    assert platform.run([*close, "check", *words]).stdout == ""
    with pytest.raises(
        psycopg.OperationalError, match=r"not permitted to log in|password authentication failed"
    ):
        account.connect(pooled=False)
    # What the settings say comes back.
    assert platform.up(refresh=True).operations()
    account.connect().close()


def _applications(platform: Platform) -> list[Application]:
    said = platform.config["applications"]
    return applications_of(
        {name: ApplicationSettings.model_validate(value, by_alias=True) for name, value in said.items()}
    )


@pytest.fixture
def unwaived(platform: Platform) -> Iterator[Account]:
    """trading-app without its waiver and with a strong password, until the end of the test."""
    secrets, applications = platform.application_secrets, deepcopy(platform.config["applications"])
    del applications[WAIVED]["passwordWaiver"]
    platform.application_secrets = {**secrets, WAIVED: {"database": canary()}}
    try:
        with platform.changed(applications=applications):
            yield Account(platform, WAIVED)
    finally:
        platform.application_secrets = secrets
        platform.write_config()
        platform.up()


def test_a_weak_password_stays_hemmed_in_until_it_is_replaced(platform: Platform, unwaived: Account) -> None:
    """An `up` that takes the waiver away and fails before it has set the new password opens nothing."""
    file = unwaived.folder / "server.env"
    text = file.read_text()
    file.write_text(text.replace("# END central-data-platform\n", ""))
    # The pooler keeps its server connection when this client has gone.
    with place(platform, unwaived.settings["address"]) as own:
        Account(platform, WAIVED, own).connect().close()
    try:
        with pytest.raises(automation.CommandError, match="nobody knows which lines are yours"):
            platform.up()
    finally:
        file.write_text(text)
    for pooled in (True, False):
        # The pooler greets whoever knows the password: what counts is whether a query is answered.
        with (
            pytest.raises(
                psycopg.OperationalError, match=f"{NOT_LET_IN}|platform_hemmed|server login"
            ) as refused,
            platform.connect(
                user="trading_app_user", password="6432", database="trading", pooled=pooled
            ) as client,
        ):
            client.execute("SELECT 1")
        assert "6432:" not in str(refused.value)
    platform.up()
    # PgBouncer tells the first who comes after a refused login of its own about that one, and then tries again.
    with suppress(psycopg.OperationalError), unwaived.connect() as client:
        client.execute("SELECT 1")
    time.sleep(0.5)
    for pooled in (True, False):
        with unwaived.connect(pooled=pooled) as client:
            client.execute("SELECT 1")


def test_a_database_that_was_there_before_is_taken_over_with_its_data(platform: Platform) -> None:
    """As an older platform left it: objects of the superuser, rights of the login, a membership that somebody else gave."""
    application = Application(name="legacy", settings=ApplicationSettings(extensions=["citext"]))
    platform.psql("CREATE ROLE legacy_user LOGIN; CREATE ROLE giver CREATEROLE; CREATE ROLE given;")
    platform.psql("GRANT given TO giver WITH ADMIN OPTION; SET ROLE giver; GRANT given TO legacy_user;")
    platform.psql("CREATE DATABASE legacy")
    platform.psql(
        """CREATE SCHEMA old; CREATE TYPE old.colour AS ENUM ('red');
        CREATE TABLE old.kept (number int GENERATED ALWAYS AS IDENTITY, colour old.colour); INSERT INTO old.kept (colour) VALUES ('red');
        CREATE VIEW old.seen AS SELECT * FROM old.kept; CREATE SEQUENCE old.counter;
        CREATE FUNCTION old.twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
        GRANT USAGE ON SCHEMA old TO legacy_user; GRANT SELECT, INSERT ON old.kept TO legacy_user;""",
        database="legacy",
    )
    try:
        _run_application(platform, "apply", application)
        assert _run_application(platform, "check", application) == ""
        as_login = "SET SESSION AUTHORIZATION legacy_user; SET ROLE legacy_owner;"
        assert (
            platform.psql(
                f"{as_login} INSERT INTO old.kept (colour) VALUES ('red'); SELECT count(*) FROM old.seen",
                database="legacy",
            )
            == "2"
        )
        assert (
            platform.psql(
                f"{as_login} ALTER TABLE old.kept ADD note public.citext; SELECT old.twice(nextval('old.counter')::int)",
                database="legacy",
            )
            == "2"
        )
        assert (
            platform.psql("SET ROLE legacy_readonly; SELECT count(*) FROM old.kept", database="legacy") == "2"
        )
        # A right that its owner takes away later stays away.
        platform.psql(f"{as_login} REVOKE SELECT ON old.kept FROM legacy_readonly", database="legacy")
        _run_application(platform, "apply", application)
        assert (
            platform.psql(
                "SELECT has_table_privilege('legacy_readonly', 'old.kept', 'SELECT')", database="legacy"
            )
            == "f"
        )
    finally:
        platform.psql("DROP DATABASE IF EXISTS legacy WITH (FORCE)")
        for role in (*application.roles, "giver", "given"):
            platform.psql(f"DROP ROLE IF EXISTS {role}")
