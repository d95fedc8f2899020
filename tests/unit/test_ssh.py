"""The words of the OpenSSH client, checked by the client itself, and the host key that a console shows."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.render import ssh

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostHostHostHostHostHostHostHostHostHostHos"


def effective(options: list[str]) -> dict[str, str]:
    """What ssh makes of the options, as `ssh -G` prints them."""
    ran = subprocess.run(
        ["ssh", "-F", "none", "-G", *options, "opc@198.51.100.9"], capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in ran.stdout.splitlines() if " " in line)


def test_ssh_accepts_the_pinned_key_and_no_other_source() -> None:
    said = effective(ssh.ssh_options(host_key=KEY, key_file="~/my keys/id_prod", jump_host="me@bastion:2222"))
    assert said["stricthostkeychecking"] == "true"
    assert said["knownhostscommand"] == f"/bin/echo %H {KEY}"
    assert said["userknownhostsfile"] == said["globalknownhostsfile"] == "/dev/null"
    assert said["batchmode"] == said["identitiesonly"] == "yes"
    assert said["identityfile"] == "~/my keys/id_prod"
    assert said["proxyjump"] == "me@bastion:2222"
    assert said["forwardagent"] == "no"
    # A connection that the user keeps open was made without this check.
    assert said["controlmaster"] == "false"
    assert "controlpath" not in said


def test_without_a_key_file_the_agent_is_asked() -> None:
    said = effective(ssh.access_options(key_file=None, jump_host=None))
    assert said["identitiesonly"] == "no"
    assert "proxyjump" not in said


def console(*keys: str, newline: str = "\r\n") -> str:
    lines = ["cloud-init", ssh.BEGIN, "ecdsa-sha2-nistp256 AAAAE2VjZHNh= root@db", *keys, ssh.END, "login:"]
    return newline.join(lines)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_key_is_found_without_its_comment(newline: str) -> None:
    assert ssh.host_key(console(f"{KEY} root@db", newline=newline)) == KEY


@pytest.mark.parametrize("line", [KEY[:60], f"{KEY[:40]} [ 12.3] audit: {KEY[40:]}", f"{KEY}AA"])
def test_a_key_that_is_not_whole_is_none(line: str) -> None:
    assert ssh.host_key(console(f"{line} root@db")) is None


def test_the_last_block_counts() -> None:
    newer = KEY.replace("Host", "Next")
    assert ssh.host_key(console(f"{KEY} root@db") + console(f"{newer} root@db")) == newer
    # A machine that made no ed25519 key the second time does not show the old one any more.
    assert ssh.host_key(console(f"{KEY} root@db") + console()) is None


@given(st.text())
def test_a_console_without_a_block_shows_no_key(text: str) -> None:
    assert ssh.host_key(text + KEY) is None
