# `make demo` and `make test` work in a fresh clone. Both create the environment .venv once, with the versions that
# constraints/ pins for this Python. `make refresh` pins the newest versions if the tests pass with them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PINS = $(wildcard constraints/python$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt)

.PHONY: demo test test-long check benchmark refresh clean

demo: $(INSTALLED)
	$(BIN)/mathdnn demo --output demo

# Two processes: most of the time goes into compiling, which uses one core.
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal

# All tests, the long ones included, with more and random examples; a training run is killed 50 times.
test-long: $(INSTALLED)
	MATHDNN_OPTIMISED=1 MATHDNN_HYPOTHESIS=random MATHDNN_KILLS=50 $(BIN)/python -m pytest -n 2 --dist worksteal -m ""

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(INSTALLED)
	$(BIN)/python -m benchmarks run

refresh:
	.ci/refresh $(PYTHON)

# The extra `dev` caps PyTorch; pyproject.toml says why.
$(INSTALLED): pyproject.toml $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PINS:%=--constraint %) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
