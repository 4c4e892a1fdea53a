# What there is to do here: `make help` lists it. Whatever a target needs it sets up itself; as root it also
# installs missing Debian packages, otherwise it names them.

VENV := .venv
PYTHON := $(VENV)/bin/python

python_files = $$(scripts/files-in python)
shell_files = $$(scripts/files-in sh)

.DEFAULT_GOAL := help
.PHONY: help demo demo-shell quick test test-all check docs man rpm pictures lab lab-full lab-shell bench bench-short mutants clean venv python-3.6

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: venv ## play the whole procedure on a simulated pool, in seconds
	@$(PYTHON) tests/pool/demo.py

demo-shell: venv ## a shell beside a simulated pool: try sriovctl, type what the documents show
	@$(PYTHON) tests/pool/demo_shell.py

# Compiling the tests takes as long as many of them: what is compiled is kept, also where Python is told not to.
quick: venv ## run the unit tests
	@PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/build/bytecode \
	    $(PYTHON) -m pytest -q --numprocesses=auto --dist=loadfile tests/unit

test: venv python-3.6 ## run all tests on one Python, of dom0's where there is one; as root those of the package too
	@[ "$$(id -u)" != 0 ] || scripts/need rpmbuild=rpm mmdebstrap strace promtool=prometheus prometheus-node-exporter
	@$(PYTHON) scripts/run-tests

test-all: venv python-3.6 ## run them on every Python found here
	@[ "$$(id -u)" != 0 ] || scripts/need rpmbuild=rpm mmdebstrap strace promtool=prometheus prometheus-node-exporter
	@$(PYTHON) scripts/run-tests --everywhere

# mypy takes one module of a name at a time, and each folder of tests has a conftest.
check: venv python-3.6 ## format, lint, types, shell and package
	@scripts/need shellcheck rpmlint
	@$(PYTHON) -m ruff format --check $(python_files)
	@$(PYTHON) -m ruff check $(python_files)
	@for part in "hooks plugins scripts" tests/*.py tests/*/; do \
	    $(PYTHON) -m mypy $$(scripts/files-in python $$part) || exit; \
	done
	@shellcheck $(shell_files)
	@$(PYTHON) scripts/write-docs --check
	@$(PYTHON) scripts/draw-map --check
	@$(PYTHON) scripts/mutants --list >/dev/null
	@$(MAKE) --no-print-directory rpm
	@scripts/check-rpm build/rpm

docs: venv ## run the commands in the documents and write their outputs
	@$(PYTHON) scripts/write-docs
	@$(PYTHON) scripts/draw-map

man: ## make the man pages sriov.conf(5) and sriovctl(1) in build
	@mkdir -p build
	@scripts/man-page build/sriov.conf.5
	@scripts/sriovctl-man build/sriovctl.1

rpm: ## build the package: build/rpm/xapi-sriov-VERSION-1.noarch.rpm
	@scripts/need rpmbuild=rpm
	@scripts/build-rpm build/rpm

pictures: venv ## see the pictures of sriovctl in a real Chromium; they stay in build/pictures
	@scripts/need chromium
	@$(PYTHON) -m pytest -q tests/browser

lab: venv ## on a real Xen in QEMU: the shortest story of each capability (root)
	@$(PYTHON) tests/lab/run short

lab-full: venv ## on a real Xen in QEMU: every story (root)
	@$(PYTHON) tests/lab/run full

lab-shell: venv ## a shell in the dom0 of a running lab host (root)
	@$(PYTHON) tests/lab/run shell

bench: venv ## measure what calls, starts and restores cost: one table (AGAINST=COMMIT: beside that commit)
	@$(PYTHON) tests/bench/run $(if $(AGAINST),--against $(AGAINST))

bench-short: venv ## see that each figure still gives a number: a minute, and no measurement
	@$(PYTHON) tests/bench/run --short

mutants: venv ## break the library in small ways: which do no tests notice? (an hour; or MODULES="starts.judge vf.restore" SAMPLE=20)
	@$(PYTHON) scripts/mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(MODULES)

clean: ## remove all that the other targets made
	rm -rf build *.egg-info .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

venv:
	@scripts/need python3
	@scripts/venv python3 .venv tests/requirements.txt scripts/requirements.txt

# All Python here must run on dom0's oldest: this finds what is newer without needing a Python 3.6.
python-3.6: venv
	@$(VENV)/bin/vermin --target=3.6- --eval-annotations --no-tips --violations --quiet $(python_files)
