# Two commands are enough: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CODE := kdrec tests bench docs

.PHONY: demo test setup format check unit bench clean

demo: setup
	$(BIN)/kdrec demo

test: check unit

setup: $(VENV)/ready

# The constraints pin versions that were tested together; users of the package are not bound by them.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@

format: setup
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

check: setup
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two workers more than cores: many tests wait for a program, a lease or a connection that hangs.
unit: setup
	$(BIN)/pytest --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) + 2 )) \
		--dist loadfile --no-loadscope-reorder

bench: setup
	$(BIN)/python -m bench.recording
	$(BIN)/python -m bench.reading --no-peers
	$(BIN)/python -m bench.loading --no-peers
	$(BIN)/python -m bench.serving

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis kdrec-demo
