# SPDX-License-Identifier: GPL-2.0-only
# damosd from a fresh checkout, as root on Debian 12 or newer or Ubuntu 24.04 or newer.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python

# clang and libbpf-dev compile the BPF programs; demo and end-to-end tests run on Redis and PostgreSQL; strace counts
# system calls.
PACKAGES := clang libbpf-dev python3-venv redis-server postgresql strace
# A JDK: the Java victim is compiled when it starts, and the runtime alone has no compiler.
SOAK_PACKAGES := default-jdk-headless
VM_PACKAGES := qemu-system-x86 mmdebstrap e2fsprogs kmod cpio debian-archive-keyring

export OPENBLAS_NUM_THREADS := 1

# $(call install,PACKAGES): those that are missing, without touching the network when none is.
define install
	@missing=$$(for package in $(1); do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done | xargs); \
	if [ -n "$$missing" ]; then \
	    echo "installing $$missing"; \
	    apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	    for service in redis-server postgresql; do case " $$missing " in *" $$service "*) \
	        echo "stopping the $$service that came with its package"; \
	        systemctl disable --now $$service >/dev/null 2>&1 || true;; \
	    esac; done; \
	fi
endef

.PHONY: help
help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

.PHONY: setup
setup: packages $(READY) ## install what is missing: Debian packages, and damosd with its tools into .venv

.PHONY: packages
packages:
	$(call install,$(PACKAGES))

# What is there already is enough when its versions fit; only else the network is asked.
$(READY): pyproject.toml hatch_build.py damosd/bpf/pagetable.bpf.c | packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "damosd needs Python 3.11 or newer; set PYTHON")'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "installing damosd into $(VENV)"
	@pip="$(RUN) -m pip --disable-pip-version-check --quiet install"; \
	for index in --no-index ""; do \
	    if $$pip $$index "hatchling>=1.25" editables 2>$(VENV)/pip.log \
	        && $$pip $$index --no-build-isolation --editable ".[test,lint]" 2>>$(VENV)/pip.log; \
	    then touch $@; exit; fi; \
	done; cat $(VENV)/pip.log >&2; exit 1

.PHONY: demo
demo: setup ## show proactive reclaim on a real Redis, in about a minute
	@$(RUN) -m bench.demo

.PHONY: test
test: setup lint ## set up, check and run all tests
	@$(RUN) -m pytest -q

.PHONY: lint
lint: $(READY) ## style, types and the direction of imports
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }

.PHONY: schema
schema: $(READY) ## write the JSON Schema of scheme files
	@$(RUN) -m damosd.config.jsonschema docs/schemes.md etc/schema/damosd-scheme.schema.json

.PHONY: man
man: $(READY) ## write the manual pages into build/man
	@$(RUN) -m damosd.cli.manpages build/man

.PHONY: bench
bench: setup ## measure accuracy, cost and effect side by side, and print one table
	@$(RUN) -m bench

.PHONY: vm
vm: setup ## run the kernel tests on other kernels under QEMU
	$(call install,$(VM_PACKAGES))
	@$(RUN) -m pytest -q -m vm tests/vm

.PHONY: soak
soak: setup ## inject into programs that check themselves, for hours, and kill who does it; targets that come and go for 40 minutes
	$(call install,$(SOAK_PACKAGES))
	@$(RUN) -m pytest -q -s -m soak tests/robustness

include etc/install.mk
