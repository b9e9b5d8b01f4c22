# One command per task; `make` alone lists them. It needs git, make and Python 3.11 or newer, nothing else:
# what a task needs is installed into .venv, first for running (.venv/.run) and only where a task asks for it
# also for developing (.venv/.dev), in the exact versions of constraints.txt.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Options for the program behind a task: make demo ARGS=--once, make test ARGS="-k slack".
ARGS ?=
# The first Python on this machine that is new enough; `make demo PYTHON=/opt/python3.13/bin/python3` chooses.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
# Tests at a time.
JOBS ?= 3
DOCKER ?= docker
IMAGE ?= cmc-notify

venv := .venv/bin/python
pip := $(venv) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

##@ Use
.PHONY: demo
demo: .venv/.run ## simulated controller, real bridge, local receivers; ARGS=--once plays to the end
	@$(venv) -m cmc_notify demo $(ARGS)

.PHONY: image
image: ## container image; DOCKER=podman and IMAGE=name:tag choose
	$(DOCKER) build --tag $(IMAGE) .

.PHONY: wheel
wheel: .venv/.dev ## the installable package, into dist/
	@rm -rf dist
	$(venv) -m build --wheel --outdir dist

##@ Develop
.PHONY: test
test: .venv/.dev ## every test, JOBS at a time (many wait more than they work); ARGS goes to pytest
	$(venv) -m pytest -n $(JOBS) --dist load --maxschedchunk 1 --ignore=tests/peers $(ARGS)

.PHONY: peers
peers: .venv/.peers ## tests against real programs (Postfix, nginx, PgBouncer …); what is missing is skipped
	$(venv) -m pytest tests/peers $(ARGS)

.PHONY: unit
unit: .venv/.dev ## the pure tests alone, in less than a minute; ARGS goes to pytest
	$(venv) -m pytest -n auto $(ARGS) tests/unit

.PHONY: lint
lint: .venv/.dev ## style, format, types, and the bands between modules
	$(venv) -m ruff check .
	$(venv) -m ruff format --check .
	$(venv) -m mypy
	.venv/bin/lint-imports --no-logo

.PHONY: types
types: .venv/.dev ## types alone
	$(venv) -m mypy

.PHONY: bench
bench: .venv/.dev ## measure polls of 5,000 jobs beside the same bytes parsed; ARGS goes to bench/poll.py
	$(venv) bench/poll.py $(ARGS)

.PHONY: bench-outbox
bench-outbox: .venv/.dev ## measure a store with a million deliveries beside an empty one; ARGS to bench/outbox.py
	$(venv) bench/outbox.py $(ARGS)

.PHONY: soak
soak: .venv/.dev ## kill replicas at random and account for every message; ARGS="--seconds 600" to tests/soak.py
	$(venv) tests/soak.py $(ARGS)

.PHONY: bench-isolation
bench-isolation: .venv/.dev ## measure what a dead and a throttled sink cost the others; ARGS to bench/isolation.py
	$(venv) bench/isolation.py $(ARGS)

.PHONY: pictures
pictures: .venv/.dev ## the pictures of messages in README and docs, with Chromium; ARGS names some of them
	@$(pip) --editable '.[pictures]'
	$(venv) docs/pictures/make.py $(ARGS)

.PHONY: constraints
constraints: ## write constraints.txt anew with today's versions
	rm -rf build/constraints && mkdir -p build
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet '.[dev,postgres,apprise,pictures,peers]'
	sed -n '/^#/p' constraints.txt > build/constraints.txt
	build/constraints/bin/python -m pip freeze --exclude cmc-notify >> build/constraints.txt
	mv build/constraints.txt constraints.txt

.PHONY: clean
clean: ## remove what these tasks made: .venv, dist, build, caches
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find cmc_notify tests bench -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Debian keeps what puts pip into a new environment in a package of its own; where it lacks, the system's pip
# may do it. A half-made folder must not stay.
.venv/.made:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; name one: make demo PYTHON=…" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null && "$(PYTHON)" -m venv .venv \
		|| { "$(PYTHON)" -m venv --without-pip .venv \
			&& "$(PYTHON)" -m pip --python .venv/bin/python install --quiet pip; } \
		|| { rm -rf .venv; echo "$(PYTHON) can't make a virtual environment;" \
			"on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

.venv/.run: .venv/.made pyproject.toml constraints.txt
	@echo "installing into .venv …"
	@$(pip) --editable .
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt
	@echo "installing into .venv, with what tests need …"
	@$(pip) --editable '.[dev]'
	@touch $@ .venv/.run

# npm packages are the vendors' types and schemas; without npm the tests that need them are skipped.
.venv/.peers: .venv/.dev tests/peers/package.json
	@echo "installing what the tests with real peers need …"
	@$(pip) --editable '.[dev,peers]'
	@mkdir -p .venv/peers && cp tests/peers/package.json .venv/peers/
	@if command -v npm >/dev/null; then npm install --prefix .venv/peers --silent --no-audit --no-fund \
		--no-package-lock --ignore-scripts; else echo "npm is missing: the vendors' types are not checked"; fi
	@touch $@
