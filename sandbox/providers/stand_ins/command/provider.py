"""The provider: local.Command and the invoke local.run."""

import secrets
from collections.abc import Mapping

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckFailure,
    CheckRequest,
    CheckResponse,
    ConfigureRequest,
    ConfigureResponse,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    InvokeRequest,
    InvokeResponse,
    PropertyDiff,
    PropertyDiffKind,
    Provider,
    UpdateRequest,
    UpdateResponse,
)

from sandbox.providers.stand_ins import inputs as schema
from sandbox.providers.stand_ins.command.running import Output, Runner
from sandbox.providers.stand_ins.errors import ProviderError, not_part
from sandbox.providers.stand_ins.serving import EngineLog
from sandbox.providers.stand_ins.values import UNKNOWN, own_type, plain, plain_map

_COMMAND = "command:local:Command"
_RUN = "command:local:run"
_REFUSED = ("archivePaths", "assetPaths")
_ONLY_RESOURCE = {"create", "update", "delete", "triggers"}
"""Arguments of the resource that the function does not have; the rest they share."""


class CommandProvider(Provider):
    """Stands in for the published plugin `command`."""

    def __init__(self, log: EngineLog) -> None:
        self._log = log
        self._runner = Runner()

    async def configure(self, request: ConfigureRequest) -> ConfigureResponse:  # noqa: ARG002
        """Take secrets as such: outputs have to be secret where an input is."""
        return ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def check(self, request: CheckRequest) -> CheckResponse:
        """Validate inputs; addPreviousOutputInEnv is true unless the program says otherwise."""
        from pulumi_command.local import CommandArgs

        _known(own_type(request.type), _COMMAND)
        given = dict(request.new_inputs)
        problems = list(schema.problems(CommandArgs, plain_map(given), request.name))
        problems += [not_part(f"The input {name!r} is") for name in _REFUSED if name in given]
        given.setdefault("addPreviousOutputInEnv", PropertyValue(True))
        return CheckResponse(given, [CheckFailure("", problem) for problem in problems])

    async def diff(self, request: DiffRequest) -> DiffResponse:
        """Any changed input is an update; changed triggers replace unless there is an update command."""
        from pulumi_command.local import CommandArgs

        old, new = plain_map(request.old_state), plain_map(request.new_inputs)
        detailed: dict[str, PropertyDiff] = {}
        for name in sorted(schema.fields_of(CommandArgs)):
            if old.get(name) == new.get(name):
                continue
            if name not in old:
                kind = PropertyDiffKind.ADD
            else:
                kind = PropertyDiffKind.UPDATE if name in new else PropertyDiffKind.DELETE
            if name == "triggers" and "update" not in new:
                kind = PropertyDiffKind[f"{kind.name}_REPLACE"]
            detailed[name] = PropertyDiff(kind, input_diff=True)
        replaces = [name for name, change in detailed.items() if change.kind.name.endswith("_REPLACE")]
        return DiffResponse(
            changes=bool(detailed), replaces=replaces, diffs=list(detailed), detailed_diff=detailed
        )

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Run `create`."""
        if request.preview:
            return CreateResponse(properties={**request.properties, **_outputs(None, request.properties)})
        properties = await self._run(request.urn, "create", request.properties, Output("", ""))
        return CreateResponse(request.name + secrets.token_hex(4), properties)

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        """Run `update`, or `create` where there is none."""
        if request.preview:
            return UpdateResponse({**request.news, **_outputs(None, request.news)})
        which = "update" if "update" in request.news else "create"
        return UpdateResponse(await self._run(request.urn, which, request.news, _previous(request.olds)))

    async def delete(self, request: DeleteRequest) -> None:
        """Run `delete`, with the last output in its environment."""
        await self._run(request.urn, "delete", request.properties, _previous(request.properties))

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Run a command now, in a preview too."""
        from pulumi_command.local import CommandArgs

        _known(request.tok, _RUN)
        given = plain_map(request.args)
        settings = {name: value for name, value in given.items() if name != "command"}
        problems = list(schema.problems(CommandArgs, settings, _RUN))
        problems += [
            f"Invalid or unknown key. Examine values at '{_RUN}.{name}'."
            for name in _ONLY_RESOURCE & settings.keys()
        ]
        problems += [not_part(f"The input {name!r} is") for name in _REFUSED if name in settings]
        if type(given.get("command")) is not str:
            problems.append(f"Missing required argument. Examine values at '{_RUN}.command'.")
        if problems:
            return InvokeResponse(failures=[CheckFailure("", problem) for problem in problems])

        async def log(line: str) -> None:
            await self._log.status("", line)

        output = await self._runner.run(given["command"], given, Output("", ""), log)
        return InvokeResponse({**request.args, **_outputs(output, request.args)})

    async def cancel(self) -> None:
        """The operator interrupted the deployment: end what runs."""
        self._runner.cancel()

    async def _run(
        self, urn: str, which: str, properties: Mapping[str, PropertyValue], previous: Output
    ) -> dict[str, PropertyValue]:
        inputs = plain_map(properties)
        output = previous
        if which in inputs:

            async def log(line: str) -> None:
                await self._log.status(urn, line)

            output = await self._runner.run(inputs[which], inputs, previous, log)
        return {**properties, **_outputs(output, properties)}


def _known(token: str, expected: str) -> None:
    if token != expected:
        raise ProviderError(not_part(f"{token}:"))


def _previous(state: Mapping[str, PropertyValue]) -> Output:
    values = (plain(state[name]) if name in state else "" for name in ("stdout", "stderr"))
    return Output(*(value or "" for value in values))


def _outputs(output: Output | None, inputs: Mapping[str, PropertyValue]) -> dict[str, PropertyValue]:
    """Every output depends on every input, so one secret input makes them all secret."""
    secret = any(
        value.contains_secret() for name, value in inputs.items() if name not in ("stdout", "stderr")
    )
    texts = (UNKNOWN, UNKNOWN) if output is None else output
    return {
        name: PropertyValue(text, is_secret=secret)
        for name, text in zip(("stdout", "stderr"), texts, strict=True)
    }
