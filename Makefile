# The operator's commands; `make` alone lists them. STACK=local is this machine, any other a stack of your own backend.
# DB=name (psql), ARGS='…' (psql, redis-cli, status, preview, engine tests), CONFIRM=local (destroy), FILE=… (import-secrets)
STACK ?= local
export STACK DB CONFIRM FILE

run = @.venv/bin/python -m scripts.workstation.

.PHONY: help setup up preview psql redis-cli status down destroy import-secrets check unit engine-tests test lock venv
.DEFAULT_GOAL := help

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: venv ## Get the tools: virtual environment, Pulumi, Docker, docker compose
	$(run)setup

up: venv ## Bring the platform up (STACK=local), or change it to what the settings say
	$(run)up

preview: venv ## Show what `up` would change
	$(run)preview $(ARGS)

psql: venv ## psql as platform_admin (DB=name; SQL on standard input works)
	$(run)psql $(ARGS)

redis-cli: venv ## redis-cli as admin (ARGS='INFO memory'; commands on standard input work)
	$(run)redis_cli $(ARGS)

status: venv ## Is the platform well? (ARGS=--json)
	$(run)status $(ARGS)

down: venv ## Remove the containers and keep the data
	$(run)down

destroy: venv ## Delete the local stack with all its data, after asking
	$(run)destroy

import-secrets: venv ## Read platform.env back into a stack that lost its secrets
	$(run)import_secrets

check: venv ## Format, lint, types, shell scripts, unit tests
	@sh scripts/workstation/checks.sh

unit: venv ## Only the unit tests
	@.venv/bin/python -m pytest tests/unit $(ARGS)

engine-tests: venv ## Only the tests on real engines (ARGS='-k compose')
	@sh scripts/workstation/engine-tests.sh $(ARGS)

test: check engine-tests ## Every test: check, then the tests on real engines (minutes)

lock: ## Write requirements.lock anew from pyproject.toml
	@sh scripts/workstation/venv.sh lock

venv:
	@sh scripts/workstation/venv.sh
