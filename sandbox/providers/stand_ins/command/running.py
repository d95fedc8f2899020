"""Runs one command as the published plugin does, and can end it early."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.providers.stand_ins.errors import ProviderError


class Output(NamedTuple):
    """What a command wrote, without the last line break."""

    stdout: str
    stderr: str


class Runner:
    """Starts commands and knows those that still run."""

    def __init__(self) -> None:
        self._running: set[asyncio.subprocess.Process] = set()
        self._cancelled = False

    async def run(
        self, command: str, inputs: dict[str, Any], previous: Output, log: Callable[[str], Awaitable[None]]
    ) -> Output:
        """Run to the end; ProviderError with everything it wrote if it fails."""
        words = [*(inputs.get("interpreter") or ["/bin/sh", "-c"]), command]
        if self._cancelled:
            raise ProviderError(f"context canceled: running {_quoted(command)}:\n")
        directory = inputs.get("dir")
        if directory is not None and not Path(directory).is_dir():
            raise ProviderError(
                f"chdir {directory}: no such file or directory: running {_quoted(command)}:\n"
            )
        stdin = (inputs.get("stdin") or "").encode()
        try:
            # The child stays in the plugin's process group, which the engine ends together with the plugin.
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=directory,
                env=_environment(inputs, previous),
            )
        except OSError as error:
            text = f"fork/exec {words[0]}: {(error.strerror or str(error)).lower()}"
            raise ProviderError(f"{text}: running {_quoted(command)}:\n") from error
        self._running.add(process)
        if self._cancelled:
            _end(process)  # cancelled while it was being started
        try:
            output, both = await self._follow(process, stdin, inputs.get("logging", "stdoutAndStderr"), log)
        finally:
            self._running.discard(process)
        if process.returncode:
            raise ProviderError(f"{_ending(process.returncode)}: running {_quoted(command)}:\n{both}")
        return output

    def cancel(self) -> None:
        """End every running command with all its descendants, and start no further one."""
        self._cancelled = True
        for process in self._running:
            _end(process)

    async def _follow(
        self,
        process: asyncio.subprocess.Process,
        stdin: bytes,
        logging: str,
        log: Callable[[str], Awaitable[None]],
    ) -> tuple[Output, str]:
        written: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        both = bytearray()

        async def collect(name: str, stream: asyncio.StreamReader | None) -> None:
            logged = logging in (name, "stdoutAndStderr")
            rest = b""
            while stream and (chunk := await stream.read(65536)):
                written[name] += chunk
                both.extend(chunk)
                if logged:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        await log(line.decode(errors="replace").removesuffix("\r"))
            if logged and rest:
                await log(rest.decode(errors="replace"))

        async def feed() -> None:
            if process.stdin is None:
                return
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(stdin)
                await process.stdin.drain()
            process.stdin.close()

        await asyncio.gather(feed(), collect("stdout", process.stdout), collect("stderr", process.stderr))
        await process.wait()
        texts = {
            name: bytes(data).decode(errors="replace").removesuffix("\n") for name, data in written.items()
        }
        return Output(texts["stdout"], texts["stderr"]), both.decode(errors="replace")


def _environment(inputs: dict[str, Any], previous: Output) -> dict[str, str]:
    environment = {**os.environ, **inputs.get("environment", {})}
    if inputs.get("addPreviousOutputInEnv", True):
        if previous.stdout:
            environment["PULUMI_COMMAND_STDOUT"] = previous.stdout
        if previous.stderr:
            environment["PULUMI_COMMAND_STDERR"] = previous.stderr
    return environment


def _end(process: asyncio.subprocess.Process) -> None:
    for pid in [process.pid, *_descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ending(code: int) -> str:
    """How Go words the end of a process."""
    if code < 0:
        number = signal.Signals(-code)
        names = {signal.SIGKILL: "killed", signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}
        return f"signal: {names.get(number, signal.strsignal(number) or number.name).lower()}"
    return f"exit status {code}"


def _quoted(command: str) -> str:
    return json.dumps(command, ensure_ascii=False)


def _descendants(pid: int) -> list[int]:
    """Children, their children and so on, as /proc knows them."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
    return found
