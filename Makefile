# Two commands do everything a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --no-annotate --no-header \
	--python $(BIN)/python
INSTALLED := $(VENV)/.installed
DEMO := --study studies/demo.yaml
WORKERS := -n $$(nproc) --dist loadfile --no-loadscope-reorder
RECORDS := results/recovery/faults.jsonl

.PHONY: demo lock test test-long test-browser test-all soak ui study docs schemas screenshots bench bench-memory oracles clean
.DEFAULT_GOAL := demo

# A folder without pip is left behind where Debian's python3.11-venv is missing: it is made anew.
# uv installs several times as fast as pip; where it cannot be had or does not reach the index that
# pip is told to use, pip installs the same.
$(INSTALLED): pyproject.toml locks/dev.txt
	@command -v $(PYTHON) > /dev/null || { \
		echo "error: there is no $(PYTHON); install Python 3.11, or say where it is: make PYTHON=..." >&2; exit 1; }
	@echo "installing into $(VENV), once: TensorFlow and torch are large, this takes a few minutes"
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --quiet --require-hashes -r locks/uv.txt && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r locks/dev.txt || \
		$(PIP) --no-compile --require-hashes -r locks/dev.txt
	@$(PIP) --quiet --no-deps --no-build-isolation -e .
	@# pip would compile with one process. A few files of other packages are no Python 3.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib fly64_assets || true
	@touch $@

# What is installed, with hashes, from pyproject.toml: whatever it leaves open, the newest.
lock: $(INSTALLED)
	@$(LOCK) --extra dev -o locks/dev.txt
	@echo uv | $(LOCK:pyproject.toml=-) -o locks/uv.txt

demo: $(INSTALLED)
	@$(BIN)/fly64 run $(DEMO) --dose 1000 --view dense

ui: $(INSTALLED)
	@$(BIN)/fly64 ui $(DEMO)

study: $(INSTALLED)
	@$(BIN)/fly64 run --study study.yaml --all

test: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy
	@$(BIN)/mypy --strict --follow-imports silent -p fly64_assets.study -p fly64_assets.documents \
		-p fly64_assets.rules
	@$(BIN)/python -m pytest $(WORKERS)

# What `make test` leaves out: half an hour on two idle cores.
test-long: $(INSTALLED)
	@$(BIN)/python -m pytest $(WORKERS) -m long

# The documentation site in site/, from docs/ and from the code; needs no network. Browsers search
# in it only when it is served.
docs: $(INSTALLED)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html; with search: $(BIN)/python -m http.server -b 127.0.0.1 -d site"

# docs/schemas, from the code.
schemas: $(INSTALLED)
	@$(BIN)/python -m fly64_assets.documents.schemas

# The web UI clicked through, and the study report used, in the headless Chromium that the system
# has; a picture of every page in build/screenshots.
test-browser: $(INSTALLED)
	@$(BIN)/python -m pytest -m "not matrix" fly64_assets_tests/in_browser

# docs/images/ui_*.png and report.png, from the finished demo.
screenshots: demo
	@PYTHONPATH=. $(BIN)/python docs/take_screenshots.py

# Backfills, everybody at once for ten minutes, then every kind of fault in every phase, 135 faults;
# at most two hours and a half. Their table is in docs/recovery.md.
test-all: test test-long
	@rm -f $(RECORDS)
	@FLY64_FAULT_RECORDS=$(abspath $(RECORDS)) timeout 150m $(BIN)/python -m pytest -m matrix \
		-n $$(nproc) --dist load --maxschedchunk 1
	@$(BIN)/python -m fly64_assets_tests.recovery.table $(RECORDS)

# 3 doses x 2 views x 3 rounds with random kills; at most two hours.
soak: $(INSTALLED)
	@$(BIN)/python -m fly64_assets_tests.recovery.soak --minutes 120

# All benchmarks but the next, then a table of their ratios. Some read what the finished demo left.
bench: demo
	@$(BIN)/python benchmarks/ratios.py

# A study of 128 px patches: ten minutes on two idle cores, and 10 GB of disk while it runs.
bench-memory: $(INSTALLED)
	@$(BIN)/python benchmarks/bench_memory.py

# Asks other programs for our metrics (docs/metrics.md): rewrites the answers that `make test` holds
# ours against, and prints how far they are apart; with a finished demo also on its images.
ORACLES := .venv-oracles
ASK := oracles/ask.py
OTHERS := torchmetrics pytorch-msssim scikit-image ptychodus
ORACLE_STORE ?= results/demo/store
ORACLE_ANSWERS := results/oracles/answers.json

oracles: export PYTHONPATH := .
oracles: $(INSTALLED)
	@test -x $(ORACLES)/bin/python || $(BIN)/python -m venv $(ORACLES)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $(ORACLES)/lib/python3.11/site-packages/below.pth
	@$(ORACLES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		-r oracles/requirements.txt
	@$(BIN)/python $(ASK) tensorflow
	@$(ORACLES)/bin/python $(ASK) $(OTHERS)
	@if test -d $(ORACLE_STORE); then \
		$(BIN)/python $(ASK) tensorflow --store $(ORACLE_STORE) --to $(ORACLE_ANSWERS) && \
		$(ORACLES)/bin/python $(ASK) $(OTHERS) --store $(ORACLE_STORE) --to $(ORACLE_ANSWERS) && \
		$(BIN)/python oracles/agreement.py --store $(ORACLE_STORE) \
			--store-answers $(ORACLE_ANSWERS); \
	else $(BIN)/python oracles/agreement.py; fi

clean:
	rm -rf $(VENV) $(ORACLES) build site .pytest_cache .ruff_cache .hypothesis *.egg-info
