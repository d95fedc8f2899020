# The operator's commands; `make` alone lists them. STACK=local is this machine, prod-sim a simulated OCI on it, any other a stack of
# your own backend. DB=name (psql), ARGS='…' (psql, redis-cli, status, up, preview, engine tests), CONFIRM=stack (destroy, recover-host,
# trust-host) or CONFIRM=application (drop-application), NAME=application (rotate, drop-application), STORE=database or redis (rotate),
# FILE=… (import-secrets), PORT_OFFSET=n (tunnel), INIT_FILE=answers.yaml (init-prod), BENCH_GROUPS=a,b and BENCH_ROUNDS=n (bench)
STACK ?= local
export STACK DB CONFIRM NAME STORE FILE PORT_OFFSET INIT_FILE BENCH_GROUPS BENCH_ROUNDS

run = @.venv/bin/python -m scripts.workstation.

.PHONY: help setup init-prod up preview drift psql redis-cli status tunnel backup restore restore-redis pitr drill upgrade-postgres upgrade-redis pin-images down destroy recover-host trust-host passwords rotate drop-application import-secrets check unit engine-tests test bench lock venv
.DEFAULT_GOAL := help

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: venv ## Get the tools: virtual environment, Pulumi, Docker, docker compose
	$(run)setup

init-prod: venv ## Ask for the settings of a machine in OCI and write them (STACK=prod, INIT_FILE=answers.yaml)
	$(run)init_prod

up: venv ## Bring the platform up (STACK=local), or change it to what the settings say (ARGS=--refresh finds drift)
	$(run)up $(ARGS)

preview: venv ## Show what `up` would change, then in plain words (ARGS=--diff, ARGS='--summary FILE')
	$(run)preview $(ARGS)

drift: venv ## Show what was changed by hand on the host, and what `up` does about it (ARGS=--json; ends with an error if there is any)
	$(run)drift $(ARGS)

psql: venv ## psql as platform_admin (DB=name; SQL on standard input works)
	$(run)psql $(ARGS)

redis-cli: venv ## redis-cli as admin (ARGS='INFO memory'; commands on standard input work)
	$(run)redis_cli $(ARGS)

status: venv ## Is the platform well? (ARGS=--json)
	$(run)status $(ARGS)

backup: venv ## Back up now: dumps, base backup, off-site
	$(run)on_host backup.sh

restore: venv ## Restore a database from a dump (DB=librarian ARGS='latest --yes'; ARGS='latest --into copy')
	$(run)on_host restore.sh "$(DB)" $(ARGS)

restore-redis: venv ## Restore Redis from a backup (ARGS='latest --yes')
	$(run)on_host restore-redis.sh $(ARGS)

pitr: venv ## Go back to a point in time (ARGS=list, ARGS='prepare "2026-11-25 12:00:00"', ARGS='swap --yes', ARGS=drop)
	$(run)on_host pitr.sh $(ARGS)

drill: venv ## Restore the newest backup into a throw-away container and measure it
	$(run)on_host drill.sh

upgrade-postgres: venv ## PostgreSQL's data to the next major version (ARGS=rehearse, ARGS='switch --yes', ARGS='back --yes', ARGS='drop --yes')
	$(run)upgrade postgres $(ARGS)

upgrade-redis: venv ## Redis' data to another major version (ARGS='switch --yes', ARGS='back --yes', ARGS='drop --yes')
	$(run)upgrade redis $(ARGS)

tunnel: venv ## Open the databases of a host in OCI on this machine's loopback (PORT_OFFSET=10000)
	$(run)tunnel

pin-images: venv ## Bring images.json to what the registries have (ARGS=--check changes nothing; ARGS='postgres=17.12')
	$(run)pin-images $(ARGS)

down: venv ## Remove what runs and keep the data
	$(run)down

destroy: venv ## Delete the local stack, or prod-sim, with all its data, after asking
	$(run)destroy

recover-host: venv ## Make a new machine in the place of a lost one in OCI, on the same data, after asking
	$(run)recover_host

trust-host: venv ## Read the host key of a machine in OCI anew from its console, after asking
	$(run)trust_host

passwords: venv ## Generate the passwords that the applications of the settings lack
	$(run)passwords

rotate: venv ## New passwords for an application (NAME=librarian STORE=redis), or a secret of the platform (NAME=postgresPassword)
	$(run)rotate

drop-application: venv ## Delete what an application that is no longer in the settings has left, after asking (NAME=librarian)
	$(run)drop_application

import-secrets: venv ## Read platform.env back into a stack that lost its secrets
	$(run)import_secrets

check: venv ## Format, lint, types, shell scripts, workflows, unit tests
	@sh scripts/workstation/checks.sh

unit: venv ## Only the unit tests
	@.venv/bin/python -m pytest --numprocesses auto tests/unit $(ARGS)

engine-tests: venv ## Only the tests on real engines (ARGS='-k compose')
	@sh scripts/workstation/engine-$(if $(ARGS),tests,halves).sh $(ARGS)

test: check engine-tests ## Every test: check, then the tests on real engines (an hour on two cores)

bench: venv ## Measure what is promised of speed, into docs/benchmarks (50 minutes; BENCH_GROUPS=redis,backups BENCH_ROUNDS=3)
	@CDP_TEST_MODULE=tests.bench sh scripts/workstation/engine-tests.sh

lock: ## Write requirements.lock anew from pyproject.toml
	@sh scripts/workstation/venv.sh lock

venv:
	@sh scripts/workstation/venv.sh
