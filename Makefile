# Every target sets up its own .venv when that is missing: Python >= 3.11, make and a C++ compiler are all it takes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test clients proto ops check lint bench wheel wheel-test sanitize lock lowest clean help foreign

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# Tests run two at a time, but for those that measure time or memory: these have the machine to themselves.
BESIDE := -m "not alone" -n 2 --dist worksteal

KERNEL := $(wildcard kernel/CMakeLists.txt kernel/src/*)

$(VENV)/.ready: pyproject.toml requirements/dev.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: $(VENV)/.ready  ## real retail data to a served model, then curl lines to try; ONCE=1 ends by itself
	$(BIN)/mlrf demo $(if $(ONCE),--once)

test: $(VENV)/.ready $(VENV)-clients/.ready  ## all tests
	$(BIN)/python -m pytest $(BESIDE)
	$(BIN)/python -m pytest -m alone

lint: $(VENV)/.ready  ## style, types and the direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

ops: $(VENV)/.ready  ## what a server must survive, with figures, bars and planted faults; ROWS="1 12" for some, SOAK_MINUTES=60
	$(BIN)/python ops/run.py $(ROWS)
	$(if $(ROWS),,OPS_FULL=1 $(BIN)/python -m pytest tests/ops -q -s --timeout 900)

check: lint test  ## everything that must hold before a commit lands

clients: $(VENV)-clients/.ready  ## the clients of the Open Inference Protocol, for tests/clients

# An environment of its own: kserve wants older versions of pandas and protobuf than we are tested with.
$(VENV)-clients/.ready: requirements/clients.txt
	$(PYTHON) -m venv $(VENV)-clients
	$(VENV)-clients/bin/python -m pip install --quiet --requirement requirements/clients.txt
	@touch $@

proto: $(VENV)-clients/.ready  ## the descriptors of gRPC's messages, from src/mlrf/serving/oip/grpc/*.proto
	cd src/mlrf/serving/oip/grpc && $(abspath $(VENV)-clients/bin)/python -m grpc_tools.protoc -I . --descriptor_set_out=descriptors.binpb *.proto

parity: $(VENV)/.ready  ## docs/parity.md: every kind of model beside its library (minutes); RANDOM=5000 asks random models instead
	OMP_NUM_THREADS=1 PYTHONPATH=tests:tests/parity $(BIN)/python tests/parity/matrix.py $(if $(RANDOM),--random $(RANDOM))

foreign: $(VENV)/.ready  ## models that strangers ship in packages of their own, fetched by name and built (minutes)
	FOREIGN=1 $(BIN)/python -m pytest tests/foreign -q -v

mutated: $(VENV)/.ready  ## 5,000 damaged model files of every library: refused or read, no crash, none over 10 s (minutes)
	OMP_NUM_THREADS=1 PYTHONPATH=tests:tests/parity $(BIN)/python tests/parity/mutated_files.py $(or $(COUNT),5000)

mutated-messages: $(VENV)/.ready  ## 10,000 damaged messages of the Open Inference Protocol over each of REST and gRPC: refused or answered
	PYTHONPATH=tests $(BIN)/python tests/mutated_messages.py $(or $(COUNT),10000)

bench: $(VENV)/.ready  ## speed and memory beside a FastAPI peer, in one run (needs wrk)
	$(BIN)/python benchmarks/run.py

# auditwheel names the oldest C library that the wheel runs on (here: manylinux_2_34, glibc 2.34); nothing is bundled, for the
# kernel needs the C and C++ libraries alone.
wheel: $(VENV)/.ready  ## dist/*.whl for this Python and platform
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist/built
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/built/*.whl
	rm -rf dist/built

wheel-test: wheel  ## the wheel in an environment of its own, without a compiler
	PYTHONPATH=tests $(BIN)/python tests/ops/installed_wheel.py dist/*.whl

sanitize: $(VENV)/.ready  ## the kernel's own tests and 10,000 damaged files under ASan and UBSan (some minutes)
	$(MAKE) -C kernel sanitize PYTHON=$(abspath $(BIN)/python) CMAKE=$(abspath $(BIN)/cmake)

lowest: $(VENV)-lowest/.ready  ## the tests again, on the lowest versions that pyproject.toml allows
	$(VENV)-lowest/bin/python -m pytest $(BESIDE) tests/unit tests/parity tests/wire
	$(VENV)-lowest/bin/python -m pytest -m alone tests/wire

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
	  --no-emit-package mlrf --extra build --extra demo --extra redis --extra otel --extra grpc --group dev --output-file requirements/dev.txt pyproject.toml --upgrade
	$(VENV)-lock/bin/uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --no-annotate \
	  --no-emit-index-url --no-emit-find-links --no-emit-package mlrf --extra build --extra demo --extra redis --extra otel --extra grpc --group dev --output-file requirements/lowest.txt \
	  pyproject.toml --upgrade

clean:  ## remove what the targets above made
	rm -rf $(VENV) $(VENV)-clients $(VENV)-lowest $(VENV)-lock build dist
