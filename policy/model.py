"""What a rule looks at, and what a rule is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from policy import tree


@dataclass(frozen=True)
class Resource:
    """One resource as it is to be. `sent` is its tree of inputs with marks; `needs` are the URNs behind each input."""

    type: str
    name: str
    urn: str = ""
    sent: Mapping[str, Any] = field(default_factory=dict)
    protected: bool = False
    needs: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs without marks on secrets."""
        return tree.unmarked(self.sent)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What a rule may ask of the stack. `secrets` are values by configuration key, kept out of every representation.

    `catalogue` is the file of images by its name and `images` what is in it: by repository, digests by architecture.
    """

    name: str = ""
    in_oci: bool = False
    srv_root: str = "/srv"
    catalogue: str = "images.json"
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`check` looks at one resource before it is made, and gives a sentence for each fault: what is wrong, what to write."""

    name: str
    title: str
    check: Callable[[Resource, Stack], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class StackRule:
    """`check` looks at all resources together, at the end of a preview or an up."""

    name: str
    title: str
    check: Callable[[Sequence[Resource], Stack], Iterator[tuple[Resource, str]]]
