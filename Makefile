# make demo   exports the packaged sample model for android-arm64 and proves the bundle
# make test   runs all tests, the slow ones last
# make lint   ruff, mypy and import-linter
# make clean  removes what these made
#
# Tests run in as many processes as there are cores, four at most: make test WORKERS= runs them in one.
# PYTHON names the interpreter to make .venv with (3.11 or later): make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
TORCH := torch==2.13.0
# How the tests are shared out is said in tests/conftest.py.
WORKERS ?= --numprocesses auto --maxprocesses 4

.PHONY: help demo test lint clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed
	@echo "Exporting the packaged sample for android-arm64, and proving the bundle"
	@$(BIN)/gemcut export --target android-arm64 --force
	@echo "gemcut itself is $(BIN)/gemcut: source $(BIN)/activate puts it on the path"

test: $(VENV)/.installed-tests
	@echo "Running the fast tests"
	@$(BIN)/python -m pytest $(WORKERS) -m "not slow"
	@echo "Running the slow tests"
	@$(BIN)/python -m pytest $(WORKERS) -m slow

lint: $(VENV)/.installed-tests
	@echo "ruff check"
	@$(BIN)/ruff check .
	@echo "ruff format --check"
	@$(BIN)/ruff format --check --quiet exporter tests docs
	@echo "mypy"
	@$(BIN)/mypy
	@echo "import-linter"
	@$(BIN)/lint-imports

clean:
	rm -rf $(VENV) bundles build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are made last, and anew when pyproject.toml changes: a second run installs nothing.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: Python 3.11 or later is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)"; \
	  echo "hint: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12 names another"; exit 1; } >&2
	@echo "Making a virtual environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || { \
	  echo "hint: on Debian and Ubuntu, venv is a package of its own: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	@echo "Installing $(TORCH) (a few minutes the first time)"
	@$(PIP) '$(TORCH)'
	@echo "Installing gemcut, ExecuTorch and LiteRT"
	@$(PIP) --editable '.[executorch,litert,report]'
	@touch $@

$(VENV)/.installed-tests: pyproject.toml $(VENV)/.installed
	@echo "Installing what the tests need"
	@$(PIP) --editable '.[executorch,litert,test,lint]'
	@touch $@
