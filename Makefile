# Two commands do all the set-up: `make demo` and `make test`. They need Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo

.PHONY: help demo test coverage check format constraints clean

help:
	@echo "make demo         simulate a small study, run everything on it, write $(DEMO)/report.html"
	@echo "make test         check the code and run the tests"
	@echo "make coverage     the tests, counting the lines that they run; twice as slow"
	@echo "make check        lint, types, import contracts"
	@echo "make format       format the code"
	@echo "make constraints  renew constraints.txt from the newest releases"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('bonemet needs Python 3.11 or newer: make PYTHON=python3.12 ...' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

demo: $(READY)
	$(BIN)/bonemet demo $(DEMO)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: $(READY) check
	$(BIN)/python -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder

coverage: $(READY)
	$(BIN)/python -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints:
	$(PYTHON) -m venv $(VENV)-new
	$(VENV)-new/bin/python -m pip install --quiet --disable-pip-version-check ".[dev]"
	$(VENV)-new/bin/python -m pip freeze --exclude bonemet --exclude pip --exclude setuptools > constraints.txt
	rm -rf $(VENV)-new

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
