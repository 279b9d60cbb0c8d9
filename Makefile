# make demo        exports the packaged sample model for android-arm64 and proves the bundle
# make test        runs all tests but those of real sizes, and prints what they cover: make test COVERAGE= does without
# make test-quick  runs in three minutes what needs no export, or one that an earlier run kept
# make test-all    runs those of real sizes too: gigabytes on the disk, and half an hour more
# make lint        formatter, linter, types and import contracts
# make mutations   takes gates and refusals out of a copy, one by one, and shows that tests notice
# make clean       removes what these made
#
# Tests run in as many processes as there are cores, four at most: make test WORKERS= runs them in one, and
# make test TESTS=tests/unit some of them.
# PYTHON names the interpreter to make .venv with (3.11 or later): make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Not compiled: Python does that for what is imported, a small part of what is installed.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile
TORCH := torch==2.13.0
# How the tests are shared out is said in tests/conftest.py.
WORKERS ?= --numprocesses auto --maxprocesses 4

# Empty: nothing is measured.
COVERAGE ?= yes
# What needs no program to be built, but for those of exports that are kept.
QUICK := tests/unit $(addprefix tests/integration/,ci cli diff project report test_budgets.py)

.PHONY: help demo test test-exports test-quick test-all lint mutations clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed
	@echo "Exporting the packaged sample for android-arm64, and proving the bundle"
	@$(BIN)/gemcut export --target android-arm64 --force
	@echo "gemcut itself is $(BIN)/gemcut: source $(BIN)/activate puts it on the path"

test: $(VENV)/.installed-tests
	@echo "Running the tests"
	@$(BIN)/python -m $(if $(COVERAGE),tests.coverage_table,pytest) $(WORKERS) -m "not large" $(TESTS)

test-exports: $(VENV)/.installed-tests
	@echo "Making the exports that several tests read"
	@$(BIN)/python -m pytest $(WORKERS) tests/e2e/export/test_export_sample.py

test-quick: $(VENV)/.installed-tests
	@echo "Running the quick tests"
	@GEMCUT_TEST_EXPORTS=kept $(BIN)/python -m pytest $(WORKERS) -m "not large" $(QUICK)

test-all: $(VENV)/.installed-tests
	@echo "Running all tests"
	@$(BIN)/python -m pytest $(WORKERS)

mutations: $(VENV)/.installed-tests
	@$(BIN)/python -m tests.mutations

lint: $(VENV)/.installed-tests
	@echo "ruff format --check"
	@$(BIN)/ruff format --check --quiet exporter tests docs
	@echo "ruff check"
	@$(BIN)/ruff check .
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
