#!/usr/bin/env python3
"""pulumi-language-python for a CLI built from Go modules, of which no current language host is served.

    pulumi-language-python [FLAGS] ENGINE_ADDRESS

Copied under that name beside the CLI and the SDK's pulumi-language-python-exec. The engine starts it as it starts the
published one, and asks it to run programs, policy packs and plugins. It ends with the engine.
"""

import importlib.metadata
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from types import ModuleType
from typing import IO, Any

HERE = Path(__file__).resolve().parent
# Where `make setup` puts the SDK, seen from a project's folder.
ENVIRONMENT = Path(".venv/bin/python").absolute()


def _stubs_alone() -> None:
    """Let the SDK's stubs be imported without the SDK itself, which takes three times as long as all the rest."""
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        if ENVIRONMENT.exists() and Path(sys.executable) != ENVIRONMENT:
            os.execv(ENVIRONMENT, [str(ENVIRONMENT), *sys.argv])  # noqa: S606
        sys.exit(f"{sys.executable} has no package pulumi; run make setup")
    folder = Path(spec.origin).parent
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package


_stubs_alone()

import grpc  # noqa: E402
from pulumi.runtime.proto import language_pb2 as messages  # noqa: E402
from pulumi.runtime.proto import language_pb2_grpc as service  # noqa: E402
from pulumi.runtime.proto import plugin_pb2  # noqa: E402

# The program ends with it when it has said itself what is wrong.
HAS_SAID_WHY = 32
LARGEST_MESSAGE = 400 * 1024 * 1024
# Calls at one time: a program, its policy packs, and questions.
WORKERS = 16


class LanguageHost(service.LanguageRuntimeServicer):
    """Python programs in the virtual environment that their project names, else with the python3 on PATH."""

    def __init__(self, executor: Path, engine: str) -> None:
        self._executor = executor
        self._engine = engine

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        del request, context
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def GetRequiredPackages(
        self, request: messages.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> messages.GetRequiredPackagesResponse:
        found = [
            json.loads(path.read_text(encoding="utf-8"))
            for folder in _site_packages(_environment(request.info, context))
            for path in sorted(folder.glob("*/pulumi-plugin.json"))
        ]
        return messages.GetRequiredPackagesResponse(
            packages=[
                plugin_pb2.PackageDependency(
                    name=plugin["name"],
                    kind="resource",
                    version=f"v{plugin['version'].removeprefix('v')}",
                    server=plugin.get("server", ""),
                )
                for plugin in found
                if plugin.get("resource")
            ]
        )

    def Run(self, request: messages.RunRequest, context: grpc.ServicerContext) -> messages.RunResponse:
        python, environment = _python(request.info, context)
        options = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "root_directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "dry_run": str(request.dryRun).lower(),
            "parallel": str(request.parallel),
            "organization": request.organization,
        }
        words = [word for name, value in options.items() if value for word in (f"--{name}", value)]
        # What the program prints goes where ours goes: the engine reads it there.
        ended = subprocess.run(
            [python, "-u", str(self._executor), *words, request.info.entry_point or ".", *request.args],
            env={
                **environment,
                "PULUMI_CONFIG": json.dumps(dict(request.config)),
                "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
            },
            stdin=subprocess.DEVNULL,
            check=False,
        ).returncode
        if ended in (0, HAS_SAID_WHY):
            return messages.RunResponse(bail=ended == HAS_SAID_WHY)
        return messages.RunResponse(error=f"program exited with non-zero exit code: {ended}")

    def RunPlugin(
        self, request: messages.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[messages.RunPluginResponse]:
        python, environment = _python(request.info, context)
        environment = {**environment, **dict(line.split("=", 1) for line in request.env), **_path(python)}
        folder = request.info.program_directory
        words = ["-m", "pulumi.policy", *request.args, folder]
        process = subprocess.Popen(
            [python, "-u", *(words if request.kind == "analyzer" else [folder, *request.args])],
            cwd=request.pwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        # The engine ends a plugin by ending the call.
        context.add_callback(process.kill)
        yield from _output(process)
        yield messages.RunPluginResponse(exitcode=process.wait())

    def About(self, request: messages.AboutRequest, context: grpc.ServicerContext) -> messages.AboutResponse:
        python, environment = _python(request.info, context)
        said = subprocess.run(
            [python, "-c", "import sys; print(sys.executable, *sys.version_info[:3])"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.rsplit(maxsplit=3)
        return messages.AboutResponse(executable=said[0], version=".".join(said[1:]))

    def GetProgramDependencies(
        self, request: messages.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> messages.GetProgramDependenciesResponse:
        folders = [str(folder) for folder in _site_packages(_environment(request.info, context))]
        return messages.GetProgramDependenciesResponse(
            dependencies=[
                messages.DependencyInfo(name=package.name, version=package.version)
                for package in importlib.metadata.distributions(path=folders)
            ]
        )


def _environment(info: messages.ProgramInfo, context: grpc.ServicerContext) -> Path | None:
    """The folder that `runtime.options.virtualenv` names, if it does. Ends the call where that is none."""
    said = dict(info.options).get("virtualenv")
    if not said:
        return None
    folder = Path(info.root_directory, str(said))
    if not (folder / "bin" / "python").exists():
        context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"runtime.options.virtualenv is {said}, and {folder} is no virtual environment; run make setup",
        )
    return folder


def _python(info: messages.ProgramInfo, context: grpc.ServicerContext) -> tuple[str, dict[str, str]]:
    """The interpreter, and the environment for it."""
    folder = _environment(info, context)
    if folder is None:
        return "python3", dict(os.environ)
    python = str(folder / "bin" / "python")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    return python, {**kept, **_path(python)}


def _path(python: str) -> dict[str, str]:
    if "/" not in python:
        return {}
    bin_folder = Path(python).parent
    path = os.environ.get("PATH", os.defpath)
    return {"VIRTUAL_ENV": str(bin_folder.parent), "PATH": f"{bin_folder}{os.pathsep}{path}"}


def _site_packages(environment: Path | None) -> list[Path]:
    if environment is None:
        return [Path(folder) for folder in sys.path if folder.endswith("-packages")]
    return sorted(environment.glob("lib/python3*/site-packages"))


def _output(process: "subprocess.Popen[bytes]") -> Iterator[messages.RunPluginResponse]:
    """Both streams of a program as they come, until both have ended."""
    heard: queue.SimpleQueue[messages.RunPluginResponse | None] = queue.SimpleQueue()

    def pump(stream: IO[bytes]) -> None:
        while part := os.read(stream.fileno(), 65536):
            of_stdout = stream is process.stdout
            heard.put(
                messages.RunPluginResponse(stdout=part)
                if of_stdout
                else messages.RunPluginResponse(stderr=part)
            )
        heard.put(None)

    streams = [stream for stream in (process.stdout, process.stderr) if stream]
    for stream in streams:
        threading.Thread(target=pump, args=(stream,), daemon=True).start()
    running = len(streams)
    while running:
        part = heard.get()
        if part is None:
            running -= 1
        else:
            yield part


def main() -> None:
    """Serve until the engine asks us to end, or is gone."""
    size = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=WORKERS), options=[(name, LARGEST_MESSAGE) for name in size]
    )
    host = LanguageHost(HERE / "pulumi-language-python-exec", sys.argv[-1])
    service.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # The engine interrupts our whole process group: what we have started ends in its own way, we at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(port, flush=True)
    # The other end is the engine's, and closed by its end.
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main()
