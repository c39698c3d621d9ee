# Every verb is one line that also works by hand. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test test-busy test-pythons test-system faults faults-long bugs models mutants check lint types audit bench bench-peers bench-guard bench-plot lock clean

# The newest Python that really runs (a version manager's shim may exist and refuse) and can make a venv.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1 && echo $$p && break; done)

COMPILE := .venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.run  ## provision example projects on a real database, with a live view
	.venv/bin/jobplane demo

test: .venv/.test  ## run the whole suite (DATABASE_URL, else an embedded server)
	.venv/bin/pytest -n 2 --dist loadscope --ignore tests/faults

test-busy: .venv/.test  ## the same while twice as many processes as there are cores keep them busy: nothing may depend on an idle machine
	.venv/bin/python tools/busy.py .venv/bin/pytest -n 2 --dist loadscope --ignore tests/faults

test-pythons:  ## run the suite's core on every Python from 3.11 to 3.14 that is found here, each in an environment of its own
	$(PYTHON) tools/pythons.py

test-system: .venv/.test  ## run what depends on the server on the newest PostgreSQL of the system, where one is installed
	JOBPLANE_TEST_BIN_DIR=$$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1) .venv/bin/pytest -n 2 --dist loadscope $(addprefix tests/,client plans scenarios security seed store worker)

faults: .venv/.test  ## break everything on purpose and check the promises: the short profile (SEED=n repeats a run)
	$(if $(SEED),JOBPLANE_FAULTS_SEED=$(SEED)) .venv/bin/pytest tests/faults

faults-long: .venv/.test  ## the same for hours, with more of everything (SEED=n repeats a run)
	JOBPLANE_FAULTS_PROFILE=long $(if $(SEED),JOBPLANE_FAULTS_SEED=$(SEED)) .venv/bin/pytest tests/faults --timeout 7200

bugs: .venv/.test  ## plant bugs that queues really had, one by one, and show that the fault suite catches each
	.venv/bin/python -m tests.faults.bite

models: .venv/.test  ## the queue against a plain model, every two operations interleaved, and spin (JOBPLANE_FAULTS_PROFILE=long)
	.venv/bin/pytest tests/models

mutants: .venv/.test  ## break the statements and the state machine in small ways: the tests must notice (prints the survivors)
	.venv/bin/python -m tests.mutants

check: lint types  ## everything but the tests: lint, types, layers, schema, reference, and the tests that need a developer's tools
	.venv/bin/lint-imports --no-logo
	.venv/bin/python tools/dump_schema.py --check
	.venv/bin/python tools/write_reference.py --check
	.venv/bin/pytest -q -m developer tests/security tests/typing

lint: .venv/.dev  ## ruff: rules and format
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/.dev  ## mypy --strict
	.venv/bin/mypy

audit: .venv/.dev  ## requirements pinned and hashed, without known weaknesses; dist/sbom.json
	.venv/bin/python tools/audit.py --sbom dist/sbom.json

bench: .venv/.test  ## measure enqueue, drain and pick-up beside raw SQL
	.venv/bin/python -m bench

bench-peers: .venv/.test  ## measure every phase beside the other queues (first: python -m bench.harness.install all)
	.venv/bin/python -m bench --peers

bench-plot: bench/.envs/plot/.ready  ## draw the pictures of docs/performance.md (RESULTS="file.json ..." of bench-peers)
	bench/.envs/plot/bin/python -m bench.plot $(RESULTS)

bench-guard: .venv/.test  ## fail where drain falls below half of what bare SQL reaches beside it
	.venv/bin/python -m bench --phase drain --at-least drain=0.5

lock: .venv/.dev  ## recompile requirements/*.txt from pyproject.toml (UPGRADE=--upgrade for newer versions)
	$(COMPILE) $(UPGRADE) pyproject.toml --all-extras --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --all-extras --group test --constraint requirements/dev.txt --output-file requirements/test.txt
	$(COMPILE) pyproject.toml --extra cli --extra embedded --group build --constraint requirements/dev.txt --output-file requirements/run.txt
	$(COMPILE) $(UPGRADE) --group plot --output-file requirements/plot.txt

clean:  ## remove the environment and everything generated
	rm -rf .venv .pythons build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Three layers of one environment: what `make demo` runs, what `make test` adds, what only developers need. The
# first use of each downloads it, and pip says what it is at.
.venv/.run: requirements/run.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "jobplane needs Python 3.11 or newer with its venv module (Debian, Ubuntu: apt install python3-venv). Name yours: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/run.txt
	.venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.test: .venv/.run requirements/test.txt
	.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

.venv/.dev: .venv/.test requirements/dev.txt
	.venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

bench/.envs/plot/.ready: requirements/plot.txt
	$(PYTHON) -m venv bench/.envs/plot
	bench/.envs/plot/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements/plot.txt
	@touch $@
