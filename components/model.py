"""What all settings have in common."""

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

# The stack's file has text where these stand.
Address = Annotated[IPv4Address, Field(strict=False)]
Subnet = Annotated[IPv4Network, Field(strict=False)]


class Model(BaseModel):
    """A misspelt key is an error, a wrong type is not converted silently, and nothing changes after start-up."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )
