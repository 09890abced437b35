# Two commands do everything a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := --study studies/demo.yaml
RECORDS := results/recovery/faults.jsonl

.PHONY: demo test test-all soak ui study bench clean
.DEFAULT_GOAL := demo

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV): TensorFlow and torch are large, this takes a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/fly64 run $(DEMO) --dose 1000 --view dense

ui: $(INSTALLED)
	@$(BIN)/fly64 ui $(DEMO)

study: $(INSTALLED)
	@$(BIN)/fly64 run --study study.yaml --all

test: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -n $$(nproc) --dist loadfile

# Every kind of fault in every phase, 135 faults; at most two hours. Their table is in docs/recovery.md.
test-all: test
	@rm -f $(RECORDS)
	@FLY64_FAULT_RECORDS=$(abspath $(RECORDS)) timeout 2h $(BIN)/python -m pytest -m matrix \
		-n $$(nproc) --dist load --maxschedchunk 1 fly64_assets_tests/recovery
	@$(BIN)/python -m fly64_assets_tests.recovery.table $(RECORDS)

# 3 doses x 2 views x 3 rounds with random kills; at most two hours.
soak: $(INSTALLED)
	@$(BIN)/python -m fly64_assets_tests.recovery.soak --minutes 120

# One benchmark reads what the finished demo recorded.
bench: demo
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info
