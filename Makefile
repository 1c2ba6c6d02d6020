# Two commands from a fresh clone: `make demo` and `make test`. Each makes the environment .venv once and re-uses it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-long check benchmark clean

demo: $(INSTALLED)
	$(BIN)/mathdnn demo --output demo

# In two processes: most of the time goes into compiling, one program after the other.
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2

# All that `make test` leaves out, with more examples and random ones; a run of training killed 50 times.
test-long: $(INSTALLED)
	MATHDNN_OPTIMISED=1 MATHDNN_HYPOTHESIS=random MATHDNN_KILLS=50 $(BIN)/python -m pytest -n 2 -m ""

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(INSTALLED)
	$(BIN)/python -m benchmarks run

# PyTorch is capped by the extra `dev`; see pyproject.toml.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
