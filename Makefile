# Every target sets up its own .venv when that is missing: Python >= 3.11, make and a C++ compiler are all it takes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check lint bench lock lowest clean help

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

KERNEL := $(wildcard kernel/CMakeLists.txt kernel/src/*)

$(VENV)/.ready: pyproject.toml requirements/dev.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: $(VENV)/.ready  ## real retail data to a served model, then curl lines to try; ONCE=1 ends by itself
	$(BIN)/mlrf demo $(if $(ONCE),--once)

test: $(VENV)/.ready  ## all tests
	$(BIN)/python -m pytest

lint: $(VENV)/.ready  ## style, types and the direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## everything that must hold before a commit lands

bench: $(VENV)/.ready  ## speed and memory beside a FastAPI peer, in one run (needs wrk)
	$(BIN)/python benchmarks/run.py

lowest: $(VENV)-lowest/.ready  ## the tests again, on the lowest versions that pyproject.toml allows
	$(VENV)-lowest/bin/python -m pytest tests/unit tests/parity tests/wire

$(VENV)-lowest/.ready: pyproject.toml requirements/lowest.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-lowest/bin/python -m pip install --quiet --requirement requirements/lowest.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

lock:  ## write requirements/*.txt anew from pyproject.toml
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --no-annotate --no-emit-index-url --no-emit-find-links \
	  --no-emit-package mlrf --extra build --extra demo --group dev --output-file requirements/dev.txt pyproject.toml --upgrade
	$(VENV)-lock/bin/uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --no-annotate \
	  --no-emit-index-url --no-emit-find-links --no-emit-package mlrf --extra build --extra demo --group dev --output-file requirements/lowest.txt \
	  pyproject.toml --upgrade

clean:  ## remove what the targets above made
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-lock
