"""What ~/.oci/config proposes: the region and the tenancy of a profile. Its keys are left to the provider, which reads them itself."""

import configparser
from dataclasses import dataclass
from pathlib import Path

from scripts.workstation.trouble import Trouble

DEFAULT_PROFILE = "DEFAULT"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One section."""

    region: str
    tenancy: str


def path() -> Path:
    """Where OCI's own tools look for it."""
    return Path.home() / ".oci" / "config"


def profiles() -> dict[str, Profile]:
    """By name; none where the file is not there."""
    # Its DEFAULT is a profile like the others to us, although the others inherit from it.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path(), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise Trouble(f"{path()} cannot be read ({str(error).splitlines()[0]}); correct it") from None
    names = [*([DEFAULT_PROFILE] if parser.defaults() else []), *parser.sections()]
    return {
        name: Profile(region=parser[name].get("region", ""), tenancy=parser[name].get("tenancy", ""))
        for name in names
    }
