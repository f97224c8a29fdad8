# kuramori: `make demo` shows it at work, `make test` proves it. Both install what they need.

SHELL := /bin/bash
PYTHON := venv/bin/python

.PHONY: help demo test test-all lint bench catalogue clean

help:
	@echo "make demo       back up, change, back up again, restore and prove it, on a sample planter"
	@echo "make test       install what the tests need, check the style, run the everyday tests (a quarter of an hour)"
	@echo "make test-all   the same with everything that CI runs: every point of the crash matrices (50 minutes)"
	@echo "make lint       style, types and layers only"
	@echo "make bench      side by side with restic and borg (ROWS=small for two minutes; usual, growth, maintenance, sqlite, pi, remote)"
	@echo "make catalogue  compile the translations after editing a .po file"
	@echo "make clean      remove what these made"

venv/.installed: pyproject.toml tools/make_venv.sh
	@tools/make_venv.sh
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

venv/.installed-test: venv/.installed
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@

demo: venv/.installed
	@$(PYTHON) demo/planter_demo.py

# A quarter of the time tests wait: three processes take a sixth less on two processors.
TEST_PROCESSES ?= 2

test: venv/.installed-test
	@tools/install_test_programs.sh
	@$(MAKE) --no-print-directory lint
	@$(PYTHON) -m pytest -n $(TEST_PROCESSES) --dist worksteal -q $(PYTEST_OPTIONS)

test-all:
	@$(MAKE) --no-print-directory test PYTEST_OPTIONS=--exhaustive

lint: venv/.installed-test
	@$(PYTHON) -m ruff check src tests demo benchmarks tools
	@$(PYTHON) -m mypy
	@$(PYTHON) -m mypy benchmarks/*.py
	@venv/bin/lint-imports
	@$(PYTHON) tools/catalogue.py check
	@$(PYTHON) tools/check_sizes.py

bench: venv/.installed-test
	@tools/install_test_programs.sh
	@tools/install_peers.sh
	@$(PYTHON) benchmarks/$(if $(filter maintenance remote sqlite pi,$(ROWS)),$(ROWS)_rows.py,run.py $(if $(ROWS),--rows $(ROWS)))
	@$(if $(ROWS),,$(PYTHON) benchmarks/sqlite_rows.py && $(PYTHON) benchmarks/maintenance_rows.py)

catalogue: venv/.installed-test
	@$(PYTHON) tools/catalogue.py update
	@$(PYTHON) tools/catalogue.py compile

clean:
	rm -rf venv .tools demo/output benchmarks/work build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
