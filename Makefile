# Everything a newcomer needs: `make demo` shows the main job, `make test` runs every check.
# Both use the versions in constraints.txt, with which all checks are known to pass.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python tools/install.py $(VENV)/install.log --constraint constraints.txt

.PHONY: demo test lint unit docs lock table clean

demo: $(VENV)/.installed
	$(BIN)/manyviews demo --out runs/demo

test: lint unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# A fault of the machine fails hundreds of tests, some after minutes of waiting: twenty tell as much.
unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --maxfail 20

# The documentation as a site, in build/site; what mkdocs warns of is an error (but not with --quiet,
# which keeps warnings from --strict as well).
docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet 'mkdocs-material>=9.6,<10'
	$(BIN)/python tools/site_pages.py
	$(BIN)/python -m mkdocs build --strict --config-file build/mkdocs.yml

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/.installed
	$(INSTALL) --editable '.[dev]'
	touch $@

# The newest versions of everything, in an environment of their own; commit it when `make test` passes.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python tools/install.py build/lock/install.log --editable '.[dev]'
	head -1 constraints.txt > build/lock/head
	build/lock/bin/python -m pip freeze --exclude-editable | grep -Eiv '^(nvidia|cuda|triton)' \
		| cat build/lock/head - > constraints.txt

table: $(VENV)/.installed
	$(BIN)/python bench/methods.py

clean:
	rm -rf $(VENV) build dist
