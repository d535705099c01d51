# The two that matter: make run, make test. They need Python >= 3.11 and nothing else.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help .venv run test unit integration e2e faults fuzz conform bench soak leaks check format clean

help:  ## show this list
	@awk -F ":.*## " "/^[.a-z0-9]+:.*## /{printf \"%-12s %s\\n\", \$$1, \$$2}" Makefile

.venv: $(INSTALLED)  ## the virtual environment with everything installed

$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("%s is Python %s; 3.11 or later is needed, for example: make PYTHON=python3.13 ..." % ("$(PYTHON)", sys.version.split()[0]) if sys.version_info < (3, 11) else 0)'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# exec: signals reach the development stack itself, and its exit code is ours.
run: $(INSTALLED)  ## start everything on this machine: Kafka, Redis, web, replies, responder
	@exec $(BIN)/python -m tools.devstack

# One broker for the end-to-end tests, Apache Kafka where Java and Maven are; KAFKA=both as in CI.
KAFKA_OPTION = $(if $(KAFKA),--kafka $(KAFKA))

test: $(INSTALLED)  ## run all tests; KAFKA=embedded|apache|both
	@exec $(BIN)/pytest $(KAFKA_OPTION)

unit: $(INSTALLED)  ## run the tests that need no server
	@exec $(BIN)/pytest tests/unit

integration: $(INSTALLED)  ## run the tests with Kafka and Redis
	@exec $(BIN)/pytest tests/integration

e2e: $(INSTALLED)  ## run the tests of the whole, over HTTP; KAFKA=embedded|apache|both
	@exec $(BIN)/pytest tests/e2e $(KAFKA_OPTION)

faults: $(INSTALLED)  ## run the tests that kill brokers and cut networks (Java 17, Maven); takes minutes
	@exec $(BIN)/pytest tests/faults

fuzz: $(INSTALLED)  ## search for more: properties, then each reader for SECONDS=60 (Linux)
	$(BIN)/pytest --hypothesis-profile=fuzz tests/unit tests/integration -k "properties or model"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-fuzz.txt \
		|| { echo "atheris cannot be installed (wheels for Linux only): the readers were not fuzzed" >&2; exit 1; }
	@for reader in request reply id; do \
		echo "fuzzing the reader of: $$reader, $(SECONDS) s"; \
		$(BIN)/python -m tests.fuzz $$reader $(SECONDS) || exit 1; \
	done

conform: $(INSTALLED)  ## hold a deployment against its own description, by SEED=1, with EXAMPLES=180
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-conform.txt
	@exec $(BIN)/python -m tests.conform $(or $(SEED),1) $(or $(EXAMPLES),180)

bench: $(INSTALLED)  ## measure it against floor and textbook (Java 17, Maven, wrk); 25 minutes
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@exec $(BIN)/python -m tools.bench $(or $(BENCH),run --plots docs)

# MINUTES=10 SEED=1 MODE=group|broadcast KAFKA=embedded|apache
SOAK = $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	$(if $(MODE),--mode $(MODE)) $(if $(KAFKA),--kafka $(KAFKA))

soak: $(INSTALLED)  ## load and faults for MINUTES, by SEED, in MODE and on KAFKA; judge each answer
	@exec $(BIN)/python -m tools.soak faults $(SOAK)

leaks: $(INSTALLED)  ## load for MINUTES; see whether memory, threads, descriptors or Redis grow
	@exec $(BIN)/python -m tools.soak leaks $(SOAK)

check: $(INSTALLED)  ## lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED)  ## put imports and formatting in order
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

clean:  ## remove the virtual environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .devstack .soak .bench
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
