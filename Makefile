# Everything runs in .venv, which is made on first use and made anew when setup.py changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo_output
# Helper processes of the tests share the machine's processors.
WORKERS ?= 2

.PHONY: help demo test test-slow test-long lint bench clean

help:
	@echo "make demo       the whole chain on real images, from DICOM to a gRPC answer -> $(DEMO)/demo.html"
	@echo "make test       the fast tests"
	@echo "make test-slow  the slow ones"
	@echo "make test-long  those that train for longest, which test-slow leaves out"
	@echo "make lint       format, lint and type checks"
	@echo "make bench      benchmarks against peers (a virtual environment of their own)"

$(VENV)/.demo: setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "radkit needs Python 3.10 to 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1). Give another: make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	@echo "installing radkit and what it needs into $(VENV) (some minutes, once)"
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo setup.py
	@echo "installing what the tests need into $(VENV)"
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/radkit demo --output=$(DEMO)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile
	@echo "the fast tests passed; their environment is $(VENV)"

test-slow: $(VENV)/.dev
	@# In two parts: TensorFlow keeps what a process has traced, and one process for all came near a small machine's memory.
	@$(BIN)/python -m pytest -m "slow and not long" -n $(WORKERS) --dist loadfile --ignore=tests/models
	@$(BIN)/python -m pytest -m "slow and not long" -n $(WORKERS) --dist worksteal tests/models

test-long: $(VENV)/.dev
	@$(BIN)/python -m pytest -m long

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(VENV)/.demo
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@for bench in deidentify burned_in_text volumes segmentations structure_sets consensus input_pipeline losses monai_weights models detection metrics; do echo "== $$bench"; $(BIN)/python benchmarks/$$bench.py --peer_python=.venv-bench/bin/python || exit 1; done

clean:
	rm -rf $(VENV) .venv-bench $(DEMO) build dist *.egg-info
