# `make` prints the list of targets. It needs Python 3.11 or newer with venv and pip, and installs everything else.
PYTHON ?= python3
PROCESSES ?= auto
VENV := .venv
LOCAL_AWS_VENV := .venv-local-aws
CHECKOV_VENV := .venv-checkov
MUTATION_VENV := .venv-mutation
SECOND_VENV := .venv-second
PY := $(VENV)/bin/python
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --require-hashes -r

.DEFAULT_GOAL := help
.PHONY: help setup run demo local env test test-unit second acceptance mutation check chaos browser pictures bench soak format wheel lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed $(LOCAL_AWS_VENV)/.installed ## Install both environments (the other targets do it themselves)

$(VENV)/.installed: requirements-dev.txt
	@echo "Installing $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed; $(PYTHON) is {sys.version.split()[0]}. Try: make PYTHON=python3.12")'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PY) $(PIP_INSTALL) requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(LOCAL_AWS_VENV)/.installed: requirements-local-aws.txt
	@echo "Installing $(LOCAL_AWS_VENV) ..."
	@$(PYTHON) -m venv --clear $(LOCAL_AWS_VENV)
	@$(LOCAL_AWS_VENV)/bin/python $(PIP_INSTALL) requirements-local-aws.txt
	@touch $@

# checkov pins an old boto3 and 100 more packages. Only `make check` needs it, so `setup` leaves it out.
$(CHECKOV_VENV)/.installed: requirements-checkov.txt
	@echo "Installing $(CHECKOV_VENV) ..."
	@$(PYTHON) -m venv --clear $(CHECKOV_VENV)
	@$(CHECKOV_VENV)/bin/python $(PIP_INSTALL) requirements-checkov.txt
	@touch $@

# Cosmic Ray needs a database, a web server and more. Only `make mutation` needs it.
$(MUTATION_VENV)/.installed: requirements-mutation.txt
	@echo "Installing $(MUTATION_VENV) ..."
	@$(PYTHON) -m venv --clear $(MUTATION_VENV)
	@$(MUTATION_VENV)/bin/python $(PIP_INSTALL) requirements-mutation.txt
	@touch $@

# An independent SQS, with 60 packages. Only `make second` needs it.
$(SECOND_VENV)/.installed: requirements-second.txt
	@echo "Installing $(SECOND_VENV) ..."
	@$(PYTHON) -m venv --clear $(SECOND_VENV)
	@$(SECOND_VENV)/bin/python $(PIP_INSTALL) requirements-second.txt
	@touch $@

run: setup ## Run a local AWS, the stack, both workers and the four samples; logs until Ctrl-C; keeps its state
	@$(PY) -m deploy run

demo: setup ## Like run, on throwaway state; stops by itself; exit 0 only if all four samples end as expected
	@$(PY) -m deploy demo

local: setup ## Run a local AWS and the stack only, for your own tests; prints the variables to export
	@$(PY) -m deploy local

# A running one holds this lock. After a kill -9, only its file is left.
ENDED = $(PYTHON) -c 'import fcntl; fcntl.flock(open(".local-aws/env.lock"), fcntl.LOCK_SH | fcntl.LOCK_NB)' 2>/dev/null

# Our environment comes last: `python` and `pytest` stay those of the user's own environment.
env: ## Print what points a shell and `orders` at the local AWS of `run` or `local`: eval "$(make env)"
	@test -f .local-aws/env && ! $(ENDED) || { echo "No local AWS is running here: start one with make run or make local" >&2; exit 1; }
	@env | sed -n 's/^\(AWS_[A-Z0-9_]*\)=.*/unset \1/p'
	@cat .local-aws/env
	@echo 'export PATH="$(CURDIR)/deploy/local/bin:$$PATH:$(CURDIR)/$(VENV)/bin"'

# With bytecode, even if the environment forbids it: the tests start hundreds of processes.
test test-unit browser: export PYTHONDONTWRITEBYTECODE :=
test: setup ## Run all tests, on throwaway state, in several processes (PROCESSES sets how many)
	@$(PY) -m pytest -n $(PROCESSES)

test-unit: setup ## Run the tests that need no local AWS and no other process: most of them, in less than a minute
	@$(PY) -m pytest -n $(PROCESSES) -m unit

mutation: setup $(MUTATION_VENV)/.installed ## Change single lines of the core and report what no test sees; SINCE=main: only changed lines; FRESH=seed: a new sample of all code
	@$(PY) -m tests.mutation $(if $(SINCE),--since $(SINCE)) $(if $(FRESH),--fresh $(FRESH))

# Without the sample orders: executions send to the local AWS's own queues.
second: setup $(SECOND_VENV)/.installed ## Run the tests about queues with another SQS beside the local AWS, in about a minute
	@$(PY) -m pytest -p tests.aws_facts.second -k "not sample_order" tests/aws_facts/on_second.py \
		tests/workers/aws/test_sqs.py tests/workers/aws/test_senders.py tests/integration/test_messages.py

# The only target that may use a real account: it asks first, and removes everything at its end. A variable of the
# environment does not confirm the account.
acceptance: setup ## Prove the whole on the account of your AWS settings; ACCOUNT=id confirms it; CLEAN=prefix after a kill
	@$(PY) -m tests.acceptance $(if $(findstring command,$(origin ACCOUNT)),--account '$(ACCOUNT)') $(if $(filter undefined,$(origin CLEAN)),,--clean '$(CLEAN)') \
		$(if $(REPORT),--report '$(REPORT)') $(if $(ORDERS),--orders '$(ORDERS)') $(if $(FACTS),--facts '$(FACTS)')

check: setup $(CHECKOV_VENV)/.installed ## Check format, lint, strict types, templates and state machine
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/cfn-lint deploy/*.yaml
	@$(PY) -m deploy.check_state_machine
	@$(CHECKOV_VENV)/bin/checkov --skip-download --compact --quiet --framework cloudformation dockerfile --directory deploy

chaos: setup ## Run the long fault suite: every promise under every fault; a new seed each time (CHAOS_SEED sets it)
	@$(PY) -m pytest tests/chaos tests/answers tests/integration -m chaos -k "not short" -s

# With CHROMIUM, chromium, chromium-browser or google-chrome, the first that there is.
browser: setup ## Go through the web console in a real browser (Chromium, which must be installed)
	@$(PY) -m pytest -m browser tests/browser

pictures: setup ## Make the pictures of the web console in docs/images again; look at them before you commit
	@$(PY) -m tests.browser.pictures

bench: setup ## Compare our workers with typical hand-written ones, in about ten minutes; keep the machine idle meanwhile
	@$(PY) -m tests.bench

# An hour stands for a week. DURATION is in minutes.
soak: setup ## Run a busy week in an hour: 200,000 orders, deploys, outages; prove that all are settled once; DURATION=minutes
	@$(PY) -m tests.soak $(if $(DURATION),--minutes '$(DURATION)') $(if $(ORDERS),--orders '$(ORDERS)') $(if $(SEED),--seed '$(SEED)')

format: setup ## Format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix --quiet .

wheel: setup ## Build the package in dist/, for other projects: the wheel and the source distribution
	@$(PY) -m hatchling build

lock: setup ## Recompile the pinned and hashed requirements
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra tracing pyproject.toml -o requirements.txt
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra tracing --extra console --extra dev pyproject.toml -o requirements-dev.txt
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements-local-aws.in -o requirements-local-aws.txt
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements-checkov.in -o requirements-checkov.txt
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements-mutation.in -o requirements-mutation.txt
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements-second.in -o requirements-second.txt

clean: ## Remove the environments, build output and the state of `make run`
	rm -rf $(VENV) $(LOCAL_AWS_VENV) $(CHECKOV_VENV) $(MUTATION_VENV) $(SECOND_VENV) build dist .local-aws .mypy_cache .ruff_cache .pytest_cache .hypothesis
