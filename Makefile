# make run and make test need Python 3.11 or later; without openssl the tests of TLS are skipped.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SECONDS ?= 60
# What options need, each with a file of its own.
EXTRAS := jwt tracing msk-iam

.DEFAULT_GOAL := help
.PHONY: help .venv run test unit integration e2e faults interop framing fuzz conform bench soak leaks upgrade deadletters traces attack check format manifests lock sbom licences audit clean

help:  ## show this list
	@awk -F ":.*## " "/^[.a-z0-9]+:.*## /{printf \"%-12s %s\\n\", \$$1, \$$2}" Makefile

.venv: $(INSTALLED)  ## create the virtual environment and install everything

$(INSTALLED): requirements.txt requirements.in requirements-dev.txt $(wildcard requirements-*.in) $(EXTRAS:%=requirements-%.txt)
	@$(PYTHON) -c 'import sys; sys.exit("%s is Python %s; 3.11 or later is needed, for example: make PYTHON=python3.13 ..." % ("$(PYTHON)", sys.version.split()[0]) if sys.version_info < (3, 11) else 0)'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt $(EXTRAS:%=-r requirements-%.txt)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# exec, so that make passes on signals and the exit code.
run: $(INSTALLED)  ## start everything on this machine; KAFKA=embedded|apache REDIS=no
	@exec $(BIN)/python -m tools.devstack $(if $(KAFKA),--kafka $(KAFKA)) $(if $(REDIS),--redis $(REDIS))

# Broker of the end-to-end tests: Apache Kafka if Java and Maven are there; CI uses KAFKA=both.
KAFKA_OPTION = $(if $(KAFKA),--kafka $(KAFKA))

test: $(INSTALLED)  ## run all tests but those of faults; KAFKA=embedded|apache|both, by default apache with Java 17 and Maven
	@exec $(BIN)/pytest $(KAFKA_OPTION)

unit: $(INSTALLED)  ## run the tests without servers
	@exec $(BIN)/pytest tests/unit tests/tools -m "not integration"

integration: $(INSTALLED)  ## run the tests of single parts with Kafka and Redis
	@exec $(BIN)/pytest tests/integration tests/tools -m integration

e2e: $(INSTALLED)  ## run the tests of the whole over HTTP; KAFKA=embedded|apache|both
	@exec $(BIN)/pytest tests/e2e $(KAFKA_OPTION)

faults: $(INSTALLED)  ## run the tests that kill brokers and cut networks (Java 17, Maven); half an hour
	@exec $(BIN)/pytest tests/faults $(KAFKA_OPTION)

interop: $(INSTALLED)  ## build the examples and other frameworks, and drive them over HTTP (Java 17, Maven, Node.js, Go, Rust as there); FRAMEWORKS="spring go" CASES=all REQUESTERS=all REQUESTS=200
	@exec $(BIN)/python -m tests.interop $(if $(CASES),--cases $(CASES),--requests $(or $(REQUESTS),200) $(FRAMEWORKS) \
		$(if $(REQUESTERS),--requesters $(REQUESTERS)))

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

bench: $(INSTALLED)  ## as shipped against a textbook, and the gateway alone (Java 17, Maven, wrk); 45 minutes; BENCH="open" and others
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@exec $(BIN)/python -m tools.bench $(or $(BENCH),run --plots docs/images)

# Options of soak and leaks.
SOAK = $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	$(if $(MODE),--mode $(MODE)) $(if $(KAFKA),--kafka $(KAFKA)) \
	$(if $(DELIVERY),--delivery $(DELIVERY)) $(if $(REDIS_KIND),--redis $(REDIS_KIND))

soak: $(INSTALLED)  ## load and faults, every response judged; MINUTES=10 SEED=1 DELIVERY=direct|store|no-redis MODE=group|broadcast KAFKA=embedded|apache REDIS_KIND=single|sentinel|cluster
	@exec $(BIN)/python -m tools.soak faults $(SOAK)

leaks: $(INSTALLED)  ## steady load; memory, threads, descriptors and Redis must not grow; options as for soak
	@exec $(BIN)/python -m tools.soak leaks $(SOAK)

upgrade: $(INSTALLED)  ## replace processes by those of the previous release and back, under load; MINUTES=5 PREVIOUS=REV DELIVERY=direct|store (Java 17, Maven)
	@exec $(BIN)/python -m tools.soak upgrade --kafka apache --rate 40 --minutes $(or $(MINUTES),5) \
		$(if $(PREVIOUS),--previous $(PREVIOUS)) $(if $(SEED),--seed $(SEED)) $(if $(MODE),--mode $(MODE)) \
		$(if $(DELIVERY),--env REPLY_DELIVERY=$(DELIVERY))

deadletters: $(INSTALLED)  ## fail handlers while responders and the broker are killed, and account for each record; MINUTES=6 (Java 17, Maven)
	@exec $(BIN)/python -m tools.soak dead-letters --kafka apache --rate 60 --minutes $(or $(MINUTES),6) \
		$(if $(SEED),--seed $(SEED))

traces: $(INSTALLED)  ## receive traces and print each as a tree; in another terminal: OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 make run
	@exec $(BIN)/python -m tools.traces

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

HELM ?= helm
MANIFESTS ?= deploy/kubernetes/rendezvous.yaml

manifests:  ## render deploy/kubernetes from the chart in deploy/helm (Helm 3.17 or later)
	@{ echo "# Rendered from deploy/helm by \`make manifests\`. Set KAFKA_URL, REDIS_URL and the images; the"; \
	echo "# Secret rendezvous has SECRET_KEY, and what else is secret."; \
	$(HELM) template rendezvous deploy/helm --kube-version 1.34.0 --set secret.existing=rendezvous \
		--set settings.KAFKA_URL=kafka://kafka:9092 --set settings.REDIS_URL=redis://redis:6379/0 \
		| sed '/^# Source: /d'; } > $(MANIFESTS)

# These tools have an environment of their own: they bring checks of formats to jsonschema, which
# would give the tests other errors.
TOOLS := .supply/tools
# This package and what it needs to run, for these tools to read.
RUNTIME := .supply/venv

$(TOOLS)/.installed: requirements-supply.txt
	@rm -rf $(TOOLS) && $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r requirements-supply.txt
	@touch $@

$(RUNTIME)/.installed: $(TOOLS)/.installed requirements.txt requirements-jwt.txt pyproject.toml rendezvous/__init__.py
	@rm -rf $(RUNTIME) && $(PYTHON) -m venv --without-pip $(RUNTIME)
	@$(TOOLS)/bin/pip --python $(RUNTIME)/bin/python install --quiet --disable-pip-version-check -r requirements.txt -r requirements-jwt.txt
	@$(TOOLS)/bin/pip --python $(RUNTIME)/bin/python install --quiet --disable-pip-version-check --no-deps .
	@rm -rf build *.egg-info
	@touch $@

LOCK := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

lock: $(TOOLS)/.installed  ## pin what runs, with hashes: requirements.in to requirements.txt, and so on; NEWER=--upgrade
	@$(LOCK) $(NEWER) requirements.in --output-file requirements.txt
	@for extra in $(EXTRAS); do \
		$(LOCK) $(NEWER) --constraint requirements.txt requirements-$$extra.in --output-file requirements-$$extra.txt || exit 1; \
	done

sbom: $(RUNTIME)/.installed  ## write a software bill of materials of what runs: .supply/sbom.cdx.json (CycloneDX)
	@$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --output-file .supply/sbom.cdx.json $(RUNTIME)/bin/python
	@echo .supply/sbom.cdx.json

licences: $(RUNTIME)/.installed  ## write the licences of what runs into docs/reference/licences.md, and check them
	@PATH=$(TOOLS)/bin:$$PATH $(TOOLS)/bin/python -m tools.licences $(RUNTIME)/bin/python

audit: $(TOOLS)/.installed  ## check what runs against PyPI's advisory database; fails too if that does not answer
	@$(TOOLS)/bin/pip-audit --strict --progress-spinner off --disable-pip --requirement requirements.txt \
		$(EXTRAS:%=--requirement requirements-%.txt)

clean:  ## remove the virtual environment, caches and results
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .devstack .soak .bench .attack .supply .interop
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
