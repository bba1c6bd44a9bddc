# Everything a person does with Millrace on one machine. `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
BIGQUERY_ENV := .venv-bigquery
BIGQUERY_LOCK := local/servers/bigquery/requirements.txt
ARGS ?=
MERGE_ARGS ?=
PUSH_ARGS ?=

# Take uv's index and certificates from pip's configuration where uv has none of its own.
PIP_INDEX = $(shell $(BIN)/python -m pip config get global.index-url 2>/dev/null || $(BIN)/python -m pip config get install.index-url 2>/dev/null)
UV_ENV = UV_COMPILE_BYTECODE=1 UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) \
	$(if $(PIP_CERT),SSL_CERT_FILE="$${SSL_CERT_FILE:-$(PIP_CERT)}") \
	$(if $(UV_DEFAULT_INDEX)$(UV_INDEX_URL),,$(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX="$(PIP_INDEX_URL)",$(if $(PIP_INDEX),UV_DEFAULT_INDEX="$(PIP_INDEX)")))
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run up down status doctor test test-slow test-long test-files test-bigquery test-kubernetes test-postgres chaos check deploy deploy-check format bench
.PHONY: cloud-smoke wheel
.PHONY: bench-connector bench-ledger bench-merge bench-model bench-pushes bench-standins contracts lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/ready ## install everything into .venv (done by the other targets when needed)

$(VENV)/ready: requirements.txt requirements-dev.txt pyproject.toml
	@scripts/make_venv $(VENV) $(UV_VERSION)
	@echo "installing the locked packages into $(VENV)"
	@$(UV_ENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.txt requirements-dev.txt
	@$(UV_ENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

run: $(VENV)/ready ## process real data through all steps and check every figure; ARGS="--days 3 --exit"
	@$(BIN)/millrace --state $(CURDIR)/.millrace run $(ARGS)

up: $(VENV)/ready ## start the stack and leave it running
	@$(BIN)/millrace --state $(CURDIR)/.millrace up

down: $(VENV)/ready ## stop the stack; its data is kept
	@$(BIN)/millrace --state $(CURDIR)/.millrace down

status: $(VENV)/ready ## servers, streams and problems; ARGS=--json
	@$(BIN)/millrace --state $(CURDIR)/.millrace status $(ARGS)

doctor: $(VENV)/ready ## check the set-up, and print the command that repairs each problem
	@$(BIN)/millrace --state $(CURDIR)/.millrace doctor $(ARGS)

test: $(VENV)/ready ## run the tests; ARGS="-k merge"
	@$(BIN)/python -m pytest $(ARGS)

test-slow test-long test-bigquery chaos: export MILLRACE_SLOW = 1
test-slow: $(VENV)/ready ## run the tests that take many seconds each, which continuous integration runs too
	@$(BIN)/python -m pytest -m "slow or gcloud" $(ARGS)

test-long: $(VENV)/ready ## run the tests of alerts, triggers and Airbyte's own connectors, which take minutes
	@MILLRACE_LONG=1 $(BIN)/python -m pytest -n 0 -m "long or connectors" $(ARGS)

test-files: $(VENV)/ready ## fetch the public test files of Parquet, Arrow and Avro, read each, write docs/test-files.md
	@scripts/fetch_test_files .millrace/test-files
	@MILLRACE_TEST_FILES=.millrace/test-files MILLRACE_TEST_FILES_PAGE=docs/test-files.md MILLRACE_MUTATIONS=10000 \
		$(BIN)/python -m pytest -n 0 tests/integration/test_public_files.py tests/integration/test_mutated_files.py $(ARGS)

test-bigquery: $(VENV)/ready ## run what touches BigQuery on an emulator (or MILLRACE_TEST_BIGQUERY_PROJECT), write docs/engines.md
	@if [ ! -e $(BIGQUERY_ENV)/ready ] || [ $(BIGQUERY_LOCK) -nt $(BIGQUERY_ENV)/ready ]; then \
		$(UV_ENV) scripts/make_bigquery_env $(BIGQUERY_ENV) $(BIN)/uv $(BIGQUERY_LOCK); fi
	@MILLRACE_TEST_BIGQUERY=yes $(BIN)/python -m pytest --timeout 1500 -m "bigquery or engines" --engines=docs/engines.md $(ARGS)

test-kubernetes: $(VENV)/ready ## run the long tests of workers, pools and images (about 10 minutes)
	@MILLRACE_TEST_KUBERNETES=1 $(BIN)/python -m pytest -n 0 tests/integration/test_deploy.py \
		tests/integration/test_cloud_run.py tests/integration/test_image.py tests/integration/test_kubernetes_worker.py \
		tests/integration/test_warm_worker.py $(ARGS)

test-postgres: $(VENV)/ready ## run Prefect on PostgreSQL, as on Google Cloud: killed under load, then all flows (about 10 minutes)
	@MILLRACE_LONG=1 $(BIN)/python -m pytest -n 0 -rP --show-capture=stdout tests/integration/test_prefect_postgres.py $(ARGS)
	@MILLRACE_TEST_PREFECT_DATABASE=postgresql $(BIN)/python -m pytest -n 0 tests/integration/flows $(ARGS)

deploy: ENV ?= gcp
deploy: $(VENV)/ready ## deploy pools, blocks, flows and automations to a Prefect server; ENV=gcp DRY=--dry-run
	@$(BIN)/millrace --environment $(ENV) deploy $(DRY)

deploy-check: $(VENV)/ready ## check all that is deployed as far as it goes without a cloud, a line each
	@$(BIN)/python -m tests.deploy_check

cloud-smoke: override export PROJECT := $(value PROJECT)
cloud-smoke: override export ARGS := $(value ARGS)
cloud-smoke: $(VENV)/ready ## check a project of Google Cloud, then run the conformance suites there; PROJECT=… ARGS=--dry-run
	@$(BIN)/python -m tests.cloud

chaos: SEED ?= $(shell date +%s)
chaos: SCHEDULES ?= 2000
chaos: STRANGERS ?= 10000
chaos: $(VENV)/ready ## random merges with crashes, forged pushes, lost events, kills of every part; SEED=… repeats one, SCHEDULES=2000
	@mkdir -p .millrace && echo "MILLRACE_SEED=$(SEED) MILLRACE_SCHEDULES=$(SCHEDULES)" | tee -a .millrace/chaos.log
	@MILLRACE_SEED=$(SEED) MILLRACE_SCHEDULES=$(SCHEDULES) $(BIN)/python -m pytest --timeout 3600 \
		tests/integration/test_merge_oracle.py $(ARGS)
	@MILLRACE_SEED=$(SEED) MILLRACE_RACES=$(SCHEDULES) $(BIN)/python -m pytest -rP --show-capture=stdout --timeout 3600 \
		tests/integration/test_merge_race.py $(ARGS)
	@MILLRACE_STRANGERS=$(STRANGERS) $(BIN)/python -m pytest -n 0 -rP --timeout 3600 \
		tests/integration/test_gateway_load.py -k strangers
	@MILLRACE_SEED=$(SEED) $(BIN)/python -m pytest -n 0 -rP --timeout 3600 tests/chaos

check: $(VENV)/ready ## lint, types, import rules, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/millrace contracts check
	@$(BIN)/python scripts/words.py

format: $(VENV)/ready ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/ready ## measure the platform beside the plain script, then the merge; ARGS="--days 7" MERGE_ARGS=--quick
	@$(BIN)/python -m bench.days $(ARGS)
	@$(BIN)/python -m bench.merge $(MERGE_ARGS)

bench-merge: $(VENV)/ready ## measure the merge beside raw DuckDB, dlt and element-wise Beam; MERGE_ARGS=--quick
	@$(BIN)/python -m bench.merge $(MERGE_ARGS)

bench-ledger: $(VENV)/ready ## measure merges and searches beside a ledger of a million facts; ARGS=--bigquery
	@$(BIN)/python -m bench.ledger $(ARGS)

bench-model: $(VENV)/ready ## measure dbt and Great Expectations of a model run, then a large project beside raw dbt; SIZE_ARGS="--models 400"
	@$(BIN)/python -m bench.model $(ARGS)
	@$(BIN)/python -m bench.model_size $(SIZE_ARGS)

contracts: $(VENV)/ready ## write the files that follow from sources/*.yaml: dbt sources, suites, schema, docs
	@$(BIN)/millrace contracts write

bench-connector: $(VENV)/ready ## measure connector to lake beside the bare one, and PostgreSQL beside dlt; ARGS=--record
	@$(BIN)/python -m bench.connector $(ARGS)
	@$(BIN)/python -m bench.postgres_lake $(ARGS)

bench-pushes: $(VENV)/ready ## push 200 events a second through gateway and Prefect, coalesced and not; PUSH_ARGS="--per-s 50"
	@$(BIN)/python -m bench.pushes $(PUSH_ARGS)

bench-standins: $(VENV)/ready ## measure the local Pub/Sub and Cloud Storage, Google's emulator beside where it is there
	@$(BIN)/python -m bench.standins $(ARGS)

lock: $(VENV)/ready ## resolve requirements*.in again
	@$(UV_ENV) $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 requirements.in -o requirements.txt
	@$(UV_ENV) $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 requirements-dev.in -o requirements-dev.txt
	@$(UV_ENV) $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.13 local/servers/bigquery/requirements.in -o $(BIGQUERY_LOCK)
	@$(UV_ENV) $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 local/servers/airbyte/connectors.in -o local/servers/airbyte/connectors.txt

wheel: $(VENV)/ready ## build the platform as a wheel in dist/, for `millrace init` without a checkout
	@rm -rf build
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build
	@ls dist/*.whl

clean: ## stop the stack and delete all of its data
	@if [ -x $(BIN)/python ] && [ -d .millrace ]; then $(BIN)/millrace --state $(CURDIR)/.millrace down; fi
	@rm -rf .millrace
