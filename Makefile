# One line each; the README repeats them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

# Where this is set, each of the many processes that tests and runs start would compile pandas anew: a second each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test unit check bench compat clean lock install

demo: $(STAMP)            ## measure the quickstart: embedded Postgres, three cells, report.html
	$(BIN)/poolbench run experiments/quickstart.toml

unit: $(STAMP)            ## the unit tests, on both cores
	$(PYTEST) -n 2 tests/unit

test: $(STAMP)            ## every test there is for this machine, on both cores
	$(PYTEST) -n 4  # they wait for half of their time

check: $(STAMP)           ## lint, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)           ## what this project promises about its own speed and accuracy
	$(BIN)/python -m benchmarks all

compat: $(STAMP)          ## services with every supported version of Python, SQLAlchemy, uvicorn, FastAPI and driver
	POOLBENCH_COMPAT=all $(BIN)/python -m pytest tests/e2e/test_compat.py

clean:                    ## remove the environment, caches and build output (results stay)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

lock: $(STAMP)            ## pin the newest versions pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --constraints requirements.lock target_app/requirements.in -o target_app/requirements.lock

install: $(STAMP)         ## the environment alone

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "poolbench needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@# pip brings uv alone, pinned like the rest, and uv the rest: 10 s instead of two minutes.
	@# Where uv fails, pip has the last word: an index may be set up for pip alone.
	@test -x $(BIN)/uv || awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock | $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r /dev/stdin
	$(UV) --require-hashes -r requirements.lock || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(UV) --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
