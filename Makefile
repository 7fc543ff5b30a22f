# The developer's interface. `make run` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

MADE := $(VENV)/made
NATIVE := $(VENV)/native
OF_MEDIA := tests/interop $(addprefix tests/e2e/test_,$(addsuffix .py,call scalable_streams unused_layers bandwidth python_peers turn))
BENCHES ?= $(patsubst bench/%.py,%,$(wildcard bench/*.py))
CARGO_TEST := cargo test -q --locked --manifest-path rust/Cargo.toml -p pysfu-plane-core -p pysfu-plane-io

.DEFAULT_GOAL := help
.PHONY: help run plane test interop unit lint fmt types native rust sanitize e2e browser bench dist clean

help: ## show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

run: $(VENV)/run plane ## set up and start the server with a demo room; prints the link to open
	@$(BIN)/sfu demo

plane: $(MADE)
	@if ! command -v cargo >/dev/null; then echo "The Python media plane forwards; with cargo (https://rustup.rs) a faster one is built."; \
	else $(MAKE) --no-print-directory $(NATIVE) || echo "The Python media plane forwards instead."; fi

test: $(VENV)/dev browser ## set up and run lint, types and every test, the browser's included, on every plane
	@$(MAKE) --no-print-directory lint types
	@if command -v cargo >/dev/null; then $(MAKE) --no-print-directory native rust sanitize; fi
	$(BIN)/python -m pytest
	@if command -v cargo >/dev/null; then echo "The same browsers and peers on the Python plane:" && \
		SFU_MEDIA__PLANE=python $(BIN)/python -m pytest -q $(OF_MEDIA); fi

interop: dist browser ## other WebRTC stacks, and bare, lowest and newest environments of what `make dist` built
	@$(PIP) install -e '.[interop]'
	@bash tests/peers/install.sh
	$(BIN)/python -m pytest --durations=0 tests/peers
	$(BIN)/python -m pytest tests/installed

unit: $(VENV)/dev ## the fast tests only: no browser, no TURN server, no PostgreSQL
	$(BIN)/python -m pytest -m 'not e2e and not turn and not postgres'

lint: $(VENV)/dev ## style and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

fmt: $(VENV)/dev ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: $(VENV)/dev ## mypy --strict
	$(BIN)/mypy

native: $(VENV)/dev $(NATIVE) ## build the native media plane; needs cargo

rust: ## the native plane's own tests and style
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --all --check --manifest-path rust/Cargo.toml; fi
	$(CARGO_TEST)

sanitize: ## the native plane's own tests under the address and the thread sanitizer
	@bash rust/sanitize.sh

e2e: $(VENV)/dev browser ## only the tests in a real browser
	$(BIN)/python -m pytest -m 'e2e or turn'

browser: ## install Chromium, coturn, PostgreSQL and ffmpeg's tools for the tests where apt-get can
	@bash tests/install_tools.sh

bench: $(VENV)/dev browser ## measure (BENCHES="planes holding": only those); prints tables, writes JSON and plots to artifacts/
	@if command -v cargo >/dev/null; then $(MAKE) --no-print-directory native; fi
	@$(PIP) install -e '.[plots]'
	@mkdir -p artifacts
	@for b in $(BENCHES); do case $$b in planes|estimator) plots="--plots artifacts";; *) plots=;; esac; \
		$(BIN)/python bench/$$b.py --json artifacts/$$b.json $$plots || exit 1; done

dist: $(VENV)/dev ## build what is installed elsewhere into dist/: sdist, wheel and, with cargo, the native plane's wheel
	@$(PIP) install -e '.[dist]'
	@rm -rf dist
	$(BIN)/python -m build --outdir dist .
	@if command -v cargo >/dev/null; then $(BIN)/maturin build -q --release --locked -m rust/py/Cargo.toml -o dist; \
	else echo "Without cargo the native media plane is not built: servers run on the Python plane."; fi
	@ls -l dist

clean: ## remove everything that was made
	rm -rf $(VENV) rust/target build dist *.egg-info artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What an interrupted `python -m venv` leaves has a python, but no pip: it is made anew.
$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Making a virtual environment in $(VENV) ..."; $(PYTHON) -m venv --clear $(VENV); }
	@touch $@

$(VENV)/run: $(MADE) pyproject.toml
	@echo "Installing (the first time takes a minute) ..."
	@$(PIP) install -e '.[camera]'
	@touch $@

$(VENV)/dev: $(MADE) pyproject.toml
	@echo "Installing with the developer's tools ..."
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/run

$(NATIVE): $(MADE) $(shell find rust -name target -prune -o -type f -print)
	@if bash rust/install.sh $(BIN)/python; then touch $@; else exit 1; fi
