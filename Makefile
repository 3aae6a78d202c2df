# Two commands: `make demo` opens the console on a simulated TPM, `make test` proves that it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# "compat": a plain path instead of an import hook, which would cost 14 ms at every start.
EDITABLE := --quiet --config-settings editable_mode=compat --editable
STATE ?= $(HOME)/.local/state/tpmconsole-demo
RELEASE ?= trixie

.PHONY: demo
demo: $(VENV)/.console
	@exec $(BIN)/tpmconsole --state '$(STATE)' --simulate

.PHONY: test
test: $(VENV)/.test lint
	@sh .ci/packages test
	@# As pip leaves an installed package: the tests start it several hundred times.
	@$(BIN)/python -m compileall -q tpmconsole
	$(BIN)/pytest

.PHONY: lint
lint: $(VENV)/.test
	$(BIN)/ruff format --check tpmconsole tests
	$(BIN)/ruff check tpmconsole tests
	$(BIN)/mypy
	$(BIN)/codespell
	@cd tests && ../$(BIN)/python -m tools.words

# The banned phrases alone, as lint checks them; one folder: make words FILES=tpmconsole/tpm
.PHONY: words
words: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m tools.words $(abspath $(FILES))

.PHONY: walk
walk: $(VENV)/.test
	@sh .ci/packages test
	@cd tests && ../$(BIN)/python -m tools.walk

# An emulated board of Debian 13, or 12 (RELEASE=bookworm); Ctrl-] leaves it.
.PHONY: board
board: $(VENV)/.console
	@sh .ci/packages board
	@cd tests && ../$(BIN)/python -m emulated $(RELEASE)

# Everything on one board, from power on to a power cut, within ten minutes.
.PHONY: test-board
test-board: $(VENV)/.test
	@sh .ci/packages board
	BOARD_RELEASE=$(RELEASE) $(BIN)/pytest -m board -n 0 -v -s --durations=0 tests/emulated --ignore $(UNITS)

# What systemd runs there: the kiosk, the login of a serial line, sessions; and a clock that is lost.
UNITS := tests/emulated/test_3_units.py
.PHONY: test-units
test-units: $(VENV)/.test
	@sh .ci/packages board
	BOARD_RELEASE=$(RELEASE) $(BIN)/pytest -m board -n 0 -v -s --durations=0 $(UNITS)

# The example playbook, by the real Ansible.
.PHONY: test-fleet
test-fleet: $(VENV)/.fleet
	$(BIN)/pytest -m fleet -n 0 tests/test_fleet.py

# Breaks everything that can break, under a console; ends with the table: fault, expected, seen.
.PHONY: faults
faults: $(VENV)/.test
	@$(BIN)/pytest -m faults --dist load tests/faults

# Replays every attack that was ever made on it; ends with the table: attack, expected, seen.
.PHONY: attacks
attacks: $(VENV)/.test
	@$(BIN)/pytest -m attacks --dist load tests

# Every lie about where a key is, told to the CA and to the TPM; ends with the table: lie, who
# refuses it, what was seen. keylime judges as well.
.PHONY: attest
attest: $(VENV)/.judge
	@sh .ci/packages test
	@$(BIN)/pytest -m lies --dist load tests/enrol

# The check of certificates compared with OpenSSL and C2SP's x509-limbo (FILE=limbo.json, or .gz).
.PHONY: limbo
limbo: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m tools.limbo '$(abspath $(FILE))'

# Ten minutes of random faults and random keys (DURATION=120 SEED=7 make chaos); needs root.
DURATION ?= 600
.PHONY: chaos
chaos: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m faults.chaos --seconds $(DURATION) $(if $(SEED),--seed $(SEED))

# Random bytes for the readers of what others have written, by Atheris (DURATION=60 make fuzz).
.PHONY: fuzz
fuzz: $(VENV)/.fuzz
	@cd tests && ../$(BIN)/python -m tools.fuzz $(DURATION)

.PHONY: test-long
test-long: $(VENV)/.test
	@sh .ci/packages long
	$(BIN)/pytest -m long -n 0 tests

# Mutual TLS with nginx, Apache, mosquitto, curl and OpenSSL's own programs, which are unpacked and not installed.
.PHONY: interop
interop: $(VENV)/.test
	@sh .ci/unpack .interop nginx apache2-bin mosquitto
	$(BIN)/pytest -m interop -n 2 tests/session

# Random keys and pauses at a kiosk, for MINUTES.
MINUTES ?= 10
.PHONY: soak-kiosk
soak-kiosk: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m tools.soak_kiosk $(MINUTES)

.PHONY: bench
bench: $(VENV)/.test $(VENV)/.fleet
	@sh .ci/packages bench
	@cd tests && ../$(BIN)/python -m bench

# Ten minutes and ten thousand handshakes in which nothing may grow; SOAK_S and HANDSHAKES change that.
.PHONY: soak
soak: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m bench.soak

.PHONY: screenshots
screenshots: $(VENV)/.pictures
	@cd tests && ../$(BIN)/python -m tools.screenshots
	@cd tests && ../$(BIN)/python -m tools.cast

# Whether the pictures show what the program shows now.
.PHONY: check-screenshots
check-screenshots: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m tools.screenshots --check
	@cd tests && ../$(BIN)/python -m tools.cast --check

# The manual page and the shells' completions, from the parser.
.PHONY: manual
manual: $(VENV)/.test
	@cd tests && ../$(BIN)/python -m tools.manual

# A wheel and an sdist that install into an empty environment.
.PHONY: package
package: $(VENV)/.test
	@sh .ci/package $(BIN)/python

.PHONY: clean
clean:
	rm -rf $(VENV) .interop build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tpmconsole tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Looking for the packages takes a few milliseconds, so it is done every time: one may have been removed.
.PHONY: packages
packages:
	@sh .ci/packages

$(VENV)/bin/python: | packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tpmconsole needs Python 3.11 or newer; name one: make PYTHON=python3.12 demo" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.console: pyproject.toml $(VENV)/bin/python | packages
	$(BIN)/pip install $(EDITABLE) .
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/bin/python | packages
	$(BIN)/pip install $(EDITABLE) '.[test]'
	@touch $@ $(VENV)/.console

$(VENV)/.fuzz: pyproject.toml $(VENV)/.test
	$(BIN)/pip install $(EDITABLE) '.[fuzz]'
	@touch $@

$(VENV)/.fleet: pyproject.toml $(VENV)/.test
	$(BIN)/pip install $(EDITABLE) '.[fleet]'
	@touch $@

$(VENV)/.judge: pyproject.toml $(VENV)/.test
	$(BIN)/pip install $(EDITABLE) '.[judge]'
	@touch $@

$(VENV)/.pictures: pyproject.toml $(VENV)/.test
	$(BIN)/pip install $(EDITABLE) '.[pictures]'
	@touch $@
