# Each target sets up .venv first. Unlike the scripts in .venv/bin, `python -m` still works after the folder was moved.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: repro plots web test lint screenshots clean

# DVC starts each stage as `python`, which it looks up in PATH
repro: export PATH := $(CURDIR)/$(BIN):$(PATH)
repro: .venv/ready
	$(BIN)/python -m dvc repro
	@printf 'The report: %s\n' "$$PWD/report/index.html"

plots: .venv/ready
	$(BIN)/python -m dvc plots show
	@printf 'The plots: %s\n' "$$PWD/dvc_plots/index.html"

web: .venv/ready
	$(BIN)/python -m carcls.cli web

# two processes with one thread each: with more threads, they would compete for two cores
test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(TESTS)

lint: .venv/ready
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# make the images of the page and the report for README and docs, from the results in this folder
screenshots: .venv/ready
	$(BIN)/python docs/screenshots.py

# DVC needs core.no_scm if there is no Git repository, or if the repository does not track the project.
.venv/ready: pyproject.toml constraints.txt carcls/study/plots_page.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m carcls.study.plots_page .dvc/plots/page.html
	$(BIN)/python -m dvc config --quiet --local plots.html_template plots/page.html
	test -e .git || git ls-files --error-unmatch dvc.yaml >/dev/null 2>&1 || $(BIN)/python -m dvc config --local core.no_scm true
	touch $@

clean:
	rm -rf .venv
