# `make demo` shows a first result, `make repro` runs the whole pipeline, `make test` the whole test suite. Each builds .venv when it is
# missing.
.DEFAULT_GOAL := help
.PHONY: help demo repro status test check docs format lock clean-venv

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The tools neither send usage data nor look for updates.
export DVC_NO_ANALYTICS := true
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export NO_MKDOCS_2_WARNING := 1

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(READY)

demo: $(READY) ## a generated object and a video of it, made 4D with the object and from the video alone; opens the page
	gvf demo

repro: $(READY) ## data, training, generation, evaluation, reports/index.html (only what is out of date)
	python -m flows.repro

status: $(READY) ## what `make repro` would bring up to date (`dvc status` alone counts the ablations as well)
	dvc status dvc.yaml

test: $(READY) ## the whole test suite with coverage of src/gvf
	pytest

check: $(READY) ## lint, types, spelling, dependencies of DVC stages, documentation; pre-commit runs the same commands
	ruff check .
	ruff format --check .
	mypy
	codespell
	python tools/stage_dependencies.py
	mkdocs build --strict --quiet

docs: $(READY) ## the documentation as a site in site/, without network access
	mkdocs build --strict

format: $(READY) ## let ruff format and fix what it can
	ruff check --fix .
	ruff format .

lock: $(READY) ## resolve pyproject.toml again into requirements.lock
	uv pip compile pyproject.toml --group dev --universal --python-version 3.10 --no-emit-index-url --no-annotate --upgrade --quiet -o requirements.lock

clean-venv: ## remove .venv
	rm -rf $(VENV)
