# SPDX-License-Identifier: GPL-2.0-only
# Installing and packaging; the Makefile includes this.

PREFIX ?= /usr/local
DESTDIR ?=
# What damosd runs on once it is installed: the system's Python, which the service may run and upgrades leave in place.
INSTALL_PYTHON ?= $(realpath $(firstword $(wildcard /usr/bin/python3) $(shell command -v $(PYTHON))))
WHEELS := build/wheels
INSTALL := env PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) PYTHON=$(INSTALL_PYTHON) PIP="$(RUN) -m pip --disable-pip-version-check" \
    WHEELS=$(WHEELS) etc/install.sh

.PHONY: build
build: $(WHEELS)/.ready ## build damosd, manual pages and completions, and gather what it needs, into build

# What damosd needs comes from the network once, and not at all when pip's own configuration knows where it is.
$(WHEELS)/.ready: $(READY) etc/damosd.yaml $(shell find damosd schemes etc/schema -type f ! -name "*.pyc" ! -name "*.bpf.o")
	@rm -rf $(WHEELS)/damosd-*
	@mkdir -p $(WHEELS)
	@echo "building damosd for $(INSTALL_PYTHON) into $(WHEELS)"
	@$(RUN) -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir $(WHEELS) .
	@$(RUN) -m damosd.cli.manpages build/man
	@mkdir -p build/completions
	@$(RUN) -m damosd completion bash >build/completions/damosd.bash
	@$(RUN) -m damosd completion zsh >build/completions/_damosd
	@$(INSTALL_PYTHON) -m venv --clear --without-pip build/python
	@pip="$(RUN) -m pip --disable-pip-version-check --python build/python/bin/python"; \
	for index in --no-index ""; do \
	    if $$pip wheel --quiet $$index --find-links $(WHEELS) --wheel-dir $(WHEELS) $$(echo $(WHEELS)/damosd-*.whl)[top] 2>build/pip.log; \
	    then touch $@; exit; fi; \
	done; cat build/pip.log >&2; exit 1

.PHONY: install
install: build ## install damosd (PREFIX=/usr/local, DESTDIR): the program, unit files, examples, documentation
	@$(INSTALL) install
	@echo "damosd is installed below $(DESTDIR)$(PREFIX); docs/install.md tells how to start it"

.PHONY: uninstall
uninstall: ## take away what `make install` has placed; configuration that was changed stays
	@$(INSTALL) uninstall

.PHONY: deb
deb: build ## build a Debian package, for the Debian that this is run on
	@rm -rf build/deb
	@$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=$(abspath build/deb) >/dev/null
	@etc/debian/build.sh build/deb build
