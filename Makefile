# Every target prepares what it needs: no virtual environment has to be active, and none is.
# PYTHON=/path/to/python3.12 chooses the interpreter, ARGS="..." goes to the program behind a target.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# It finds its helpers on PATH, and our roles by this configuration.
ANSIBLE_LINT := PATH="$(abspath $(BIN)):$$PATH" ANSIBLE_CONFIG=ansible/ansible.cfg ansible-lint -q
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)

# What is imported, and where packages go, must not depend on a developer's shell.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

.DEFAULT_GOAL := help
.PHONY: help demo test test-deploy lint format ci bench simulate mutants chaos alarms fuzz trip lock audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## Run everything on this machine: no account, no key, no server needed
	@$(BIN)/python -m demo $(ARGS)

# More workers than processors: tests mostly wait. WORKERS=0 runs one after another, with a debugger.
test: $(READY) ## Run the tests side by side (ARGS="tests/batching -k late" WORKERS=4)
	$(BIN)/python -m pytest -n $(or $(WORKERS),4) --dist worksteal $(ARGS)

# Scenarios are chosen by name (ARGS="bare deploys --kind four"); what is made carries the prefix.
test-deploy: $(READY) ## Prove the playbooks on real hosts, as root, in an hour (ARGS=--short)
	@PYTHONPATH=ansible/tests $(BIN)/python -m laboratory prove --prefix proof $(ARGS)

# Without the limit of time that a test has: a long run takes an hour.
fuzz: $(READY) ## Send odd requests to the webhooks (INPUTS=200000 SEED=1)
	FUZZ_INPUTS=$(or $(INPUTS),20000) FUZZ_SEED=$(or $(SEED),0) $(BIN)/python -m pytest tests/fuzz \
	  -o faulthandler_timeout=0 -p no:randomly -rP $(ARGS)

lint: $(READY) ## Check style, types, layers, scripts and prose
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m yamllint --strict .
	$(ANSIBLE_LINT) ansible
	$(BIN)/python -m codespell_lib
	$(call if-installed,luacheck,lua-check,luacheck --quiet batching/lua bench)
	$(call if-installed,shellcheck,shellcheck,shellcheck .ci/run)

format: $(READY) ## Rewrite the code in the house style, and the roles' READMEs
	$(BIN)/python -m ruff check --fix-only .
	$(BIN)/python -m ruff format .
	$(BIN)/python ansible/tests/readmes.py

chaos: $(READY) ## Run a whole installation under 200 faults and check every answer (SEED=7 repeats)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

truth: $(READY) ## Print what health checks and doctor say of each fault (ARGS="--only 'worker killed'")
	@$(BIN)/python -m tests.truth $(ARGS)

alarms: $(READY) ## Count what Sentry is sent of each fault in its first minute (ARGS="--only 'broker away'")
	@$(BIN)/python -m tests.alarms $(ARGS)

ci: lint test ## Run what must pass before a change is merged

bench: $(READY) ## Measure speed and size (ARGS=--quick: in a minute)
	@$(BIN)/python -m bench $(ARGS)

simulate: $(READY) ## Simulate days full of faults (SEEDS=3000, or SEED=7 for all of one)
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: $(READY) ## Plant faults in the code, one at a time: each must be caught
	@$(BIN)/python -m tests.mutants $(ARGS)

trip: $(READY) ## Count the files that one message passes
	@$(BIN)/python -m pytest -q -s tests/test_trip.py

lock: $(READY) ## Write requirements*.txt from pyproject.toml (ARGS=--upgrade for the newest)
	$(call compile,requirements.txt)
	$(call compile,requirements-traces.txt,--extra traces --constraint requirements.txt)
	$(call compile,requirements-dev.txt,--extra traces --group dev --constraint requirements-traces.txt)

# Production's lock without its markers: hosts may need what this Python does not.
# Nobody who can be asked, or not about every package, is no good news.
audit: $(READY) ## Compare the locks with published advisories (ARGS="-s osv" asks OSV)
	@sed 's/ ;.*\\$$/ \\/' requirements.txt >$(VENV)/hosts.txt; \
	output=$$($(BIN)/python -m pip_audit --strict --disable-pip --require-hashes \
	  --progress-spinner off $(ARGS) -r $(VENV)/hosts.txt -r requirements-dev.txt 2>&1) \
	  && { echo "$$output"; exit 0; }; \
	echo "$$output" | tail -40; case "$$output" in *"Found "*" known vulnerab"*) exit 1;; esac; \
	echo 'Nothing was audited: the advisories could not be read from here.' >&2; exit 2

clean: ## Remove all that these targets made
	rm -rf $(VENV) .demo .chaos .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call if-installed,COMMAND,DEBIAN PACKAGE,LINE): without it a developer goes on, CI does not.
define if-installed
@if command -v $(1) >/dev/null; then echo '$(3)'; $(3); \
elif [ "$${CI:-}" = true ]; then echo '$(1) is missing: apt install $(2)' >&2; exit 1; \
else echo '$(1) is missing, its check is skipped: apt install $(2), brew install $(1)'; fi
endef

# $(call compile,OUTPUT,OPTIONS): one lock for every Python and platform we run on.
define compile
$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --custom-compile-command 'make lock' $(ARGS) $(2) pyproject.toml -o $(1)
endef

# The environment follows the lock: a changed requirements-dev.txt brings it up to date.
$(READY): requirements-dev.txt
	@set -eu; \
	python=; \
	for candidate in $(PYTHONS); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer is needed; found none as: $(PYTHONS)." >&2; \
	  echo "Install it (Debian 12+, Ubuntu 24.04+: apt install python3 python3-venv;" \
	    "macOS: brew install python) or name it: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  package=$$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  echo "$$python cannot make a virtual environment: apt install $$package" >&2; \
	  exit 1; \
	fi; \
	echo "Preparing $(VENV) with $$($$python --version), once; this downloads about 80 MB ..."; \
	if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then $$python -m venv --clear $(VENV); fi; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements-dev.txt; \
	touch $@
