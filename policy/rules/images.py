"""Which images run: those of the catalogue, by digest, built for the host."""

import re
from collections.abc import Iterator

from policy.model import Resource, Rule, Stack
from policy.rules.containers import CONTAINER

IMAGE = "docker:index/remoteImage:RemoteImage"
# A container's image is RemoteImage.repo_digest; a RemoteImage's is its name.
NAMED_BY = {IMAGE: "name", CONTAINER: "image"}
PINNED = re.compile(r"(?P<repository>[a-z0-9.:/_-]+)@(?P<digest>sha256:[0-9a-f]{64})")
IN_OCI = "arm64"
# A registry of the host's own, as where none can be reached. A machine in OCI that is none has no such thing.
LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost)(:\d+)?/")


def pinned(resource: Resource, stack: Stack) -> Iterator[str]:
    """A digest names one content; a tag names what somebody pushes tomorrow."""
    reference = resource.inputs.get(NAMED_BY.get(resource.type, ""))
    if not isinstance(reference, str):
        return
    found = PINNED.fullmatch(reference)
    if found is None:
        yield f"{resource.name} takes the image {reference} by its tag; write repository@sha256:… as {stack.catalogue} has it"
        return
    repository, digest = found["repository"], found["digest"]
    by_architecture = stack.images.get(repository, {})
    allowed = _allowed(repository, stack)
    if digest in allowed.values():
        return
    wrong = [name for name, known in by_architecture.items() if known == digest]
    if wrong:
        yield (
            f"{resource.name} takes {repository} as it is built for {wrong[0]}, and machines in OCI are {IN_OCI}; "
            f"write the digest that {stack.catalogue} has under manifests.{IN_OCI}"
        )
    else:
        yield (
            f"{resource.name} takes {reference}, which is not in {stack.catalogue}; write one of its digests, or pin the new one "
            "there by make pin-images"
        )


def _allowed(repository: str, stack: Stack) -> dict[str, str]:
    by_architecture = dict(stack.images.get(repository, {}))
    if not stack.in_oci or LOOPBACK.match(repository):
        return by_architecture
    return {name: digest for name, digest in by_architecture.items() if name == IN_OCI}


def catalogue(resource: Resource, stack: Stack) -> Iterator[str]:
    """Said of the stack itself, since a first preview does not know yet which image a container will have."""
    if resource.type != "pulumi:pulumi:Stack":
        return
    for repository in stack.images:
        if not _allowed(repository, stack):
            yield (
                f"{stack.catalogue} has no digest of {repository} for {IN_OCI}, and machines in OCI are {IN_OCI}; "
                f"add manifests.{IN_OCI}, or choose an image that is built for it"
            )


RULES = [
    Rule(name="image-pinned", title="Images are of the catalogue, by digest, for the host.", check=pinned),
    Rule(name="catalogue-complete", title="Every image is built for the host.", check=catalogue),
]
