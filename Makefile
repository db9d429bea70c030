PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TOOLS  := $(VENV)/.tools
DOCS   := $(VENV)/.docs
SRC    := pyproject.toml constraints.txt Cargo.toml Cargo.lock README.md LICENSE \
          $(shell find rust python -type f -not -path '*/__pycache__/*' -not -name '*.so' 2>/dev/null)
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# No path of the machine in what is shipped. One set of flags for all release builds, so that each crate is compiled once.
REMAP  := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo --remap-path-prefix=$(CURDIR)=.

$(STAMP) $(TOOLS) $(DOCS) wheels instructions: export RUSTFLAGS = $(REMAP)
$(STAMP) $(TOOLS) $(DOCS) wheels: export CARGO_TARGET_DIR = $(CURDIR)/target

.DEFAULT_GOAL := help
.PHONY: help compare test test-kernel test-rust test-python bench face figures instructions docs wheels \
        lint lint-rust lint-python format explore sanitize fuzz soak mutants clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

compare: $(STAMP) ## Run the cross-version suite (ARGS="--quick" for a first answer).
	$(BIN)/bulkpages compare $(ARGS)

test: test-rust test-python ## Run the Rust and the Python tests.

test-rust: $(STAMP)
	cargo test --workspace --locked --quiet

test-kernel: $(STAMP) ## Build a real kernel and try everything that needs one (takes long; KERNEL=tree or tarball, else the package).
	BULKPAGES_KERNEL_TREE=$(KERNEL) $(BIN)/python -m pytest -q -m kernel tests/kernel $(ARGS)

test-python: $(STAMP)
	$(BIN)/python -m pytest -q --numprocesses=auto --maxprocesses=8 --dist=loadfile $(ARGS)

bench: $(STAMP) ## Time the core (criterion), the Python face (pytest-benchmark) and every row of the kernel's timings.
	cargo bench -p bulkpages-core --locked
	$(MAKE) face
	$(BIN)/bulkpages bench core

face: $(STAMP) ## Time the calls from Python beside the stored times (ARGS="--benchmark-save=baseline" stores new ones).
	$(BIN)/python -m pytest -q benches/face --benchmark-storage=file://benches/face/baseline --benchmark-compare \
		--benchmark-columns=min,median,rounds --benchmark-group-by=name --benchmark-time-unit=ns $(ARGS)

figures: $(STAMP) ## Print every figure that has a bound, measured now (ARGS="--large --kernel COMMAND").
	$(BIN)/python benches/native/figures.py $(ARGS)

instructions: ## Count instructions per page under valgrind and compare with the baseline.
	$(PYTHON) benches/native/instructions.py $(ARGS)

docs: $(DOCS) ## Build the documentation site into site/ (ARGS=external asks for the links to other sites).
	$(BIN)/python docs/build.py $(ARGS)

lint: lint-rust lint-python ## Check formatting, lints and types.

lint-rust:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

lint-python: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest bulkpages._core

format: $(TOOLS) ## Format everything.
	cargo fmt --all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheels: $(STAMP) ## Build a wheel and an sdist into dist/, and try each in an environment of its own (ARGS="--zig ...").
	$(PIP) 'maturin>=1.14,<2'
	rm -rf dist
	$(BIN)/maturin sdist --out dist
	$(BIN)/maturin build --quiet --release --interpreter $(BIN)/python --out dist $(ARGS)
	$(BIN)/python tests/packaging/try_dist.py dist

explore: ## Run the larger scenarios of locks and threads in every order too.
	cargo test --release --locked --quiet -p bulkpages-explore --test schedules -- --include-ignored --nocapture

sanitize: ## Run the Rust tests of the allocator, the callers and the traces under AddressSanitizer (x86-64 Linux).
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --locked --quiet --target-dir target/address \
		--target x86_64-unknown-linux-gnu -p bulkpages-core -p bulkpages-callers -p bulkpages-trace --lib --tests

soak: $(STAMP) ## See whether memory grows in a long session (an hour; ARGS="--seconds 60").
	$(BIN)/python benches/soak.py $(ARGS)

mutants: ## Break rules of the core on purpose and see which tests notice (takes long).
	$(PYTHON) benches/mutants/run.py $(ARGS)

fuzz: $(STAMP) ## Fuzz one target (ARGS="operations 600"; also snapshot, recording, trace, proc, report, llfree).
	$(PIP) atheris
	PYTHON=$(CURDIR)/$(BIN)/python fuzz/run.sh $(ARGS)

$(STAMP): $(SRC)
	@command -v cargo >/dev/null || { echo 'bulkpages needs Rust 1.88 or newer: cargo is not on PATH' >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'bulkpages needs CPython 3.11 or newer: set PYTHON=...' >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) '.[test]'
	@touch $@

$(TOOLS): $(STAMP)
	$(PIP) '.[test,lint]'
	@touch $@

$(DOCS): $(STAMP)
	$(PIP) '.[docs]'
	@touch $@

clean: ## Remove everything that the other targets made.
	rm -rf $(VENV) target results dist site docs/_pictures python/bulkpages/*.so
