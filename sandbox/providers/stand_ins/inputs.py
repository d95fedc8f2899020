"""Checks a resource's inputs against the argument classes of the installed SDK package.

The published plugins refuse a name or a type that their schema does not have. The SDK's argument
classes are generated from that schema, so they say the same without a list of our own.
"""

import enum
import functools
import inspect
import types
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union, get_args, get_origin

from pulumi import Output
from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type

from sandbox.providers.stand_ins.values import UNKNOWN

_NAMES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


class Field(NamedTuple):
    """One input of a resource or of a nested object."""

    type: Any
    required: bool


@functools.cache
def fields_of(arguments: type) -> dict[str, Field]:
    """The inputs that an SDK argument class knows, by the name they have in the schema."""
    types_by_name = input_type_types(arguments)
    parameters = inspect.signature(arguments).parameters
    return {
        name: Field(types_by_name[name], parameters[python_name].default is inspect.Parameter.empty)
        for python_name, name in input_type_py_to_pulumi_names(arguments).items()
    }


def problems(arguments: type, inputs: Mapping[str, Any], at: str) -> Iterator[str]:
    """One sentence for each input that the schema does not have, or has differently. Shows no values."""
    fields = fields_of(arguments)
    for name in inputs.keys() - fields.keys():
        yield f"Invalid or unknown key. Examine values at '{at}.{name}'."
    for name, field in fields.items():
        if name in inputs:
            yield from _problems_of_value(field.type, inputs[name], f"{at}.{name}")
        elif field.required:
            yield (
                f'Missing required argument. The argument "{name}" is required, but no definition was found.. '
                f"Examine values at '{at}.{name}'."
            )


def _problems_of_value(declared: Any, value: Any, at: str) -> Iterator[str]:
    if value is None or value == UNKNOWN:
        return
    wanted = _unwrapped(declared)
    if wanted is Any:
        return
    if is_input_type(wanted):
        if isinstance(value, Mapping):
            yield from problems(wanted, value, at)
        else:
            yield _wrong_type(at, dict, value)
    elif get_origin(wanted) is Sequence:
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _problems_of_value(get_args(wanted)[0], item, f"{at}[{index}]")
        else:
            yield _wrong_type(at, list, value)
    elif get_origin(wanted) is Mapping:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from _problems_of_value(get_args(wanted)[1], item, f'{at}["{key}"]')
        else:
            yield _wrong_type(at, dict, value)
    elif issubclass(wanted, enum.Enum):
        if value not in [member.value for member in wanted]:
            allowed = ", ".join(str(member.value) for member in wanted)
            yield f"Unexpected value: must be one of {allowed}. Examine values at '{at}'."
    elif type(value) is not wanted and not (wanted is float and type(value) is int):
        yield _wrong_type(at, wanted, value)


def _unwrapped(declared: Any) -> Any:
    """The plain type T inside Input[T], which is a union of T, Awaitable[T] and Output[T]."""
    if get_origin(declared) not in (Union, types.UnionType):
        return declared
    for option in get_args(declared):
        if option is not types.NoneType and get_origin(option) not in (Awaitable, Output):
            return _unwrapped(option)
    return Any


def _wrong_type(at: str, wanted: type, value: Any) -> str:
    found = _NAMES.get(type(value), type(value).__name__)
    return f"Unexpected type: expected {_NAMES[wanted]} type, got {found} type. Examine values at '{at}'."
