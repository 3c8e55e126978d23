# Everything this project does, by name. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python here that the locks are made for.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
SERVER_BIN := .venv-mlflow/bin

# All state of this checkout lies in one ignored folder; absolute, since processes change their folder.
# `value`, because make must not expand a $ in a path.
ifndef MLOPS_STATE_DIR
export MLOPS_STATE_DIR := $(CURDIR)/.state
else ifneq ($(filter ~%,$(firstword $(value MLOPS_STATE_DIR))),)
$(error MLOPS_STATE_DIR: expected a full path, since only a shell expands ~; got $(value MLOPS_STATE_DIR))
else ifeq ($(filter /%,$(firstword $(value MLOPS_STATE_DIR))),)
override export MLOPS_STATE_DIR := $(CURDIR)/$(value MLOPS_STATE_DIR)
endif
export MAGE_DATA_DIR ?= $(value MLOPS_STATE_DIR)/mage
EDITOR_PORT ?= 6789
MLFLOW_PORT ?= 5000
SERVE_PORT ?= 8000
PREFECT_PORT ?= 4200

.PHONY: help install demo train editor notebook script mlflow mlflow-run serve prefect airflow-test kubeflow stack stack-update stack-stop stack-status upgrade backup restore bench docs docs-serve check test chaos fuzz lock clean

# $(call quoted,TEXT): TEXT as one word of the shell. $(call option,NAME,TEXT): NAME=TEXT, or nothing without TEXT.
quoted = '$(subst ','\'',$(1))'
option = $(if $(2),$(1)=$(call quoted,$(2)))

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 17

install: .venv/installed .venv-mlflow/installed .venv-serving/installed  ## build the environments of runs, MLflow's server and the service

demo: .venv/installed  ## from a fresh clone to a champion: the synthetic city through the Mage pipeline
	$(BIN)/python -m stack.mage run . trip_duration_training
	@echo
	@$(BIN)/python -m mlops show trip-duration-sample
	@$(BIN)/python -m stack.next_steps trip-duration-sample

train: .venv/installed  ## SERVICE=green MONTH=2023-10 SOURCE=tlc [ARGS="--max-trials 20"]: the same on real months
	@$(BIN)/python -m mlops train $(call option,--service,$(SERVICE)) $(call option,--month,$(MONTH)) \
	  $(call option,--source,$(SOURCE)) $(ARGS)

editor: .venv/installed  ## [TERMINAL=1]: the pipeline in Mage's editor, on 127.0.0.1, for who has the link that it prints
	@$(BIN)/python -c 'import socket; socket.socket().bind(("127.0.0.1", $(EDITOR_PORT)))' 2>/dev/null || \
	  { echo "port $(EDITOR_PORT) is taken; choose another: make editor EDITOR_PORT=6790" >&2; exit 1; }
	@env -u ENV -u MAGE_DATABASE_CONNECTION_URL REQUIRE_USER_AUTHENTICATION=false DISABLE_AUTO_BROWSER_OPEN=true \
	  SERVER_VERBOSITY=$${SERVER_VERBOSITY:-WARNING} PYDEVD_DISABLE_FILE_VALIDATION=1 \
	  DISABLE_TERMINAL=$(if $(filter 1,$(TERMINAL)),false,true) $(BIN)/python -m stack.mage start . --host 127.0.0.1 --port $(EDITOR_PORT)

# jupytext, which keeps the notebook's .py like the notebook, is one of the packages for development.
notebook: .venv/dev-installed  ## [JUPYTER_PORT=8888]: from plots of the trips to a registered model, in JupyterLab on 127.0.0.1
	@$(BIN)/python -m stack.notebook lab $(call quoted,$(JUPYTER_PORT))

script: .venv/installed  ## the notebook's four steps as a script with options, in the state folder
	@$(BIN)/python -m stack.notebook script

mlflow: .venv-mlflow/installed  ## MLflow's server and pages on 127.0.0.1, over the same store
	@$(SERVER_BIN)/python -m stack.mlflow_server $(MLFLOW_PORT)

# With MLFLOW_TRACKING_URI unset, `mlflow run` alone would make a store of its own in this folder.
mlflow-run: .venv/installed  ## [ENTRY=backfill] [ARGS="-P month=2023-03"]: the same as an MLflow Project, see MLproject
	@$(BIN)/python -m flows.with_mlflow run $(call quoted,$(or $(ENTRY),train)) $(ARGS)

serve: .venv-serving/installed  ## [SERVE_PORT=8000 ARGS="--services green"]: the champions over HTTP, on 127.0.0.1
	@.venv-serving/bin/python -m mlops.serving --port $(call quoted,$(SERVE_PORT)) $(ARGS)

# Other orchestrators run the same steps; each in an environment of its own. Their state is in the state folder.
airflow = @export AIRFLOW_HOME=$(call quoted,$(value MLOPS_STATE_DIR))/airflow AIRFLOW__CORE__DAGS_FOLDER=$(call quoted,$(CURDIR)/flows) \
  AIRFLOW__CORE__LOAD_EXAMPLES=false AIRFLOW__CORE__PARALLELISM=2 PYTHONPATH=$(call quoted,$(CURDIR)) \
  PATH=$(call quoted,$(CURDIR)/.venv-airflow/bin):"$$PATH" \
  AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY="$${AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY:-60}" && mkdir -p "$$AIRFLOW_HOME" &&
airflow-test: .venv-airflow/installed  ## [SETTINGS='{"month": "2023-03"}']: the sample through Airflow, without a server
	$(airflow) airflow db migrate >"$$AIRFLOW_HOME/migration.log" 2>&1 && \
	  airflow dags test trip_duration_training --conf $(call quoted,$(or $(SETTINGS),{}))

kubeflow: .venv-kfp/installed  ## [SETTINGS="month=2023-03"]: the sample through the local runner of Kubeflow Pipelines
	@PYTHONPATH=$(call quoted,$(CURDIR)) .venv-kfp/bin/python flows/with_kubeflow.py run $(SETTINGS)

prefect: .venv-prefect/installed  ## [PREFECT_PORT=4200]: the same steps under Prefect: server, pages and deployments, on 127.0.0.1
	@.venv-prefect/bin/python -m stack.prefect_server $(call quoted,$(PREFECT_PORT))

# supervisord runs the services and starts again what dies; it is configured from docker-compose.yml.
# Ports: MAGE_PORT, MLFLOW_PORT, POSTGRES_PORT and SERVING_PORT, from the command line or the environment; then kept.
stack: install  ## Mage, MLflow, PostgreSQL and the service as docker-compose.yml runs them, without containers
	@$(BIN)/python -m stack start

stack-update: install  ## start Mage again with this checkout, also where its pages changed the same; it says what it replaces
	@$(BIN)/python -m stack update

# These build nothing. After a `git pull` they use the environments as they are: those of the running stack. An
# interrupted upgrade may have left a part of one.
as_it_is = test -e .venv/installed || $(BIN)/python -c 'import stack.__main__' 2>/dev/null || \
  { echo 'the environment .venv is missing or not complete: run make upgrade, which builds it' >&2; exit 1; }

stack-stop:  ## end all of them
	@$(as_it_is)
	@$(BIN)/python -m stack stop

stack-status:  ## show them; fails unless all are healthy
	@$(as_it_is)
	@$(BIN)/python -m stack status

# Where the environments are to be built again, the stack is stopped first: its processes load modules from them.
again = $(MAKE)# by another name, since make runs a line with its own even in a dry run
upgrade:  ## after a `git pull`: backup, environments and databases for this code, start what ran, doctor
	@test ! -e .venv/installed || $(again) --question install >/dev/null 2>&1 || $(BIN)/python -m stack stop-for-upgrade
	@$(MAKE) --silent --no-print-directory install
	@$(BIN)/python -m stack upgrade

backup:  ## TO=file.tar.gz: registry, journal, artefacts and Mage's runs, triggers and users in one file
	@$(as_it_is)
	@$(BIN)/python -m stack backup $(if $(TO),-- $(call quoted,$(TO)))

restore: install  ## FROM=file.tar.gz [TRUST=1]: a new stack of them, here or on another machine
	@$(BIN)/python -m stack $(if $(filter 1,$(TRUST)),--trust) restore $(if $(FROM),-- $(call quoted,$(FROM)))

bench: .venv/installed .venv-bench/installed  ## [SOURCE=folder] [BENCH=quick] [MONTHS=2023-10]: ours, the course's recipe and AutoML side by side
	@$(BIN)/python -m benchmarks $(call option,--source,$(SOURCE)) $(call option,--bench,$(BENCH)) \
	  $(call option,--months,$(MONTHS)) $(ARGS)

docs: .venv/installed .venv-docs/installed  ## build the documentation site into site/; any warning fails
	@$(BIN)/python -m docs.hooks.reference docs/reference
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict
	@$(BIN)/python -c 'import pathlib; print("open", pathlib.Path("site/index.html").resolve().as_uri())'
	@echo "make docs-serve has the search"

docs-serve: docs  ## the same at http://127.0.0.1:8000, with search, built again at each change
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs serve --strict --dev-addr 127.0.0.1:8000

check: .venv/dev-installed  ## format, lint, types, import contracts and the documentation site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs

two_at_once = --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: check install .venv-lock/installed  ## about a quarter of an hour: check, then every test but the long stories
	$(BIN)/pytest $(two_at_once) -m "not long"

test-long: .venv/dev-installed install .venv-browser/installed .venv-schemathesis/installed .venv-prefect/installed .venv-airflow/installed .venv-kfp/installed  ## the long stories: a year of the schedule, kills, three doors in a browser, real months
	$(BIN)/pytest $(two_at_once) -m long

chaos: install .venv/dev-installed  ## kill runs at every stage and 30 random moments, on SQLite and PostgreSQL; replay real months
	CHAOS_MOMENTS=$(or $(CHAOS_MOMENTS),30) $(BIN)/pytest tests/system/test_chaos.py tests/pipelines/test_real_months.py

fuzz: install .venv/dev-installed .venv-schemathesis/installed  ## [FUZZ_CASES=5000]: send the service requests that its OpenAPI description allows or forbids
	FUZZ_CASES=$(or $(FUZZ_CASES),5000) $(BIN)/pytest tests/system/test_service_documents.py

# Those that another one names with -c come before it. Without its extras, pip 23 finds no hash for `package[extra]`.
locks = requirements requirements-build requirements-dev requirements-mlflow requirements-docs requirements-bench \
  requirements-browser requirements-lock requirements-serving requirements-schemathesis requirements-prefect \
  requirements-airflow requirements-kfp

lock: .venv-lock/installed  ## make the locks again from requirements*.in
	for name in $(locks); do \
	  .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-strip-extras \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $$name.in -o $$name.txt || exit; done

clean:  ## remove the environments; the state folder stays
	rm -rf .venv .venv-mlflow .venv-docs .venv-browser .venv-bench .venv-lock .venv-serving .venv-schemathesis .venv-prefect .venv-airflow .venv-kfp

# $(call environment,FOLDER): an empty virtual environment; $(call into,FOLDER,ARGUMENTS): install into it.
ifeq ($(UV),)
environment = '$(PYTHON)' -m venv --clear $(1)
# Without compiling: Python compiles what it imports, which is a small part of what is installed.
into = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(2)
else
environment = '$(UV)' venv --quiet --clear --python '$(PYTHON)' $(1)
into = VIRTUAL_ENV=$(1) '$(UV)' pip install --quiet $(2)
endif

# A package without its hash in the lock is refused. `wheels`: nothing is built. `built`: what has no wheel is built with
# the locked packages in the environment. `own`: this project, for which nothing is downloaded.
wheels = --require-hashes --only-binary :all:
built = --require-hashes --no-build-isolation
own = --no-index --no-deps --no-build-isolation --config-settings editable_mode=compat

.venv/installed: requirements.txt requirements-build.txt
	@$(call need_python)
	@echo "building .venv (Mage and all that a run needs): a few minutes the first time"
	$(call environment,.venv)
	$(call into,.venv,$(wheels) -r requirements-build.txt)
	$(call into,.venv,$(built) -r requirements.txt)
	$(call into,.venv,$(own) --editable .)
	@touch $@

.venv/dev-installed: .venv/installed requirements-dev.txt
	@echo "adding what checks and tests need to .venv"
	$(call into,.venv,$(wheels) -r requirements-dev.txt)
	@touch $@

about_mlflow = the MLflow server
about_docs = what builds the documentation site
about_browser = what drives the browser of the tests
about_bench = the benchmark's peers
about_lock = what makes the locks
about_schemathesis = what makes requests from the service's OpenAPI description
about_serving = the service
about_prefect = Prefect, with the library
about_airflow = Airflow, with the library
about_kfp = Kubeflow Pipelines, with the library
.venv-%/installed: requirements-%.txt
	@$(call need_python)
	@test ! -L .venv-$* || { echo ".venv-$* is a link: to build it would empty the folder it points at" >&2; exit 1; }
	@echo "building .venv-$* ($(about_$*))"
	$(call environment,.venv-$*)
	$(call into,.venv-$*,$(wheels) -r $<)
	@touch $@

# Kubeflow publishes no wheels.
.venv-kfp/installed: requirements-kfp.txt requirements-build.txt
	@$(call need_python)
	@echo "building .venv-kfp ($(about_kfp))"
	$(call environment,.venv-kfp)
	$(call into,.venv-kfp,$(wheels) -r requirements-build.txt)
	$(call into,.venv-kfp,$(built) -r $<)
	@touch $@

need_python = test -n "$(PYTHON)" || { echo "Python 3.10, 3.11 or 3.12 is needed; none was found" >&2; exit 1; }
