# Everything here makes and reuses one environment, .venv, in the checkout. It needs Python 3.10 or
# later and Rust; all else is installed by pip and cargo from what pyproject.toml and Cargo.lock name.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.built ## Compress a real sentence encoder, then enumerate a degenerate arrangement
	@$(BIN)/python examples/demo.py

.PHONY: test
test: $(VENV)/.built ## Rust and Python tests, doctests, stubs, and every benchmark in its short form
	cargo test --workspace --locked
	$(BIN)/python -m pytest
	$(BIN)/python -m mypy.stubtest hypercomp_rs._core
	$(MAKE) --no-print-directory bench SHORT=--short

.PHONY: check
check: $(VENV)/.built ## Formatters, linters with warnings denied, and types
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy.stubtest hypercomp_rs._core

.PHONY: bench
bench: $(VENV)/.built ## Benchmarks against peers and baselines; SHORT=--short for a glance
	$(BIN)/python benches/codec.py $(SHORT)
	$(BIN)/python benches/vertices.py $(SHORT)

.PHONY: format
format: $(VENV)/.built ## Format all code
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## Remove the environment and everything built
	rm -rf $(VENV) target python/hypercomp_rs/_core*.so

.PHONY: toolchain
toolchain:
	@command -v cargo > /dev/null || { \
		echo "No Rust toolchain: 'cargo' is not on the PATH."; \
		echo "Install Rust 1.89 or later from https://rustup.rs, open a new shell, and run make again."; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Python 3.10 or later is needed: make PYTHON=/path/to/python3 ..."; exit 1; }

# The first build also installs what pyproject.toml asks for; torch alone is several gigabytes, so
# this is done again only when that file changes.
$(VENV)/.installed: pyproject.toml | toolchain
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Python sources are used in place, so only Rust is ever built again.
$(VENV)/.built: $(VENV)/.installed $(RUST) | toolchain
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --locked --skip-install --quiet
	touch $@
