# The door: each target sets up .venv first. Inside it, DVC works as any DVC user types it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: repro plots web test lint clean

repro: .venv/ready
	. $(BIN)/activate && dvc repro
	@echo "The report: $(CURDIR)/report/index.html"

plots: .venv/ready
	. $(BIN)/activate && dvc plots show
	@echo "The plots: $(CURDIR)/dvc_plots/index.html"

web: .venv/ready
	$(BIN)/carcls web

# two processes of one thread each: on such small images two of two threads wait for one another
test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(TESTS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints.txt carcls/study/plots_page.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m carcls.study.plots_page .dvc/plots/page.html
	$(BIN)/dvc config --quiet --local plots.html_template plots/page.html
	test -e .git || $(BIN)/dvc config --local core.no_scm true # a copy without Git, as GitHub's ZIP
	touch $@

clean:
	rm -rf .venv
