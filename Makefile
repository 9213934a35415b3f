# Everything a newcomer needs: `make demo` shows the main job, `make test` runs every check.
# Both use the versions in constraints.txt, with which all checks are known to pass.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python tools/install.py $(VENV)/install.log --constraint constraints.txt

.PHONY: demo test lint unit lock table clean

demo: $(VENV)/.installed
	$(BIN)/manyviews demo --out runs/demo

test: lint unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q

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
	$(BIN)/python bench/methods.py --minutes 10

clean:
	rm -rf $(VENV) build dist
