"""scripts/ci as processes: credentials that come and go, the comment, the issue, and what a preview shows."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scripts.workstation import summary_pages
from tests.unit.scripted_host import Host, wait_for

CI = Path(__file__).parents[2] / "scripts/ci"
CREDENTIALS = CI / "with-credentials.sh"
OCI_CONFIG = (
    "[DEFAULT]\nuser=ocid1.user.oc1..u\nkey_file=<path to your private keyfile> # TODO\nregion=eu-frankfurt-1"
)
# A comment that others have made, and ours.
COMMENTS = [
    {"id": 1, "user": {"type": "User"}, "body": f"{summary_pages.MARK}\nquoted"},
    {"id": 2, "user": {"type": "Bot"}, "body": "another robot"},
    {"id": 3, "user": {"type": "Bot"}, "body": f"{summary_pages.MARK}\nold"},
]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A runner: a home folder, and no credentials of whoever runs the tests."""
    made = Host(tmp_path)
    (tmp_path / "home").mkdir()
    made.environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "SSH_AUTH_SOCK": ""}
    made.environment |= dict.fromkeys(
        ("PULUMI_CONFIG_PASSPHRASE", "OCI_CONFIG", "OCI_API_KEY", "HOST_SSH_KEY"), ""
    )
    return made


@pytest.fixture
def ssh_key(tmp_path: Path) -> str:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ci", "-f", path], check=True)
    return path.read_text()


def said_by(host: Host, command: str) -> str:
    return host.must(CREDENTIALS, "sh", "-c", command)


def test_the_passphrase_is_a_file_for_as_long_as_the_command_runs(host: Host) -> None:
    host.environment["PULUMI_CONFIG_PASSPHRASE"] = 'it\'s "secret" $HOME'
    said = said_by(host, 'cat "$PULUMI_CONFIG_PASSPHRASE_FILE"; echo "$PULUMI_CONFIG_PASSPHRASE_FILE"; env')
    passphrase, path, *environment = said.splitlines()
    assert passphrase == 'it\'s "secret" $HOME'
    assert not [line for line in environment if line.startswith("PULUMI_CONFIG_PASSPHRASE=")]
    assert not Path(path).exists()


def test_an_api_key_is_where_oci_looks_and_gone_afterwards(host: Host, tmp_path: Path) -> None:
    host.environment |= {"OCI_CONFIG": f"{OCI_CONFIG}\r\n", "OCI_API_KEY": "-----BEGIN\nkey\n-----END"}
    said = said_by(host, "cat ~/.oci/config; cat ~/.oci/ci-api-key.pem; stat -c %a ~/.oci/*; env")
    config = f"key_file={tmp_path}/home/.oci/ci-api-key.pem"
    assert said.count("key_file=") == 1
    assert config in said
    assert "[DEFAULT]\nuser=ocid1.user.oc1..u\nregion=eu-frankfurt-1\n" in said
    assert "-----BEGIN\nkey\n-----END\n600\n600\n" in said
    assert "OCI_API_KEY" not in said
    assert list((tmp_path / "home/.oci").iterdir()) == []


def test_somebody_elses_oci_settings_are_left_alone(host: Host, tmp_path: Path) -> None:
    config = tmp_path / "home/.oci/config"
    config.parent.mkdir()
    config.write_text("[DEFAULT]\nuser=a-person\n")
    host.environment |= {"OCI_CONFIG": OCI_CONFIG, "OCI_API_KEY": "key"}
    ran = host.run(CREDENTIALS, "touch", str(tmp_path / "ran"))
    assert ran.returncode == 2
    assert ran.stderr == (
        f"error: {config} is there already and is not a CI job's; give these jobs a runner with a user of its own\n"
    )
    assert config.read_text() == "[DEFAULT]\nuser=a-person\n"
    assert not (tmp_path / "ran").exists()


def test_what_a_killed_job_has_left_is_taken_over(host: Host, tmp_path: Path) -> None:
    host.environment |= {"OCI_CONFIG": OCI_CONFIG, "OCI_API_KEY": "old"}
    left = said_by(host, "cat ~/.oci/config")
    (tmp_path / "home/.oci/config").write_text(left)
    host.environment["OCI_API_KEY"] = "new"
    assert said_by(host, "cat ~/.oci/ci-api-key.pem") == "new\n"


@pytest.mark.parametrize("given", ["OCI_CONFIG", "OCI_API_KEY"])
def test_half_of_an_api_key_is_refused(host: Host, given: str) -> None:
    host.environment[given] = "text"
    ran = host.run(CREDENTIALS, "true")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: OCI_CONFIG and OCI_API_KEY belong together and one is empty; ")


def test_the_hosts_key_is_in_an_agent_of_its_own(host: Host, ssh_key: str) -> None:
    host.environment["HOST_SSH_KEY"] = ssh_key
    said = said_by(host, "ssh-add -l; echo $SSH_AUTH_SOCK; env")
    assert "(ED25519)" in said
    assert "PRIVATE KEY" not in said
    # It takes its socket away when it ends.
    socket = Path(said.splitlines()[1])
    end = time.monotonic() + 10
    while socket.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not socket.exists()


def test_a_text_that_is_no_key_is_refused_without_being_shown(host: Host) -> None:
    host.environment["HOST_SSH_KEY"] = "no-key-at-all"
    ran = host.run(CREDENTIALS, "true")
    assert ran.returncode == 2
    assert "error: HOST_SSH_KEY is no private key" in ran.stderr
    assert "no-key-at-all" not in ran.stdout + ran.stderr


def test_the_commands_exit_code_is_ours(host: Host) -> None:
    assert host.run(CREDENTIALS, "sh", "-c", "exit 7").returncode == 7
    assert host.run(CREDENTIALS).returncode == 2


def test_a_cancelled_job_lets_the_command_finish(host: Host, tmp_path: Path) -> None:
    host.environment["PULUMI_CONFIG_PASSPHRASE"] = "secret"
    # Like pulumi: hears the signal, ends what it has begun, still reads its passphrase.
    work = 'trap "sleep 0.3; cat \\"$PULUMI_CONFIG_PASSPHRASE_FILE\\" >done; exit 3" INT; touch begun; while :; do sleep 0.05; done'
    process = host.start(CREDENTIALS, "sh", "-c", f"cd {tmp_path}; {work}")
    wait_for(tmp_path / "begun")
    # The runner tells the first process alone.
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 3
    assert (tmp_path / "done").read_text() == "secret\n"


def github(host: Host, answer: object) -> None:
    """A gh that lists this, by jq as the real one, and keeps the text that it was given."""
    (host.folder / "listed.json").write_text(json.dumps(answer))
    host.stand_in(
        "gh",
        'while [ $# -gt 0 ]; do case $1 in --jq) query=$2 ;; body=@*) cp "${1#body=@}" "$KEPT" ;; esac; shift; done\n'
        '[ -z "${query:-}" ] || jq -r "$query" "$LISTED"',
    )
    host.environment |= {
        "GITHUB_REPOSITORY": "us/platform",
        "RUN_URL": "https://ci/run/1",
        "STACK": "prod",
        "LISTED": str(host.folder / "listed.json"),
        "KEPT": str(host.folder / "kept"),
    }


def written(host: Host) -> list[list[str]]:
    """What was asked of GitHub beside the listing, without the options that are always there."""
    return [
        [word for word in call[1:] if word != "--silent"] for call in host.calls("gh") if "--jq" not in call
    ]


def file_with(host: Host, text: str) -> str:
    (host.folder / "file").write_text(text)
    return str(host.folder / "file")


def test_a_comment_is_made_once_and_changed_afterwards(host: Host) -> None:
    github(host, COMMENTS[:2])
    host.must(CI / "comment.sh", "12", file_with(host, "first\n"))
    ((*words, body),) = written(host)
    assert words == ["--method", "POST", "repos/us/platform/issues/12/comments", "--field"]
    assert body.startswith("body=@")
    assert (host.folder / "kept").read_text() == f"{summary_pages.MARK}\nfirst\n"
    github(host, COMMENTS)
    host.must(CI / "comment.sh", "12", file_with(host, f"{summary_pages.MARK}\nsecond\n"))
    ((*words, _),) = written(host)
    assert words == ["--method", "PATCH", "repos/us/platform/issues/comments/3", "--field"]
    assert (host.folder / "kept").read_text() == f"{summary_pages.MARK}\nsecond\n"


MARK = "<!-- central-data-platform: drift of prod -->"
OPEN = [
    {"number": 4, "user": {"type": "Bot"}, "body": None},
    {"number": 5, "user": {"type": "Bot"}, "body": f"{MARK}\nold"},
    {"number": 6, "user": {"type": "Bot"}, "body": "<!-- central-data-platform: drift of test -->"},
]


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("1", "title=prod: the host differs from what the program has made"),
        ("2", "title=prod: could not be looked at for drift"),
    ],
)
def test_an_issue_is_opened_and_then_kept_up_to_date(host: Host, code: str, title: str) -> None:
    github(host, OPEN[:1])
    host.must(CI / "drift-issue.sh", code, file_with(host, "label x differs\n"))
    ((*words, _),) = written(host)
    assert words == ["--method", "POST", "repos/us/platform/issues", "--raw-field", title, "--field"]
    text = (host.folder / "kept").read_text()
    assert text.startswith(f"{MARK}\n")
    assert "label x differs" in text
    assert "https://ci/run/1" in text
    github(host, OPEN)
    host.must(CI / "drift-issue.sh", code, file_with(host, "label x differs\n"))
    ((*words, _),) = written(host)
    assert words == ["--method", "PATCH", "repos/us/platform/issues/5", "--raw-field", title, "--field"]


def test_an_issue_is_closed_when_nothing_differs_any_more(host: Host) -> None:
    github(host, OPEN)
    host.must(CI / "drift-issue.sh", "0", file_with(host, ""))
    comment, close = written(host)
    assert comment[2] == "repos/us/platform/issues/5/comments"
    assert close == ["--method", "PATCH", "repos/us/platform/issues/5", "--raw-field", "state=closed"]
    github(host, OPEN[:1])
    host.must(CI / "drift-issue.sh", "0", file_with(host, ""))
    assert written(host) == []


def preview(host: Host, make: str) -> tuple[int, str]:
    """preview.sh with a make that does this; `$summary` is the file that it was asked to write."""
    host.stand_in("make", f'summary=$(printf "%s" "$*" | sed -n "s/.*--summary \\([^ ]*\\).*/\\1/p")\n{make}')
    host.environment |= {"STACK": "prod", "GITHUB_SHA": "abc123", "RUN_URL": "https://ci/run/1"}
    ran = host.run(CI / "preview.sh", file_with(host, "of an earlier job"))
    return ran.returncode, (host.folder / "file").read_text()


def test_a_preview_is_the_summary_with_its_commit(host: Host) -> None:
    code, text = preview(host, 'echo "+ create"; echo "Nothing restarts." >"$summary"')
    assert code == 0
    assert text == "Nothing restarts.\n\nOf commit abc123.\n\n[The whole run](https://ci/run/1)\n"
    ((*_, target, options),) = host.calls("make")
    assert target == "preview"
    assert options.startswith("ARGS=--diff ")


def test_a_preview_that_failed_shows_its_summary_and_its_exit_code(host: Host) -> None:
    code, text = preview(host, 'echo "It fails." >"$summary"; exit 2')
    assert (code, text.splitlines()[0]) == (2, "It fails.")


def test_a_preview_that_did_not_begin_shows_the_last_lines(host: Host) -> None:
    code, text = preview(
        host, "yes '```' | head -n 4000; echo 'error: replace-me in Pulumi.prod.yaml' >&2; exit 2"
    )
    assert code == 2
    assert "**There is none**" in text
    assert "error: replace-me in Pulumi.prod.yaml\n````````````\n" in text
    assert len(text) < 65536


def test_credentials_are_files_of_their_owner_alone(host: Host) -> None:
    host.environment["PULUMI_CONFIG_PASSPHRASE"] = "secret"
    said = said_by(
        host, 'stat -c %a "$PULUMI_CONFIG_PASSPHRASE_FILE" "$(dirname "$PULUMI_CONFIG_PASSPHRASE_FILE")"'
    )
    assert said == "600\n700\n"
