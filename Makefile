# `make` lists the commands. A Python from 3.11 to 3.13 is all that must be there; everything else goes into .venv.
# Options of a command go through ARGS: make run ARGS="--smoke", make test ARGS="tests/test_warp.py".

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
FIND_PYTHON = for name in python3 python3.13 python3.12 python3.11 python; do \
	if "$$name" -c "$(SUPPORTED)" 2>/dev/null; then echo "$$name"; break; fi; done
PYTHON ?= $(shell $(FIND_PYTHON))

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test supported lint format types docs bench clean

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

$(VENV)/.made:
	@"$(PYTHON)" -c "$(SUPPORTED)" 2>/dev/null || { \
	  echo "tfinv needs Python 3.11, 3.12 or 3.13, found none. Received: PYTHON='$(PYTHON)', $$(python3 --version 2>&1)" >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "python -m venv failed; on Debian and Ubuntu it is the package python3-venv." >&2; exit 1; }
	@touch $@

# The stamps make a second run instant; a changed pyproject.toml installs again.
$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[tfmot]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[tfmot,dev,docs]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[tfmot,dev,docs,bench]"
	@touch $@

install: $(VENV)/.installed  ## make .venv and install tfinv into it, editable

install-dev: $(VENV)/.installed-dev

run: $(VENV)/.installed  ## the main job: train, measure, quantize, report (runs/quickstart/report.html)
	$(BIN)/python -m tfinv.run $(ARGS)

test: $(VENV)/.installed-dev  ## the quick tests (make test ARGS="-m slow" runs the slow ones, "-m long" the longest)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

supported: $(VENV)/.installed-dev  ## the wheel, other Pythons and the lowest versions (make supported ARGS="3.12")
	bash .ci/supported $(ARGS)

lint: $(VENV)/.installed-dev  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## mend style and format where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Installed, tflite/ and experiments/ are sub-packages of tfinv; the links show the type checker the same.
types: $(VENV)/.installed-dev  ## check types
	@mkdir -p build/typecheck/tfinv
	@ln -sfn ../../../tflite ../../../experiments ../../../tfinv/__init__.py build/typecheck/tfinv/
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.installed-dev  ## build the documentation into site/ (to read it: python -m http.server -d site)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.installed-bench  ## run the benchmarks, a quarter of an hour (benchmarks/results.json)
	@ls benchmarks/*.py >/dev/null 2>&1 || { echo "no benchmarks yet"; exit 1; }
	@set -e; for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" $(ARGS); done
	$(BIN)/python benchmarks/growth_figure.py

clean:  ## remove .venv and everything built; runs/ stays
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
