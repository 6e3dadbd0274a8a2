# Everything runs from here: a machine with make and Python 3.11 needs nothing else.
# Plain POSIX sh; every target can be run again at any time.

PYTHON := .venv/bin/python

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1 	\2/p' Makefile

setup: ## Make .venv with everything Spanward needs (quick when nothing changed).
	@sh .ci/setup

demo: setup ## Three real agents, one of them stuck in a loop, against a budget. No API key, no network.
	@.venv/bin/spanward demo

test: setup ## Build the real peers once, then run the whole suite: behaviour, types, style, imports.
	@$(PYTHON) -m tests.tools.install
	@$(PYTHON) -m pytest --durations=10 $(ARGS)

bench: setup ## Measure ingest and decisions side by side with their peers (ARGS=--help for options).
	@$(PYTHON) -m tests.tools.install
	@$(PYTHON) -m benchmarks $(ARGS)

lint: setup ## Only types, style and imports.
	@$(PYTHON) -m pytest tests/test_house.py tests/test_imports.py --no-header $(ARGS)

.PHONY: help setup demo test bench lint
