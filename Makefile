# `make help` lists what there is to do. Needs python3 (>= 3.11), git and make; node for the labextension.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := .make/venv
BENCH_VENV := .venv-bench
BENCH_READY := .make/venv-bench
LAB_READY := .make/labextension
LAB_SOURCES := $(shell find labextension/src labextension/style labextension/schema -type f 2>/dev/null) \
    $(addprefix labextension/,package.json yarn.lock tsconfig.json .yarnrc.yml) kernel/jupyter_fx_kernel/card.schema.json
PYTEST_ARGS ?=
BENCH_ARGS ?=
BENCH ?= run
LAB_ARGS ?=

# What is checked: every import package and the programs beside them; some folders come with later work.
TYPED := jupyter_fx kernel/jupyter_fx_kernel kernel/jupyter_fx_worker hub/jupyter_fx_hub bench tools

.PHONY: help demo test check format lab bench docs pins clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt tools/make-venv
	@PYTHON="$(PYTHON)" tools/make-venv $(VENV) constraints.txt -e . --group dev
	@mkdir -p .make && touch $@

$(BENCH_READY): pyproject.toml bench/constraints.txt tools/make-venv
	@PYTHON="$(PYTHON)" tools/make-venv $(BENCH_VENV) bench/constraints.txt -e . --group bench
	@mkdir -p .make && touch $@

$(LAB_READY): $(LAB_SOURCES) tools/build-labextension | $(READY)
	@mkdir -p .make && tools/build-labextension && touch $@

demo: $(READY) ## run notebooks/quickstart.ipynb, remote cells and all; say what ran where and how long it took
	@$(BIN)/python -m jupyter_fx.cli.app demo

test: $(READY) $(LAB_READY) ## every test this machine can run (PYTEST_ARGS="-k name" narrows it)
	@tests/testbed/system-packages
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(READY) $(LAB_READY) ## format, lint, types, layers; the labextension's own
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/messages.py --check
	@tools/check-labextension

format: $(READY) ## let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lab: $(READY) $(LAB_READY) ## open notebooks/ in JupyterLab, with the labextension as it is now
	@# Jupyter starts as root only when told so: in a container there may be nobody else.
	$(BIN)/jupyter lab --notebook-dir notebooks $$([ "$$(id -u)" = 0 ] && echo --allow-root || true) $(LAB_ARGS)

bench: $(BENCH_READY) ## measure us beside the peers (BENCH_ARGS="--peers pool,parsl --rounds 1" narrows it; BENCH=cells: cells beside %%px)
	@$(BENCH_VENV)/bin/python -m bench.$(BENCH) $(BENCH_ARGS)

docs: $(READY) ## write again what is generated: state diagrams, wire messages, the catalogue for translators
	$(BIN)/python tools/messages.py
	$(BIN)/python tools/state_diagrams.py
	$(BIN)/python tools/wire_messages.py

pins: $(READY) ## write constraints.txt anew from what .venv holds
	$(BIN)/python tools/pin.py $(VENV) constraints.txt

clean: ## remove everything that make and the tests made
	rm -rf $(VENV) $(BENCH_VENV) .make build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/artefacts bench/results labextension/lib labextension/node_modules labextension/.yarn labextension/tsconfig.tsbuildinfo jupyter_fx/labextension
	find . -name __pycache__ -type d -prune -not -path './node_modules/*' -exec rm -rf {} +
