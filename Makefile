# Every target makes what it needs: .venv from pyproject.toml and the tested versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all coverage docs linkcheck bench lint lint-js format typecheck hooks clean

# how clean: a network with and without ImageNet, what it looks at, the comparison; what is where; a page of all
demo: .venv/ready
	$(BIN)/python examples/demo.py

# a process for each core with one thread each: more threads than cores only wait for each other. Each starts with a run
# of neighbouring tests, which share fixtures, and takes over some of another's when it has none left
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test: .venv/ready
	$(PYTEST)

test-all: .venv/ready
	$(PYTEST) -m ""

# every command disturbed at random: kills, no memory, no space, a clock that jumps; `make soak minutes=60 seed=1`
minutes := 30
seed := 0
workers := $(shell nproc)
soak: .venv/ready
	$(BIN)/python -m tests.soak.soak minutes=$(minutes) seed=$(seed) workers=$(workers) log=outputs/soak.jsonl

# the lines and branches that `make test` reaches: a table here, the pages in htmlcov/
coverage: .venv/ready
	$(PYTEST) --cov --cov-report=term --cov-report=html

# a warning is an error, a broken link inside the site is a warning; the site lies in outputs/docs/index.html
docs: .venv/ready
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs outputs/docs

# the links of docs/ to other hosts, each asked once; needs a network
linkcheck: .venv/ready
	$(BIN)/python -m sphinx --builder linkcheck docs outputs/linkcheck

bench: .venv/ready
	$(BIN)/python benchmarks/bench.py --quick

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# the page's scripts: types from their JSDoc, and eslint; needs Node.js 20 and npm
JS := tests/app/js
lint-js: $(JS)/node_modules
	$(JS)/node_modules/.bin/tsc --project $(JS)
	$(JS)/node_modules/.bin/eslint --config $(JS)/eslint.config.js src/streetlab/app/static/js src/streetlab/survey/static/js

$(JS)/node_modules: $(JS)/package.json
	npm install --prefix $(JS) --no-package-lock --no-audit --no-fund --silent
	touch $@

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: .venv/ready
	$(BIN)/mypy

# what `.venv/bin/pre-commit install` runs before a commit, on all files
hooks: .venv/ready
	$(BIN)/pre-commit run --all-files

clean:
	rm -rf .venv $(JS)/node_modules outputs dist build .pytest_cache .mypy_cache .ruff_cache .coverage htmlcov

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing about 7.5 GB, most of it PyTorch with CUDA, into .venv: 2 to 10 minutes, once"
	$(BIN)/python .ci/pip_install.py --constraint constraints.txt --editable '.[dev]'
	touch $@
