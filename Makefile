# make run and make test need Python 3.11 or later and nothing else.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help .venv run test unit integration e2e faults framing fuzz conform bench soak leaks attack check format clean

help:  ## show this list
	@awk -F ":.*## " "/^[.a-z0-9]+:.*## /{printf \"%-12s %s\\n\", \$$1, \$$2}" Makefile

.venv: $(INSTALLED)  ## create the virtual environment and install everything

$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("%s is Python %s; 3.11 or later is needed, for example: make PYTHON=python3.13 ..." % ("$(PYTHON)", sys.version.split()[0]) if sys.version_info < (3, 11) else 0)'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# exec, so that make passes on signals and the exit code.
run: $(INSTALLED)  ## start everything on this machine: Kafka, Redis, web, replies, responder
	@exec $(BIN)/python -m tools.devstack

# Broker of the end-to-end tests: Apache Kafka if Java and Maven are there; CI uses KAFKA=both.
KAFKA_OPTION = $(if $(KAFKA),--kafka $(KAFKA))

test: $(INSTALLED)  ## run all tests; KAFKA=embedded|apache|both
	@exec $(BIN)/pytest $(KAFKA_OPTION)

unit: $(INSTALLED)  ## run the tests without servers
	@exec $(BIN)/pytest tests/unit tests/tools -m "not integration"

integration: $(INSTALLED)  ## run the tests of single parts with Kafka and Redis
	@exec $(BIN)/pytest tests/integration tests/tools -m integration

e2e: $(INSTALLED)  ## run the tests of the whole over HTTP; KAFKA=embedded|apache|both
	@exec $(BIN)/pytest tests/e2e $(KAFKA_OPTION)

faults: $(INSTALLED)  ## run the tests that kill brokers and cut networks (Java 17, Maven); half an hour
	@exec $(BIN)/pytest tests/faults $(KAFKA_OPTION)

framing: $(INSTALLED)  ## compare where requests end with h11, llhttp and haproxy; STREAMS=20000 SEED=1
	@exec $(BIN)/python -m tests.framing $(or $(STREAMS),20000) 4000 $(or $(SEED),1)

fuzz: $(INSTALLED)  ## properties with many examples, then fuzz each decoder for SECONDS=60 (Linux)
	$(BIN)/pytest --hypothesis-profile=fuzz tests/unit tests/integration -k "properties or model"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-fuzz.txt \
		|| { echo "atheris cannot be installed (it has wheels for Linux only); fuzz on Linux" >&2; exit 1; }
	@for decoder in request reply id; do \
		echo "fuzzing: $$decoder, $(SECONDS) s"; \
		$(BIN)/python -m tests.fuzz $$decoder $(SECONDS) || exit 1; \
	done

conform: $(INSTALLED)  ## test a deployment against its OpenAPI document; SEED=1 EXAMPLES=180
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-conform.txt
	@exec $(BIN)/python -m tests.conform $(or $(SEED),1) $(or $(EXAMPLES),180)

bench: $(INSTALLED)  ## throughput, latency and CPU against floors and a naive gateway (Java 17, Maven, wrk); 25 minutes
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@exec $(BIN)/python -m tools.bench $(or $(BENCH),run --plots docs/images)

# Options of soak and leaks.
SOAK = $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	$(if $(MODE),--mode $(MODE)) $(if $(KAFKA),--kafka $(KAFKA))

soak: $(INSTALLED)  ## load and faults, every response judged; MINUTES=10 SEED=1 MODE=group|broadcast KAFKA=embedded|apache
	@exec $(BIN)/python -m tools.soak faults $(SOAK)

leaks: $(INSTALLED)  ## steady load; memory, threads, descriptors and Redis must not grow; options as for soak
	@exec $(BIN)/python -m tools.soak leaks $(SOAK)

attack: $(INSTALLED)  ## hostile clients, with honest ones beside them; SECONDS=60 STRENGTH=10 ATTACKS="silent storm" AGAINST=REV URL=http://127.0.0.1:8000 (Linux)
	@exec $(BIN)/python -m tools.attack $(ATTACKS) --seconds $(SECONDS) --strength $(or $(STRENGTH),10) \
		$(if $(AGAINST),--against $(AGAINST)) $(if $(URL),--url $(URL)) $(if $(KAFKA),--kafka $(KAFKA))

check: $(INSTALLED)  ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED)  ## sort imports and format
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

clean:  ## remove the virtual environment, caches and results
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .devstack .soak .bench .attack
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
