"""The workflows as data: what is pinned, who may do what, who holds which secret, and that what they call exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.workstation import pinned

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
DOCUMENTS: dict[str, dict[str, Any]] = {
    # Words as they stand: `on` is a key here, and not true.
    name: yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506
    for name, path in WORKFLOWS.items()
}
JOBS = {
    f"{name}/{job}": definition
    for name, document in DOCUMENTS.items()
    for job, definition in document["jobs"].items()
}
# What several jobs begin with.
ACTION = ROOT / ".github/actions/pulumi/action.yml"
ACTION_STEPS: list[dict[str, Any]] = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
GITLAB = ROOT / "docs/gitlab-ci.md"
CI_SCRIPTS = sorted((ROOT / "scripts/ci").glob("*.sh"))

# What opens the state and OCI, and what opens the host.
TO_LOOK = {"STATE_ACCESS_KEY", "STATE_SECRET_KEY", "PULUMI_CONFIG_PASSPHRASE", "OCI_CONFIG", "OCI_API_KEY"}
TO_REACH_THE_HOST = TO_LOOK | {"HOST_SSH_KEY"}
# Job, the environment that holds its secrets, and which.
HOLDERS = {
    "preview/preview": ("preview", TO_LOOK),
    "deploy/preview": ("preview", TO_LOOK),
    "deploy/up": ("prod", TO_REACH_THE_HOST),
    "drift/drift": ("drift", TO_REACH_THE_HOST),
}


def gitlab() -> dict[str, Any]:
    (text,) = re.findall(
        r"^```yaml\n(.*?)^```$", GITLAB.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return yaml.safe_load(text)


def gitlab_scripts() -> list[str]:
    jobs = [job for job in gitlab().values() if isinstance(job, dict) and "script" in job]
    assert jobs
    return [line for job in jobs for line in [*job.get("before_script", []), *job["script"]]]


def steps(job: str) -> list[dict[str, Any]]:
    return JOBS[job]["steps"]


def secrets_in(value: object) -> set[str]:
    return set(re.findall(r"secrets\.(\w+)", str(value)))


def shell_texts() -> list[str]:
    """All that runs in CI."""
    texts = [step["run"] for job in JOBS for step in steps(job) if "run" in step]
    return [*texts, *(path.read_text(encoding="utf-8") for path in CI_SCRIPTS), *gitlab_scripts()]


def test_there_are_the_five_workflows() -> None:
    assert set(WORKFLOWS) == {"check", "deploy", "drift", "images", "preview"}


@pytest.mark.parametrize("path", [*WORKFLOWS.values(), ACTION], ids=[*WORKFLOWS, "action"])
def test_every_action_is_pinned_by_commit_and_says_its_version(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        if line.strip() == "- uses: ./.github/actions/pulumi":
            continue
        assert re.fullmatch(r"\s+(- )?uses: [\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_commit_everywhere() -> None:
    every = [*ACTION_STEPS, *(step for job in JOBS for step in steps(job))]
    used = {step["uses"] for step in every if "uses" in step}
    assert len({use.partition("@")[0] for use in used}) == len(used)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_workflow_by_itself_may_nothing_and_is_started_by_nobody_elses_code(
    document: dict[str, Any],
) -> None:
    assert document["permissions"] == {}
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & document["on"].keys()
    assert document["concurrency"]["group"]


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_permissions_an_end_and_leaves_no_token_on_disk(job: str) -> None:
    assert isinstance(JOBS[job]["permissions"], dict)
    assert 0 < int(JOBS[job]["timeout-minutes"]) <= 120
    for step in steps(job):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false"


@pytest.mark.parametrize("job", JOBS)
def test_no_expression_is_put_into_a_script(job: str) -> None:
    assert not [step["run"] for step in [*steps(job), *ACTION_STEPS] if "${{" in step.get("run", "")]


def test_secrets_are_where_they_may_be_and_nowhere_else() -> None:
    holding = {job: secrets_in(definition) for job, definition in JOBS.items() if secrets_in(definition)}
    assert holding == {job: secrets for job, (_, secrets) in HOLDERS.items()}
    for job, (environment, secrets) in HOLDERS.items():
        named = JOBS[job]["environment"]
        assert (named["name"] if isinstance(named, dict) else named) == environment
        # In one step, whose program needs them; not for whatever other steps start.
        (step,) = [step for step in steps(job) if secrets_in(step)]
        assert secrets_in(step["env"]) == secrets
        assert step["run"].startswith(("sh scripts/ci/with-credentials.sh ", "echo "))
        assert "sh scripts/ci/with-credentials.sh " in step["run"]
        # A token that may write is for jobs without the program.
        writes = {what for what, how in JOBS[job]["permissions"].items() if how == "write"}
        assert writes <= {"id-token"}


def test_a_job_that_reaches_the_host_is_started_by_main_alone() -> None:
    for job, definition in JOBS.items():
        if "self-hosted" in definition["runs-on"] or "HOST_SSH_KEY" in secrets_in(definition):
            assert job in ("deploy/up", "drift/drift")
            assert "pull_request" not in DOCUMENTS[job.partition("/")[0]]["on"]
    # `up` by way of the preview that it needs.
    assert "github.ref == 'refs/heads/main'" in JOBS["deploy/preview"]["if"]
    assert JOBS["deploy/up"]["needs"] == "preview"
    assert "github.ref == 'refs/heads/main'" in JOBS["drift/drift"]["if"]


def test_up_is_one_at_a_time_and_of_the_commit_whose_preview_was_approved() -> None:
    assert DOCUMENTS["deploy"]["concurrency"] == {"group": "deploy-prod", "cancel-in-progress": "false"}
    assert JOBS["deploy/up"]["environment"] == "prod"
    checkouts = [
        step["with"]["ref"]
        for job in ("deploy/preview", "deploy/up")
        for step in steps(job)
        if step.get("uses", "").startswith("actions/checkout@")
    ]
    assert checkouts == ["${{ github.sha }}"] * 2


def allowed(condition: str, *, backend: str, event: str, repository: str, author: str) -> bool:
    """What a job's `if` comes to, read as Python."""
    values = {
        "vars.PULUMI_BACKEND_URL": backend,
        "github.event_name": event,
        "github.event.pull_request.head.repo.full_name": repository,
        "github.repository": "us/platform",
        "github.event.pull_request.user.login": author,
    }
    for name in sorted(values, key=len, reverse=True):
        condition = condition.replace(name, repr(values[name]))
    return bool(eval(condition.replace("&&", " and ").replace("||", " or "), {"__builtins__": {}}))  # noqa: S307


@pytest.mark.parametrize(
    ("case", "previewed"),
    [
        ({"backend": "s3://b", "event": "pull_request", "repository": "us/platform", "author": "me"}, True),
        ({"backend": "s3://b", "event": "workflow_dispatch", "repository": "", "author": ""}, True),
        (
            {"backend": "s3://b", "event": "pull_request", "repository": "fork/platform", "author": "me"},
            False,
        ),
        (
            {
                "backend": "s3://b",
                "event": "pull_request",
                "repository": "us/platform",
                "author": "dependabot[bot]",
            },
            False,
        ),
        ({"backend": "", "event": "pull_request", "repository": "us/platform", "author": "me"}, False),
        ({"backend": "", "event": "workflow_dispatch", "repository": "", "author": ""}, False),
    ],
)
def test_a_fork_gets_a_notice_in_place_of_secrets(case: dict[str, str], previewed: bool) -> None:
    assert allowed(JOBS["preview/preview"]["if"], **case) is previewed
    assert allowed(JOBS["preview/skipped"]["if"], **case) is not previewed
    (step,) = steps("preview/skipped")
    assert "::notice" in step["run"]
    assert "gh pr checkout $NUMBER && git push origin HEAD:refs/heads/preview/$NUMBER" in step["run"]


def test_the_arm64_job_uses_the_published_images_on_the_runners_own_engine() -> None:
    job = JOBS["check/published-arm64"]
    assert job["runs-on"] == "ubuntu-24.04-arm"
    words = " ".join(step.get("run", "") for step in job["steps"])
    for setting in (
        "CDP_TEST_DOCKER_HOST=unix:///var/run/docker.sock",
        "CDP_TEST_CATALOGUE=images.json",
        "CDP_TEST_RESTART_DOCKER=",
        "make engine-tests",
    ):
        assert setting in words


def test_every_make_target_that_ci_calls_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = {
        word
        for text in shell_texts()
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        for word in re.findall(r"(?<![\w-])make (?:--[\w-]+ )*([a-z-]+)", line)
    }
    assert {"test", "engine-tests", "preview", "up", "venv"} <= called
    assert called <= targets


def test_every_program_of_ours_that_ci_calls_exists() -> None:
    called = {name for text in shell_texts() for name in re.findall(r"scripts/ci/[\w.-]+", text)}
    assert called == {f"scripts/ci/{path.name}" for path in CI_SCRIPTS}
    modules = {name for text in shell_texts() for name in re.findall(r"-m (scripts[\w.]+)", text)}
    assert modules
    assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


def test_the_cli_in_ci_is_the_one_that_is_built_elsewhere() -> None:
    versions = {
        step["with"]["pulumi-version"]
        for step in ACTION_STEPS
        if step.get("uses", "").startswith("pulumi/actions@")
    }
    assert all("./.github/actions/pulumi" in [step.get("uses") for step in steps(job)] for job in HOLDERS)
    assert versions == {pinned.pulumi_version().removeprefix("v")}


def test_gitlab_deploys_one_at_a_time_after_somebody_has_said_so_and_from_main_alone() -> None:
    document = gitlab()
    up = document["up"]
    assert up["resource_group"] == "prod"
    assert up["environment"]["name"] == "prod"
    (rule,) = up["rules"]
    assert rule["when"] == "manual"
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"]
    assert all(
        "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"]
        or "$CI_COMMIT_BRANCH" in rule["if"]
        for rule in document["preview"]["rules"]
    )
    assert all("timeout" in job for job in document.values() if isinstance(job, dict) and "script" in job)
