"""Errors in the words of the OCI service, as the published provider passes them on."""

from sandbox.providers.stand_ins.errors import ProviderError


class ServiceError(ProviderError):
    """The service's answer to a request that it refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status}-{code}, {message}")
        self.status = status


def invalid(message: str) -> ServiceError:
    """A request with a value that the service does not take."""
    return ServiceError(400, "InvalidParameter", message)


def conflict(message: str) -> ServiceError:
    """A request that the state of other resources does not allow."""
    return ServiceError(409, "Conflict", message)


def still_references(what: str, resource_id: str, other: str, other_id: str) -> ServiceError:
    """The refusal to remove something that is in use, or that uses something."""
    return conflict(
        f"The {what} {resource_id} references the {other} {other_id}. "
        "You must remove the reference to proceed with this operation."
    )


def not_found(what: str) -> ServiceError:
    """What the service says for anything that does not exist, or that the caller may not see."""
    return ServiceError(
        404, "NotAuthorizedOrNotFound", f"Authorization failed or requested resource not found: {what}."
    )
