# make demo | make test | make check | make wheel | make docs. Everything happens in .venv; nothing outside this folder is touched.
# PIP_FLAGS reaches pip: on Linux without an NVIDIA card, choose PyTorch's CPU wheels (see README, "Install").
PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
# Test files side by side, one process per core and at most four, since each holds torch in memory.
PYTEST := $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile

.PHONY: setup demo test check wheel docs format clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/imagemint demo

test: setup
	$(PYTEST) $(TESTS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: setup
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt build
	$(BIN)/python -m build --outdir dist .

docs: setup
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/make_site.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv dist build
