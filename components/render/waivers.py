"""Text of waivers.tsv, from which status.sh knows whose weak password is put up with, and until when."""

from collections.abc import Sequence

from components.application_settings import Application


def waivers_tsv(applications: Sequence[Application]) -> str:
    """A line for each waiver: the application, its last day, the reason; tabs between them."""
    lines = [
        f"{a.name}\t{a.settings.password_waiver.until}\t{a.settings.password_waiver.reason}\n"
        for a in applications
        if a.settings.password_waiver
    ]
    return "# Made by Pulumi: waivers from the rule for passwords.\n" + "".join(lines)
