PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
API ?= facturapi
EXAMPLES ?= 3000

VENV := .venv
DEMO_VENV := .venv-demo
BENCH_VENV := .venv-bench
# With every extra. A name, as its commas would each end an argument of a call.
WHOLE := .[redis,cli,prometheus,otel]
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
WHEEL := dist/ratelimit_asgi-$(VERSION)-py3-none-any.whl
SOURCES := pyproject.toml README.md LICENSE $(sort $(shell find ratelimit -name __pycache__ -prune -o -type f -print))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # make -j test proofs: what is timed is alone
.PHONY: help demo serve test proofs fuzz mutants faults accounts soak guard bench lint wheel clean FORCE

help: ## explain the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_VENV)/ready ## drive four example APIs past their limits; on Redis if RATELIMIT_STORE_URL says so
	$(DEMO_VENV)/bin/python -m examples.demo

serve: $(DEMO_VENV)/ready ## serve an example: make serve API=facturapi (or lightspeed, lendworks, completions)
	$(DEMO_VENV)/bin/python -m examples.serve $(API)

# Safe path: python would otherwise look into this folder first, and the tests would not see a file that the wheel lacks.
test proofs: export PYTHONSAFEPATH := 1
test proofs: export RATELIMIT_TEST_WHEEL := 1
test proofs: export PYTHONDONTWRITEBYTECODE := # to compile the tests takes longer than to import them, in each process
# Two processes, each with servers of its own; a file is run by one of them.
test: $(VENV)/wheel ## run the tests on the installed wheel, in two processes, in five to six minutes; below 100 % of branches it fails
	rm -f .coverage .coverage.*
	$(VENV)/bin/python -m coverage run -m pytest -m "not proof" --numprocesses 2 --max-worker-restart 0 --dist loadfile \
	  --no-loadscope-reorder
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report

# Unwatched: each line has a test in `make test`. First what only takes long; what is timed is alone on the machine.
proofs: $(VENV)/wheel $(VENV)/oldest/ready ## what is slow by its nature: faults, outages, four processes, a soak, many seeds
	$(VENV)/bin/python -m pytest -m "proof and repeated" --numprocesses 2 --max-worker-restart 0 --dist worksteal
	$(VENV)/bin/python -m pytest -m "proof and not repeated" -p no:xdist

fuzz: export PYTHONSAFEPATH := 1
fuzz: $(VENV)/wheel ## try hostile input at random, for some minutes: make fuzz EXAMPLES=50000; SEED=7 is the same again
	@seed=$${SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')} && echo "make fuzz EXAMPLES=$(EXAMPLES) SEED=$$seed" && \
	RATELIMIT_FUZZ_EXAMPLES=$(EXAMPLES) RATELIMIT_FUZZ_SEED=$$seed \
	  $(VENV)/bin/python -m pytest --capture=no --hypothesis-seed=$$seed tests/fuzz

# On the sources, not on the wheel; so are the next three.
mutants: $(VENV)/ready ## put small faults into the core, a sample of them, and tell of those that no test sees: make mutants ARGS="--all"
	PYTHONPATH=. $(VENV)/bin/python -m tests.mutants $(ARGS)

faults: $(VENV)/ready ## do every fault to real servers and write docs/faults.md, in two minutes on an idle machine
	RATELIMIT_FAULTS=1 PYTHONPATH=. $(VENV)/bin/python -m pytest tests/faults/test_matrix.py

accounts: $(VENV)/ready ## 10,000 requests by four processes while Redis goes away 20 times: was each charged once?
	RATELIMIT_FULL=1 PYTHONPATH=. $(VENV)/bin/python -m pytest -rP tests/faults/test_accounting.py

soak: $(VENV)/ready ## ten minutes of mixed faults, and what has grown: make soak ARGS="--minutes 1 --seed 7"
	PYTHONPATH=. $(VENV)/bin/python -m tests.soak $(ARGS)

guard: $(BENCH_VENV)/ready ## count the bytecodes of a request against those on record: make guard ARGS="--record 'why'"
	$(BENCH_VENV)/bin/python -m benchmarks.guard $(ARGS)

bench: $(BENCH_VENV)/ready ## measure and compare with the peers, in 20 minutes: make bench ARGS="--all", or ARGS="--only flood"; needs wrk
	$(BENCH_VENV)/bin/python -m benchmarks $(ARGS)

lint: $(VENV)/ready ## ruff, mypy, a user's app under mypy and pyright, luacheck on the scripts, docker-compose.yml by its schema
	$(VENV)/bin/python -m ruff check
	$(VENV)/bin/python -m ruff format --check
	$(VENV)/bin/python -m mypy
	$(VENV)/bin/python -m mypy --strict tests/packaging/a_users_app.py
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@command -v luacheck >/dev/null || { echo >&2 "no luacheck on the PATH (Debian: apt-get install lua-check)"; \
	  test -z "$$CI"; exit; }; \
	for script in $(basename $(notdir $(wildcard ratelimit/stores/lua/*.lua))); do \
	  text=$$(PYTHONPATH=. $(VENV)/bin/python -m ratelimit.stores.lua $$script) && \
	  printf '%s\n' "$$text" | luacheck --filename $$script.lua - || exit 1; done

wheel: $(WHEEL) ## build the wheel into dist/

clean: ## remove everything that these targets made
	rm -rf $(VENV) $(DEMO_VENV) $(BENCH_VENV) benchmarks/.venvs dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find ratelimit tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

# A virtualenv $(1) with $(2) installed. pip before 25.1 can't read dependency groups.
define virtualenv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo >&2 \
	  "Python 3.11 or newer is needed, and $(PYTHON) is not that: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	rm -rf $(1)
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(1)/bin/python -m pip install --quiet $(2)
endef

# Examples and tests are found from here, but after the installed package: four folders above site-packages.
$(VENV)/ready: pyproject.toml
	$(call virtualenv,$(VENV),"$(WHOLE)" --group test --group lint)
	cd $(VENV)/lib/python3*/site-packages && echo ../../../.. > repository.pth
	touch $@

$(DEMO_VENV)/ready: pyproject.toml
	$(call virtualenv,$(DEMO_VENV),--editable ".[redis]" --group demo)
	touch $@

$(BENCH_VENV)/ready: pyproject.toml
	$(call virtualenv,$(BENCH_VENV),--editable ".[redis]" --group bench)
	touch $@

# By its name a file that is gone is missed. Not by the time of its folder: that is of the bytecode that a test leaves there.
$(VENV)/names: $(VENV)/ready FORCE
	@echo $(SOURCES) | cmp -s - $@ || echo $(SOURCES) > $@

$(WHEEL): $(VENV)/names $(SOURCES)
	rm -rf dist
	$(VENV)/bin/python -m hatchling build --target wheel

# The oldest FastAPI that pyproject.toml allows, and the client of its time.
$(VENV)/oldest/ready: $(VENV)/ready
	rm -rf $(VENV)/oldest
	$(VENV)/bin/python -m pip install --quiet --target $(VENV)/oldest httpx \
	  "fastapi==$$(sed -n 's/.*"fastapi>=\([0-9.]*\)".*/\1/p' pyproject.toml | head -n 1).*"
	touch $@

$(VENV)/wheel: $(WHEEL)
	$(VENV)/bin/python -m pip install --quiet --force-reinstall --no-deps $(WHEEL)
	touch $@
