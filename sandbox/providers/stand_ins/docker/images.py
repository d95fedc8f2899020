"""RemoteImage: an image pulled by name, tag or digest."""

from typing import Any

from sandbox.providers.stand_ins.docker.engine import Engine, EngineError
from sandbox.providers.stand_ins.docker.kinds import IMAGE
from sandbox.providers.stand_ins.errors import ProviderError


class Image:
    """Pulls an image that is not there yet and removes it again, unless it is to be kept."""

    kind = IMAGE

    def create(self, engine: Engine, inputs: dict[str, Any]) -> str:
        """Pull if missing; the id is, as in the provider, the image's id followed by its name."""
        return (
            find_or_pull(engine, inputs, "Unable to read Docker image into resource")["Id"] + inputs["name"]
        )

    def complete(self, engine: Engine, resource_id: str, inputs: dict[str, Any]) -> None:
        """Nothing is left to do after a pull."""

    def read(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """The image's id and digest; None if it is gone."""
        image = _local(engine, state["name"])
        if image is None:
            return None
        return {
            "imageId": image["Id"],
            "repoDigest": _repo_digest(state["name"], image.get("RepoDigests") or []),
        }

    def update(self, engine: Engine, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:  # noqa: ARG002
        """Only flags change in place; the provider pulls again if the image is gone."""
        find_or_pull(engine, new, "Unable to read Docker image into resource")

    def delete(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> None:  # noqa: ARG002
        """Remove the image by its name unless keepLocally is set."""
        if state.get("keepLocally") or _local(engine, state["name"]) is None:
            return
        try:
            engine.delete(f"/images/{state['name']}", force="1" if state.get("forceRemove") else "")
        except ProviderError as error:
            raise ProviderError(f"Unable to remove Docker image: {error}") from error


def find_or_pull(engine: Engine, inputs: dict[str, Any], failure: str) -> dict[str, Any]:
    """The local image of that name, pulled if it is missing."""
    name = inputs["name"]
    try:
        if not name:
            raise ProviderError("empty image name is not allowed")
        image = _local(engine, name)
        if image is None:
            try:
                engine.pull(*_split(name), inputs.get("platform", ""))
            except ProviderError as error:
                text = f"unable to pull image {name}: error pulling image {name}: {error}"
                raise ProviderError(text) from error
            image = _local(engine, name)
        if image is None:
            raise ProviderError(f"unable to find or pull image {name}")
    except ProviderError as error:
        raise ProviderError(f"{failure}: {error}") from error
    return image


def _local(engine: Engine, name: str) -> dict[str, Any] | None:
    try:
        return engine.get(f"/images/{name}/json")
    except EngineError as error:
        if error.status == 404:
            return None
        raise ProviderError(f"unable to inspect image {name}: {error}") from error


def _split(name: str) -> tuple[str, str]:
    """Repository, and digest or tag; a digest wins over a tag, as in Docker's client."""
    repository, at, digest = name.partition("@")
    head, colon, tag = repository.rpartition(":")
    if not colon or "/" in tag:
        head, tag = repository, "latest"
    return head, digest if at else tag


def _repo_digest(name: str, digests: list[str]) -> str:
    if len(digests) == 1:
        return digests[0]
    # The provider cuts at the first colon, whatever it separates, and takes the first digest that fits.
    start = name.partition(":")[0]
    return next((digest for digest in digests if digest.startswith(start)), "")
