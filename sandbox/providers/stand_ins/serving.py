"""Serves a stand-in to the engine.

The SDK's own `server.main` puts a Python traceback into every error text and cannot report a resource
that exists but is incomplete. Both matter to what an operator reads, so its servicer is wrapped here.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import Provider
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from sandbox.providers.stand_ins.errors import InitializationFailedError, ProviderError
from sandbox.providers.stand_ins.values import property_map

_ENGINE_CHECK_SECONDS = 2
_ORPHAN_GRACE_SECONDS = 300


class EngineLog:
    """Writes lines to the engine's display, beside the resource they belong to."""

    def __init__(self, address: str) -> None:
        self._stub: Any = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(address))

    async def status(self, urn: str, message: str) -> None:
        """Show a line in the resource's status column; it is not repeated in the summary."""
        await self._stub.Log(
            engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=urn, ephemeral=True)
        )


class _Servicer(ProviderServicer):
    async def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        # A change of provider configuration never replaces resources; the engine compares by itself.
        return provider_pb2.DiffResponse()


def _with_plain_errors(name: str) -> Callable[..., Awaitable[Any]]:
    wrapped = getattr(ProviderServicer, name)

    async def handle(self: ProviderServicer, request: Any, context: Any) -> Any:
        try:
            return await wrapped(self, request, context)
        except NotImplementedError as error:
            return await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
        except Exception as error:
            # The SDK re-raises with the traceback in the text; the first error is its context.
            cause = error.__context__ or error
            if isinstance(cause, InitializationFailedError):
                return await context.abort_with_status(_initialization_failed(cause))
            if not isinstance(cause, ProviderError):
                traceback.print_exception(cause, file=sys.stderr)
            return await context.abort(grpc.StatusCode.UNKNOWN, str(cause))

    return handle


for _name in ("CheckConfig", "Configure", "Check", "Diff", "Create", "Read", "Update", "Delete", "Invoke"):
    setattr(_Servicer, _name, _with_plain_errors(_name))


class _Status(grpc.Status):
    def __init__(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = trailing_metadata


def _initialization_failed(error: InitializationFailedError) -> _Status:
    properties = PropertyValue.marshal_map(property_map(error.properties))
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.resource_id, properties=properties, reasons=[str(error)]
    )
    status: Any = status_pb2.Status()
    status.code = grpc.StatusCode.UNKNOWN.value[0]
    status.message = str(error)
    status.details.add().Pack(detail)
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    return _Status(grpc.StatusCode.UNKNOWN, str(error), metadata)


def version_of(package: str) -> str:
    """The plugin version that an installed SDK package asks for; read without importing the package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(
            f"The Python package {package} is not installed for {sys.executable}; install it first."
        )
    return json.loads((Path(spec.origin).parent / "pulumi-plugin.json").read_text())["version"]


def serve(version: str, make_provider: Callable[[EngineLog], Provider]) -> None:
    """Run a plugin process: print the port, answer until the engine ends it."""
    arguments = argparse.ArgumentParser(description="Pulumi resource plugin (stand-in)")
    arguments.add_argument("engine", help="address of the Pulumi engine")
    address: str = arguments.parse_known_args()[0].engine

    async def run() -> None:
        server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
        servicer = _Servicer([], version, make_provider(EngineLog(address)), engine_address=address)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        # The engine's goodbye. As a KeyboardInterrupt it would end the loop under a server that still uses it.
        dismissed = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, dismissed.set)
        # An engine that was killed says none: let running operations end, then go.
        engine_process = os.getppid()
        while os.getppid() == engine_process and not dismissed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(dismissed.wait(), _ENGINE_CHECK_SECONDS)
        await server.stop(None if dismissed.is_set() else _ORPHAN_GRACE_SECONDS)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
