# One command for everything; `make` alone lists them. Each step is skipped when nothing it depends on has changed.
# Needed: make and Python >= 3.11. Everything else goes into .venv by plain pip, as wheels (but two for test-system).

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
PYTEST := $(BIN)/python -m pytest
# Processes of the test run, and more arguments for pytest: make test JOBS=4 ARGS="-x tests/unit"
JOBS ?= 2
ARGS ?=

# Without compiled files each start of Python reads all sources again: several times slower.
unexport PYTHONDONTWRITEBYTECODE
# pip and the tests run inside .venv alone, whatever environment is active outside.
unexport PYTHONHOME
unexport PYTHONPATH
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo test quick test-system screenshots container lint types imports check fmt bench docs-check clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: $(VENV)/.runtime  ## install into .venv and show what it does, on real findings, in half a minute
	@$(BIN)/backlog demo

test: lint types  ## lint, types, and every test that needs neither root, Debian packages nor a browser
	$(PYTEST) -q -n $(JOBS) --dist worksteal $(ARGS)

quick: lint types  ## the part of `make test` that takes a few minutes: no random programs, kills and outages
	$(PYTEST) -q -n $(JOBS) --dist worksteal -m 'not long' $(ARGS)

test-system: $(VENV)/.system  ## tests that need root or Debian packages; installs those, fails where it cannot
	@./scripts/system-tools
	root=$$(./scripts/as-root) && $$root $(PYTEST) -q -p no:cacheprovider $(ARGS) tests/system

screenshots: $(VENV)/.system  ## a picture of every page, light and dark, wide and narrow, in build/screenshots
	@./scripts/system-tools
	$(BIN)/python scripts/screenshots.py

container:  ## build deploy/Containerfile and run it, on Debian's Python; needs root, installs what is missing
	./scripts/container-check

lint: $(VENV)/.dev  ## style, likely mistakes and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet

types: $(VENV)/.dev  ## types, strictly
	$(BIN)/mypy

imports: $(VENV)/.dev  ## imports point downwards only
	$(BIN)/lint-imports --no-logo

check: test docs-check  ## everything that a change must pass

fmt: $(VENV)/.dev  ## format the code and mend what can be mended safely
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.dev  ## measure against floors taken in the same run
	$(BIN)/python -m bench $(ARGS)

docs-check: $(VENV)/.dev  ## what the documentation says, tried out
	$(PYTEST) -q $(ARGS) tests/docs
	$(BIN)/towncrier build --draft --version next >$(VENV)/changelog.md

clean:  ## remove the environment and what tools left behind
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	python=$$(./scripts/find-python) && "$$python" -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(PIP) install --only-binary :all: --editable .
	@touch $@

# Groups need pip 25.1; what comes with Python 3.11 is older.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) install --only-binary :all: --upgrade 'pip>=25.1'
	$(PIP) install --only-binary :all: --editable '.[calendars,oidc,postgres,server]' --group dev
	@touch $@ $(VENV)/.runtime

# Patroni needs two small packages, of Python alone, that nobody publishes as wheels.
$(VENV)/.system: $(VENV)/.dev
	$(PIP) install --only-binary :all: --no-binary ydiff,python-etcd --group system
	@touch $@
