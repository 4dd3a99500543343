# Two commands are enough: `make demo` and `make test`. Each sets up what it needs first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
FAST := not integration and not e2e and not realdata and not flow and not services and not soak
SOURCES := src tests benchmarks docs

.PHONY: help demo flow-demo repro test test-slow lint types format docs install flow-tools lock clean

help:             ## Say what there is
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

demo: $(VENV)/.train  ## Images to a served, promoted and rolled-back model, in two minutes
	$(BIN)/cifarops demo $(ARGS)

flow-demo: $(VENV)/.dev flow-tools  ## The whole branch process, played with real hooks, pipelines and servers, in six minutes
	@command -v rsync >/dev/null || { echo 'rsync is needed; for example: apt-get install rsync'; exit 1; }
	$(BIN)/cifarops flow rehearse $(ARGS)

repro: $(VENV)/.train ## The DVC stages, those that changed
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro $(ARGS)

test: $(VENV)/.dev    ## The fast tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "$(FAST)" $(ARGS)

test-slow: $(VENV)/.dev  ## The tests with real servers, real data and whole lines
	$(BIN)/pytest -m "not ($(FAST))" $(ARGS)

lint: $(VENV)/.dev    ## Style and room borders
	PATH="$(CURDIR)/$(BIN):$$PATH" pre-commit run --all-files
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m docs.generate --check

types: $(VENV)/.dev   ## Strict type check
	$(BIN)/mypy

format: $(VENV)/.dev  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/black --quiet $(SOURCES)

docs: $(VENV)/.dev    ## Write the reference pages that are made from code and results
	$(BIN)/python -m docs.generate

install: $(VENV)/.dev ## The virtual environment with everything in it

flow-tools: ci/tools/node_modules/.package-lock.json  ## What interprets the pipeline without a server (npm)

lock: $(VENV)/.dev    ## Write constraints.txt from what is installed
	{ head -1 constraints.txt; $(BIN)/pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//'; } > constraints.tmp
	mv constraints.tmp constraints.txt

clean:            ## Remove the virtual environment (the workspace stays)
	rm -rf $(VENV)

# The stamp is made last, so an interrupted installation is simply done again.
$(VENV)/.%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or later is needed; name one with: make PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'Installing pinned packages into $(VENV) (about two minutes, the first time only)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

# npm writes this file last.
ci/tools/node_modules/.package-lock.json: ci/tools/package-lock.json
	@command -v npm >/dev/null || { echo 'npm is needed; for example: apt-get install npm'; exit 1; }
	npm ci --prefix ci/tools --no-progress --loglevel=error
	@touch $@
