"""The language host of a CLI that was built here, asked as the engine asks it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from scripts.workstation import plugins
from tests.waiting import is_alive, until

HOST = Path(__file__).parents[2] / "sandbox/toolchain/language-python/host.py"
# In the place of the SDK's program, which would want an engine.
EXECUTOR = """
import json, os, pathlib, sys
config, keys = (json.loads(os.environ[f"PULUMI_CONFIG{end}"]) for end in ("", "_SECRET_KEYS"))
seen = {"words": sys.argv[1:], "config": config, "keys": keys, "venv": os.environ["VIRTUAL_ENV"], "first": os.environ["PATH"].split(":")[0]}
pathlib.Path(config["p:write"]).write_text(json.dumps(seen))
sys.exit(int(config["p:end"]))
"""


class Host:
    """One under way, with its pipe to us in the place of the engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy = shutil.copy(HOST, folder / "pulumi-language-python")
        (folder / "pulumi-language-python-exec").write_text(EXECUTOR)
        (folder / "venv").symlink_to(sys.prefix)
        self.process = subprocess.Popen(
            [sys.executable, str(copy), "127.0.0.1:1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        assert self.process.stdout
        self.channel = grpc.insecure_channel(f"127.0.0.1:{int(self.process.stdout.readline())}")
        self.stub = language_pb2_grpc.LanguageRuntimeStub(self.channel)

    def info(self, virtualenv: str = "venv") -> language_pb2.ProgramInfo:
        """A project in our folder."""
        found = language_pb2.ProgramInfo(
            root_directory=str(self.folder), program_directory=str(self.folder), entry_point="."
        )
        found.options.update({"virtualenv": virtualenv})
        return found

    def plugin(self, program: str) -> Any:
        """A plugin of one line, started."""
        (self.folder / "__main__.py").write_text(program)
        request = language_pb2.RunPluginRequest(
            pwd=str(self.folder), args=["a b"], env=["MINE=yes", "X=1=2"], info=self.info(), kind="resource"
        )
        return self.stub.RunPlugin(request)

    def close(self) -> None:
        """The engine's end."""
        self.channel.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    started = Host(tmp_path_factory.mktemp("host"))
    yield started
    started.close()


def run(host: Host, end: int) -> tuple[language_pb2.RunResponse, Path]:
    write = host.folder / f"seen-{end}.json"
    request = language_pb2.RunRequest(
        project="p",
        stack="s",
        pwd=str(host.folder),
        config={"p:write": str(write), "p:end": str(end)},
        configSecretKeys=["p:hidden"],
        dryRun=True,
        parallel=8,
        monitor_address="127.0.0.1:2",
        organization="o",
        info=host.info(),
    )
    return host.stub.Run(request), write


def test_a_program_is_run_in_its_environment_with_its_configuration(host: Host) -> None:
    answer, write = run(host, 0)
    assert (answer.error, answer.bail) == ("", False)
    seen = json.loads(write.read_text())
    words = seen["words"]
    options = dict(zip(words[:-1:2], words[1:-1:2], strict=True))
    assert words[-1] == "."
    assert options == {
        "--monitor": "127.0.0.1:2",
        "--engine": "127.0.0.1:1",
        "--project": "p",
        "--root_directory": str(host.folder),
        "--stack": "s",
        "--pwd": str(host.folder),
        "--dry_run": "true",
        "--parallel": "8",
        "--organization": "o",
    }
    assert (seen["venv"], seen["first"]) == (str(host.folder / "venv"), str(host.folder / "venv/bin"))
    assert (seen["config"]["p:end"], seen["keys"]) == ("0", ["p:hidden"])


@pytest.mark.parametrize(
    ("end", "error", "bail"), [(1, "program exited with non-zero exit code: 1", False), (32, "", True)]
)
def test_how_a_program_has_ended(host: Host, end: int, error: str, bail: bool) -> None:
    answer, _ = run(host, end)
    assert (answer.error, answer.bail) == (error, bail)


def test_an_environment_that_is_none(host: Host) -> None:
    request = language_pb2.GetRequiredPackagesRequest(info=host.info("nowhere"))
    with pytest.raises(grpc.RpcError) as failed:
        host.stub.GetRequiredPackages(request)
    assert "runtime.options.virtualenv is nowhere" in str(failed.value)


def test_the_plugins_of_the_packages_are_named(host: Host) -> None:
    answer = host.stub.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=host.info()))
    assert {(p.name, p.kind, p.version) for p in answer.packages} == {
        (name, "resource", f"v{plugins.version_of(name)}") for name in (*plugins.NEEDED, plugins.SIMULATED)
    }


def test_what_it_says_of_itself(host: Host) -> None:
    assert isinstance(host.stub.GetPluginInfo(empty_pb2.Empty()), plugin_pb2.PluginInfo)
    about = host.stub.About(language_pb2.AboutRequest(info=host.info()))
    assert about.version == ".".join(map(str, sys.version_info[:3]))
    assert about.executable.startswith(str(host.folder / "venv/bin/"))
    listed = host.stub.GetProgramDependencies(language_pb2.GetProgramDependenciesRequest(info=host.info()))
    assert "pydantic" in {dependency.name for dependency in listed.dependencies}


def test_a_plugins_words_and_end_are_handed_on(host: Host) -> None:
    heard = list(
        host.plugin(
            "import os, sys; print(sys.argv[1], os.environ['MINE'], os.environ['X']); print('no', file=sys.stderr); sys.exit(3)"
        )
    )
    assert b"".join(part.stdout for part in heard) == b"a b yes 1=2\n"
    assert b"".join(part.stderr for part in heard) == b"no\n"
    assert heard[-1].exitcode == 3
    assert [part.WhichOneof("output") for part in heard].count("exitcode") == 1


SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def wait_for_end(pid: int) -> None:
    until(lambda: not is_alive(pid), seconds=5, what="the plugin has ended")


def test_a_plugin_ends_with_its_call(host: Host) -> None:
    call = host.plugin(SLEEPER)
    pid = int(next(call).stdout)
    call.cancel()
    wait_for_end(pid)


@pytest.mark.parametrize("how", ["gone", "interrupted"])
def test_everything_ends_with_the_engine(tmp_path: Path, how: str) -> None:
    started = Host(tmp_path)
    try:
        pid = int(next(started.plugin(SLEEPER)).stdout)
        if how == "gone":
            assert started.process.stdin
            started.process.stdin.close()
        else:
            os.killpg(started.process.pid, signal.SIGINT)
        started.process.wait(timeout=10)
        wait_for_end(pid)
    finally:
        started.close()
