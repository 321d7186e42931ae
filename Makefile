PYTHON ?= python3
ARGS ?=
COUNT ?= 10000
MINUTES ?= 5
SEED ?= 1
RATE ?= 1000
FAULTS ?= 1
RUNS ?= 5
CASES ?=
PICTURES ?= docs/pictures

BIN := .venv/bin
HELM := helm.sh/helm/v3/cmd/helm@v3.22.0
GO ?= $(shell command -v go || echo /usr/local/go/bin/go)
STAMP := .venv/.installed

# What Python compiles is kept, whatever the shell says: tests start hundreds of processes, and
# pytest takes longer to rewrite the assertions than to collect the tests.
export PYTHONDONTWRITEBYTECODE :=

# Taken from the command line only: SECONDS in the environment is some shell's clock.
ifeq ($(origin SECONDS),command line)
DEMO_ARGS := --seconds $(SECONDS)
endif

.DEFAULT_GOAL := help
.PHONY: help install helm browser graphviz pictures demo test test-services test-faults test-schedules faults-table soak bench lint types docs format schema clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with the package and its tools

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is missing or older than Python 3.11; name another: make install PYTHON=python3.11" >&2; exit 1; }
	@echo "Installing the package and its tools into .venv (the first time takes a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,services,lint,docs]'
	@touch $@
	@echo "Installed"

helm: | $(STAMP) ## Build helm for the tests of the chart, unless it is there; needs Go
	@command -v $(BIN)/helm helm > /dev/null || { \
	  $(GO) version || { echo "helm is built by Go: install Go 1.26, or Helm 3" >&2; exit 1; }; \
	  echo "Building $(HELM) (the first time takes two minutes or three)"; \
	  CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN=$(CURDIR)/$(BIN) $(GO) install -ldflags='-s -w' $(HELM); }

browser: ## Install Chromium for the tests of the status page, unless it is there; needs root and apt
	@command -v chromium google-chrome > /dev/null && command -v chromedriver > /dev/null || { \
	  apt-get update -qq && apt-get install -y -qq chromium chromium-driver > /dev/null; }

graphviz: ## Install Graphviz for the tests of pictures, unless it is there; needs root and apt
	@command -v dot > /dev/null || { \
	  apt-get update -qq && apt-get install -y -qq graphviz > /dev/null; }

pictures: $(STAMP) ## Make the pictures of the docs anew, of what runs; needs Chromium; PICTURES=docs/pictures
	$(BIN)/python -m pictures $(PICTURES)

demo: $(STAMP) ## Pointings from Tango to Kafka and back, live; SECONDS=20 makes it stop by itself
	@$(BIN)/queue-connector demo $(DEMO_ARGS) $(ARGS)

# Those that wait most come first; they wait so much that three go on at once on two processors. With more,
# tests hold each other up beyond their bounds.
test: $(STAMP) ## Unit, contract and device tests; no service needed
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder tests/device tests/contract tests/unit $(ARGS)

test-services: $(STAMP) ## System tests against real Kafka and etcd; needs java and mvn
	$(BIN)/pytest tests/system $(ARGS)

test-faults: $(STAMP) ## Faults injected on real services, with data under way; needs java and mvn
	$(BIN)/pytest tests/faults $(ARGS)

test-schedules: $(STAMP) ## Random schedules on a virtual clock, judged by models; COUNT=10000
	QUEUE_CONNECTOR_SCHEDULES=$(COUNT) $(BIN)/pytest -n 2 --dist worksteal \
	  tests/unit/engine/test_fault_schedules.py tests/unit/engine/test_random_reconfigurations.py \
	  tests/unit/connectors/kafka/test_sharing_schedules.py tests/unit/reconfiguration/test_holding.py \
	  --timeout=0 -o faulthandler_timeout=0 $(ARGS)

faults-table: $(STAMP) ## Write the tables of the latest test-faults into the docs
	$(BIN)/python -m tests.faults.rows
	$(BIN)/python -m tests.faults.pauses
	$(BIN)/python -m tests.faults.sharing

soak: $(STAMP) ## A long run with faults by chance; MINUTES=5 SEED=1 RATE=1000 FAULTS=1
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED) --rate $(RATE) \
	  $(if $(filter 0,$(FAULTS)),--no-faults) $(ARGS)

bench: $(STAMP) ## Measure the connector beside the bare client libraries; needs java; CASES= RUNS=5
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.blackbox --runs $(RUNS) $(CASES) $(ARGS)

lint: $(STAMP) ## Check style, formatting, the Dockerfile and the constraints
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	@! grep -nvE '^[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!]*$$' constraints.txt || { \
	  echo "constraints.txt: only name==version lines may stand there" >&2; exit 1; }

types: $(STAMP) ## Check the types
	$(BIN)/mypy

docs: $(STAMP) ## Build the documentation into build/docs, warnings are errors
	$(BIN)/sphinx-build -W --keep-going -b html docs build/docs

format: $(STAMP) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP) ## Write the configuration's JSON Schema to build/schema.json
	@mkdir -p build
	$(BIN)/queue-connector schema > build/schema.json

clean: ## Remove what was built and cached; .venv stays
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/services/target
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
