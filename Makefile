# Every verb is one line that also works by hand. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test test-system faults faults-long bugs models mutants check lint types audit bench bench-peers bench-guard bench-plot lock clean

# The newest Python that really runs (a version manager's shim may exist and refuse) and can make a venv.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1 && echo $$p && break; done)

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.ready  ## provision example projects on a real database, with a live view
	.venv/bin/jobplane demo

test: .venv/.ready  ## run the whole suite (DATABASE_URL, else an embedded server)
	.venv/bin/pytest -n 2 --dist loadscope --ignore tests/faults

test-system: .venv/.ready  ## run what depends on the server on the newest PostgreSQL of the system, where one is installed
	JOBPLANE_TEST_BIN_DIR=$$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1) .venv/bin/pytest -n 2 --dist loadscope $(addprefix tests/,client plans scenarios security seed store worker)

faults: .venv/.ready  ## break everything on purpose and check the promises: the short profile (SEED=n repeats a run)
	$(if $(SEED),JOBPLANE_FAULTS_SEED=$(SEED)) .venv/bin/pytest tests/faults

faults-long: .venv/.ready  ## the same for hours, with more of everything (SEED=n repeats a run)
	JOBPLANE_FAULTS_PROFILE=long $(if $(SEED),JOBPLANE_FAULTS_SEED=$(SEED)) .venv/bin/pytest tests/faults --timeout 7200

bugs: .venv/.ready  ## plant 15 bugs that queues really had, one by one, and show that the fault suite catches each
	.venv/bin/python -m tests.faults.bite

models: .venv/.ready  ## the queue against a plain model, every two operations interleaved, and spin (JOBPLANE_FAULTS_PROFILE=long)
	.venv/bin/pytest tests/models

mutants: .venv/.ready  ## break the statements and the state machine in small ways: the tests must notice (prints the survivors)
	.venv/bin/python -m tests.mutants

check: lint types  ## everything but the tests: lint, types, layers, schema
	.venv/bin/lint-imports --no-logo
	.venv/bin/python tools/dump_schema.py --check
	.venv/bin/python tools/write_reference.py --check

lint: .venv/.ready  ## ruff: rules and format
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/.ready  ## mypy --strict
	.venv/bin/mypy

audit: .venv/.ready  ## requirements pinned and hashed, without known weaknesses; dist/sbom.json
	.venv/bin/python tools/audit.py --sbom dist/sbom.json

bench: .venv/.ready  ## measure enqueue, drain and pick-up beside raw SQL
	.venv/bin/python -m bench

bench-peers: .venv/.ready  ## measure every phase beside the other queues (first: python -m bench.harness.install all)
	.venv/bin/python -m bench --peers

bench-plot: bench/.envs/plot/.ready  ## draw the pictures of docs/performance.md (RESULTS="file.json ..." of bench-peers)
	bench/.envs/plot/bin/python -m bench.plot $(RESULTS)

bench-guard: .venv/.ready  ## fail where drain falls below half of what bare SQL reaches beside it
	.venv/bin/python -m bench --phase drain --at-least drain=0.5

lock: .venv/.ready  ## recompile requirements/dev.txt from pyproject.toml (UPGRADE=--upgrade for newer versions)
	.venv/bin/uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(UPGRADE) --quiet --output-file requirements/dev.txt
	.venv/bin/uv pip compile --group plot --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(UPGRADE) --quiet --output-file requirements/plot.txt

clean:  ## remove the environment and everything generated
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.ready: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "jobplane needs Python 3.11 or newer with its venv module (Debian, Ubuntu: apt install python3-venv). Name yours: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

bench/.envs/plot/.ready: requirements/plot.txt
	$(PYTHON) -m venv bench/.envs/plot
	bench/.envs/plot/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/plot.txt
	@touch $@
