"""Property values of the engine's protocol <-> plain Python values."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

UNKNOWN: str = rpc.UNKNOWN
"""Stands, in a preview, for a value that only the deployment will know."""

DEFAULTS_KEY = "__defaults"
"""Bridged plugins list here which inputs they filled in; the engine does not show it."""


def own_type(type_token: str) -> str:
    """A resource's own type: the SDK hands on the URN's, which has the parents' types before a `$`."""
    return type_token.rpartition("$")[2]


def plain(value: PropertyValue) -> Any:
    """The value without secret marks, nulls and lists of defaults; whole numbers become int."""
    inner = value.value
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, Mapping):
        return plain_map(inner)
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [plain(item) for item in inner]
    return inner


def plain_map(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """`plain` for all properties of a resource."""
    return {
        key: plain(item) for key, item in values.items() if key != DEFAULTS_KEY and item.value is not None
    }


def property_value(value: Any) -> PropertyValue:
    """The reverse of `plain`."""
    if isinstance(value, bool) or value is None:
        return PropertyValue(value)
    if isinstance(value, int):
        return PropertyValue(float(value))
    if isinstance(value, Mapping):
        return PropertyValue(property_map(value))
    if isinstance(value, list | tuple):
        return PropertyValue([property_value(item) for item in value])
    return PropertyValue(value)


def property_map(values: Mapping[str, Any]) -> dict[str, PropertyValue]:
    """The reverse of `plain_map`."""
    return {key: property_value(item) for key, item in values.items() if item is not None}
