# Everything a person does with Millrace on one machine. `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
ARGS ?=
MERGE_ARGS ?=

# Take uv's index and certificates from pip's configuration where uv has none of its own.
PIP_INDEX = $(shell $(BIN)/python -m pip config get global.index-url 2>/dev/null || $(BIN)/python -m pip config get install.index-url 2>/dev/null)
UV_ENV = UV_COMPILE_BYTECODE=1 UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) \
	$(if $(PIP_CERT),SSL_CERT_FILE="$${SSL_CERT_FILE:-$(PIP_CERT)}") \
	$(if $(UV_DEFAULT_INDEX)$(UV_INDEX_URL),,$(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX="$(PIP_INDEX_URL)",$(if $(PIP_INDEX),UV_DEFAULT_INDEX="$(PIP_INDEX)")))
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run up down status test chaos check format bench bench-merge bench-standins lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/ready ## install everything into .venv (done by the other targets when needed)

$(VENV)/ready: requirements.txt requirements-dev.txt pyproject.toml
	@scripts/make_venv $(VENV) $(UV_VERSION)
	@echo "installing the locked packages into $(VENV)"
	@$(UV_ENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.txt requirements-dev.txt
	@$(UV_ENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

run: $(VENV)/ready ## take real data through all steps and check every figure; ARGS="--days 3 --exit"
	@$(BIN)/python -m local run $(ARGS)

up: $(VENV)/ready ## start the stack and leave it running
	@$(BIN)/python -m local up

down: $(VENV)/ready ## end the stack; its data stays
	@$(BIN)/python -m local down

status: $(VENV)/ready ## what runs, and where
	@$(BIN)/python -m local status

test: $(VENV)/ready ## run the tests; ARGS="-k merge"
	@$(BIN)/python -m pytest $(ARGS)

chaos: SEED ?= $(shell date +%s)
chaos: SCHEDULES ?= 2000
chaos: $(VENV)/ready ## merge thousands of random schedules with crashes; SEED=… repeats one, SCHEDULES=2000
	@mkdir -p .millrace && echo "MILLRACE_SEED=$(SEED) MILLRACE_SCHEDULES=$(SCHEDULES)" | tee -a .millrace/chaos.log
	@MILLRACE_SEED=$(SEED) MILLRACE_SCHEDULES=$(SCHEDULES) $(BIN)/python -m pytest --timeout 3600 \
		tests/integration/test_merge_oracle.py $(ARGS)

check: $(VENV)/ready ## lint, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/ready ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/ready ## measure the platform beside the plain script, then the merge; ARGS="--days 7" MERGE_ARGS=--quick
	@$(BIN)/python -m bench.days $(ARGS)
	@$(BIN)/python -m bench.merge $(MERGE_ARGS)

bench-merge: $(VENV)/ready ## measure the merge beside raw DuckDB, dlt and element-wise Beam; MERGE_ARGS=--quick
	@$(BIN)/python -m bench.merge $(MERGE_ARGS)

bench-standins: $(VENV)/ready ## measure the local Pub/Sub and Cloud Storage, Google's emulator beside where it is there
	@$(BIN)/python -m bench.standins $(ARGS)

lock: $(VENV)/ready ## resolve requirements*.in again
	@$(UV_ENV) $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 requirements.in -o requirements.txt
	@$(UV_ENV) $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 requirements-dev.in -o requirements-dev.txt

clean: ## end the stack and delete all of its data; the next run starts over
	@if [ -x $(BIN)/python ] && [ -d .millrace ]; then $(BIN)/python -m local down; fi
	@rm -rf .millrace
