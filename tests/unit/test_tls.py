"""Certificates: the program renews them in time and has every server take them over. The scripts: tests/engine/test_certificates.py."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from components.hosts import open_host
from components.settings import TlsSettings
from components.tls import Tls, TlsArgs, renewal_period
from tests.unit.conftest import CANARIES, run_program, stack_configuration
from tests.unit.recording_engine import Engine, Recording, configure

TODAY = date(2026, 1, 2)


def made_with(engine: Engine, today: date, **tls: object) -> Recording:
    """The component alone, on a day."""
    configure({**stack_configuration("local"), "tls": tls}, CANARIES)

    def program() -> None:
        from components import config

        settings, _, _ = config.load()
        Tls(
            "platform-tls",
            TlsArgs(settings=settings, host=open_host("host", settings), after=[], today=today),
        )

    return engine.run(program)


def test_the_script_is_told_names_and_validity(engine: Engine) -> None:
    run = made_with(engine, TODAY, days=90, renewBeforeDays=40, names=["db.example", "*.db.example"])
    assert run.error is None
    command = run["platform-tls-certificates"].inputs
    assert command["create"].endswith(" tls.sh /srv 90 40 127.0.0.1 db.example '*.db.example'")
    assert command["triggers"] == [str(TODAY.toordinal() // 10)]


def test_every_server_takes_over_what_the_script_has_printed(local: Recording) -> None:
    printed = {
        name: local[f"platform-{name}"].inputs["triggers"]
        for name in ("postgres-certificate", "pgbouncer-certificate", "redis-reload")
    }
    assert all(len(triggers) == 1 for triggers in printed.values())
    assert len({triggers[0] for triggers in printed.values()}) == 1
    assert printed["redis-reload"][0].startswith(local.exports["caCertificate"])
    assert printed["redis-reload"][0] != local.exports["caCertificate"]


def test_servers_are_asked_where_their_clients_ask() -> None:
    run = run_program(plain={"network": {"publishAddress": "10.1.2.3"}, "pgbouncer": {"port": 7000}})
    asked = {
        name: run[f"platform-{name}-certificate"].inputs["create"].rpartition(" take-certificate.sh ")[2]
        for name in ("postgres", "pgbouncer")
    }
    assert asked == {
        "postgres": "postgres-db 999 /srv/config/postgres/tls/server.crt 10.1.2.3:5432",
        "pgbouncer": "pgbouncer 1001 /srv/config/pgbouncer/tls/server.crt 10.1.2.3:7000",
    }


@given(st.integers(1, 824), st.dates(date(2020, 1, 1), date(2080, 1, 1)))
def test_who_runs_up_once_in_each_period_is_renewed_in_time(renew: int, made: date) -> None:
    settings = TlsSettings(days=825, renew_before_days=renew)
    due = made + timedelta(days=settings.days - renew)
    # The worst case: looked at on the last day on which it was not yet due, and then as late as possible.
    seen = renewal_period(settings, due)
    late = due
    while renewal_period(settings, late + timedelta(days=1)) <= seen + 1:
        late += timedelta(days=1)
    left = (made + timedelta(days=settings.days) - late).days
    assert left >= renew // 2 or renew < 4


def test_a_period_has_an_end() -> None:
    settings = TlsSettings(days=397, renew_before_days=120)
    assert renewal_period(settings, TODAY + timedelta(days=30)) == renewal_period(settings, TODAY) + 1
    every_day = TlsSettings(days=3, renew_before_days=2)
    assert renewal_period(every_day, TODAY + timedelta(days=1)) != renewal_period(every_day, TODAY)
