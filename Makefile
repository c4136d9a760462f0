# Every target makes what it needs: .venv from pyproject.toml and the tested versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all bench lint format typecheck clean

# how clean: a network with and without ImageNet, what it looks at, the comparison; what is where; a page of all
demo: .venv/ready
	$(BIN)/python examples/demo.py

# a process for each core with one thread each: more threads than cores only wait for each other
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test: .venv/ready
	$(PYTEST)

test-all: .venv/ready
	$(PYTEST) -m ""

bench: .venv/ready
	$(BIN)/python benchmarks/bench.py --quick

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/ready
	$(BIN)/mypy

clean:
	rm -rf .venv outputs dist build .pytest_cache .mypy_cache .ruff_cache

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing about 5 GB, most of it PyTorch, into .venv: 2 to 10 minutes, once"
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@
