# Two commands do everything, from install to the end: `make run` and `make test`.

PYTHON_OF_VENV := .venv/bin/python
# Tests wait for processes for half of their time.
WORKERS := $(shell expr 2 \* $$(nproc))
LOCK := uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	--python-version 3.13 --python-platform x86_64-manylinux_2_28

# Where it is set, each of the many processes of a run compiles anew what the last one compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check bench page verify-azure lock setup clean

help: ## Show these targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: setup ## Start the agent and all it needs on this machine, ask it a question, serve; SIGN_IN=1: to people who sign in; TRACE=1: shows where time goes; LOCAL_MODEL=ollama: with a real model.
	@exec $(PYTHON_OF_VENV) -m local run $(if $(filter-out 0,$(SIGN_IN)),--sign-in) $(if $(filter-out 0,$(TRACE)),--trace) $(if $(LOCAL_MODEL),--model '$(LOCAL_MODEL)')

test: ## Run all tests; COVERAGE=1 also counts the lines that they run, in all processes.
	@local/setup.sh tests
	@rm -rf .local/coverage && mkdir .local/coverage
	@tests/in_memory.sh $(PYTHON_OF_VENV) $(if $(COVERAGE),-m coverage run )-m pytest -q -n $(WORKERS)
	@$(if $(COVERAGE),$(PYTHON_OF_VENV) -m tests.coverage_table)

check: setup ## Lint, format and types.
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy .

bench: ## Measure a turn, streams, conversations, memory and the session pool; exit status 1: a target is missed, 3: not judged, the machine had other work.
	@local/setup.sh tests
	@status=0; for part in bench bench.streaming bench.conversations bench.pressure bench.soak bench.session_pool; do \
		$(PYTHON_OF_VENV) -m $$part || { code=$$?; test $$status = 1 || status=$$code; }; \
	done; exit $$status

cost: setup ## A month's cost from list prices: make cost TURNS=10000 USERS=50.
	@$(PYTHON_OF_VENV) -m bench.cost --turns $(or $(TURNS),10000) --users $(or $(USERS),50)

outdated: setup ## Pins against the registry; fails if one is held back without a reason.
	@$(PYTHON_OF_VENV) -m tests.outdated

verify-azure: setup ## Run the contract tests against the Azure that the app settings name.
	@AZURE_VERIFY=1 $(PYTHON_OF_VENV) -m pytest -q tests/contract

page: ## Build the chat page from page/ into agent/http/page/dist (needs Node.js).
	@cd page && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent check && npm run --silent build

lock: ## Write the exact pins from pyproject.toml.
	.venv/bin/$(LOCK) pyproject.toml -o requirements.txt
	.venv/bin/$(LOCK) pyproject.toml --group test -c requirements.txt -o requirements-dev.txt

setup:
	@local/setup.sh

clean: ## Remove what the other targets made.
	rm -rf .venv .local .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
