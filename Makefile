# The commands that the README names. Everything lives in .venv; nothing outside this folder changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test check clean

setup: $(VENV)/.ready

# Versions come from the lock file; torch's own wheel brings what it needs beyond it.
$(VENV)/.ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/limner demo

test: setup
	scripts/test

check: setup
	scripts/check

clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .hypothesis
