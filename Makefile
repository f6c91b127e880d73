# Targets and their one-line descriptions: what `make help` prints.

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help run test docs lint setup clean clean-venv
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## virtual environment with the pinned dependencies

run: $(STAMP)  ## set up once, then one image through the whole accelerator, and a report (ARGS="--task all")
	$(BIN)/moesaic run $(or $(ARGS),--task all)

test: $(STAMP)  ## set up once, then all tests (ARGS="tests/compiler", JOBS=2)
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

docs: $(STAMP)  ## the documentation as a site: build/docs/index.html
	$(BIN)/sphinx-build -q -W --keep-going docs build/docs

lint: $(STAMP)  ## format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt setup.sh
	PYTHON="$(PYTHON)" sh setup.sh $(VENV)
	@touch $@

clean:  ## remove what was made here, but for the virtual environment
	rm -rf out build sim_build .pytest_cache .mypy_cache .ruff_cache moesaic.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-venv:  ## remove the virtual environment
	rm -rf $(VENV)
