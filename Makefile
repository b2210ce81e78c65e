# PYTHON runs webserver.py and client.py. The tools have an environment of their own, made by test/tools.
PYTHON ?= python3
TOOLS_PYTHON ?= $(shell test/tools python)
export PYTHON

.PHONY: help run ladder test test-all test-apps lint fuzz mutants bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s%s\n", $$1, $$2 }' Makefile

run: ## serve the page on port 8888; ARGS="--app module:app" serves an application
	$(PYTHON) webserver.py $(ARGS)

ladder: ## run the stages of the article alone, each a promise, in 20 s
	@test/run test/ladder.bats test/limits.bats

test: ## run the tests, in two minutes; FILES="test/drain.bats", FILTER="TERM" and PYTHON=python3.8 choose
	@test/run $(FILES)

test-all: ## run in each mode what a mode could change, too: what CI runs; FILES, FILTER and PYTHON as above
	@test/run --all $(FILES)

test-apps: ## run Flask, Django, Bottle, nginx and HAProxy with the server; FILES, FILTER and PYTHON as above
	@python=$$(test/tools apps) && PYTHON="$$python" test/run --all $(or $(FILES),test/real/*.bats)

lint: ## run ruff, mypy and shellcheck
	@test/lint

fuzz: ## hold the server against h11, on many mutated requests; ARGS="--seed 7 --count 1000"
	@python=$$(test/tools fuzz) && "$$python" test/fuzz.py $(ARGS)

mutants: ## show that the tests fail for each known mistake
	$(TOOLS_PYTHON) test/mutants.py $(ARGS)

bench: ## compare with other servers, in 12 minutes; BENCH="hello flask", ROUNDS=5, SECONDS_EACH=2 choose
	@$(PYTHON) test/bench.py

clean: ## remove the tools and what they and Python left behind
	rm -rf .tools .mypy_cache .ruff_cache __pycache__ test/__pycache__ test/apps/__pycache__ test/real/__pycache__ test/real/apps/__pycache__
