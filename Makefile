# Every target makes what it needs: .venv from pyproject.toml and the tested versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# conf/experiment/demo_pretrained.yaml knows this folder
DEMO := outputs/demo

.PHONY: demo test test-all bench lint format typecheck clean

# how clean: both regimes on synthetic streets, what one of them looks at, and the page that compares them;
# what is where: one network
demo: .venv/ready
	$(BIN)/streetlab train experiment=demo_pretext output=$(DEMO)/pretext
	$(BIN)/streetlab train -m experiment=demo_pretrained,demo_from_scratch output=$(DEMO)/regimes
	$(BIN)/streetlab train experiment=demo_segmentation output=$(DEMO)/segmentation
	$(BIN)/streetlab explain run="$$(ls -dt $(DEMO)/regimes/demo_pretrained-* | head -1)" n=4
	$(BIN)/streetlab compare runs=$(DEMO)/regimes
	@echo "and what is where in a street: $(DEMO)/segmentation/figures/best_median_worst.png"
	@echo "all of these models on your own photos and videos: $(BIN)/streetlab app"

# a process for each core with one thread each: more threads than cores only wait for each other. Each starts with a run
# of neighbouring tests, which share fixtures, and takes over some of another's when it has none left
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

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
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
