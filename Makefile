# The door: each target sets up .venv first. Inside it, DVC works as any DVC user types it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: repro test lint clean

repro: .venv/ready
	. $(BIN)/activate && dvc repro
	@echo "The report: $(CURDIR)/report/index.html"

test: .venv/ready
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
