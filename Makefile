# make run    set up once, then the main job: one image through the whole accelerator, and a report
# make test   set up once, then all tests
# make lint   format, style and types        make clean   what was made here (keep .venv: make clean-venv removes it)

PYTHON ?= python3
JOBS ?= 2
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test lint setup clean clean-venv
.DEFAULT_GOAL := run

setup: $(STAMP)

run: $(STAMP)
	$(BIN)/moesaic run $(or $(ARGS),--task all)

test: $(STAMP)
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt setup.sh
	PYTHON="$(PYTHON)" sh setup.sh $(VENV)
	@touch $@

clean:
	rm -rf out build sim_build .pytest_cache .mypy_cache .ruff_cache moesaic.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-venv:
	rm -rf $(VENV)
