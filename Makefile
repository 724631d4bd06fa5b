# Each target does its own set-up; what is there already takes no time. `make help` lists them.
PYTHON ?= python3
ENGINE ?= tiny
K ?=
NAME ?=
OPTIONS ?=
ROW ?=

SETUP := $(PYTHON) docker/setup.py
BIN := .venv/bin
PYTEST := $(BIN)/pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test fmt lint unit integration storm gpu-check coverage configuration metrics scheduling bench lock clean states site

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## all that the demo needs: .venv, a Docker engine, images, a model (ENGINE=tiny|vllm)
	$(SETUP) all --engine $(ENGINE)

demo: ## a model falls asleep in one container and wakes in another, with a table of times (ENGINE=tiny|vllm; OPTIONS=--help)
	$(SETUP) run --engine $(ENGINE) -- $(BIN)/python docker/success_test.py --engine $(ENGINE) $(OPTIONS)

test: lint site ## what CI runs: lint, types, import rules, the documentation's links, then unit, property and integration tests
	$(SETUP) run --programs -- $(BIN)/python tests/side_by_side.py

fmt: ## format the code
	$(SETUP) dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: ## formatting, ruff, mypy, import rules
	$(SETUP) dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: ## unit and property tests: seconds, without root, CRIU or Docker (K=expression chooses)
	$(SETUP) dev
	$(PYTEST) tests/unit tests/property $(if $(K),-k "$(K)")

integration: ## tests with real engines, and real CRIU in real containers (K=expression chooses)
	$(SETUP) run --programs -- $(PYTEST) tests/integration $(if $(K),-k "$(K)")

storm: ## storms against real engines at full length (ENGINE=tiny|vllm): all of them, or NAME="burst flood"; OPTIONS=--short as in make test
	$(SETUP) run --engine $(ENGINE) -- env PYTHONPATH=docker:tests:.cache/pycriu $(BIN)/python -m storms --engine $(ENGINE) $(OPTIONS) $(NAME)

gpu-check: ## what this machine's NVIDIA GPU can prove, and a table of it (OPTIONS="--json FILE"); without a GPU it ends with 5
	PYTHONPATH=docker $(PYTHON) -m gpu_check $(OPTIONS)

site: ## the documentation as a site in .cache/site; a link to nowhere is an error
	$(SETUP) dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build

coverage: ## docs/coverage.md anew, from the rows in tests/demands/ and the tests that prove them
	$(SETUP) dev
	$(PYTEST) --collect-only --quiet --coverage-table=docs/coverage.md

configuration: ## docs/configuration.md anew, from the types that read the configuration
	$(SETUP) dev
	$(BIN)/python tests/configuration_page.py

metrics: ## docs/metrics.md anew, from the catalogue of figures
	$(SETUP) dev
	$(BIN)/python tests/metrics_page.py

states: ## docs/states.md anew, from the machine of a replica
	$(SETUP) dev
	$(BIN)/python tests/states_page.py

scheduling: ## docs/scheduling.md's tables and picture anew, and the bound of the policy fair on 10,000 random traces (minutes)
	$(SETUP) dev
	$(BIN)/python tests/benchmarks/scheduling_page.py
	$(BIN)/python tests/benchmarks/fair_bound.py 10000

bench: ## what we promise to be quick: show and graph (scale), sparse files (sparse), imports (imports); or ROW=proxy and ROW=streams, llmux beside other proxies
	$(SETUP) dev
	$(foreach row,$(or $(ROW),scale sparse imports),PYTHONPATH=.cache/pycriu $(BIN)/python tests/benchmarks/$(row).py &&) true

lock: ## resolve the dependencies anew into requirements.lock and docker/requirements.lock
	$(SETUP) lock

clean: ## remove everything that the other targets made
	$(SETUP) clean
