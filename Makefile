# Two commands do everything a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := --study studies/demo.yaml

.PHONY: demo test ui study bench clean
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

# One benchmark reads what the finished demo recorded.
bench: demo
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info
