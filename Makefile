# make demo | make test | make check | make wheel | make docs. Everything happens in .venv; nothing outside this folder is touched.
# PIP_FLAGS reaches pip: on Linux without an NVIDIA card, choose PyTorch's CPU wheels (see README, "Install").
PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin

.PHONY: setup demo test check wheel docs format clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/imagemint demo

test: setup
	$(BIN)/python -m pytest -q

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
