# Two commands are enough: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CODE := kdrec tests bench docs

# pip need not compile the 14,000 files of our dependencies: the 2,000 that are used are compiled when
# they are loaded for the first time, which must not be forbidden then.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test setup format check loads first-unit unit bench clean

demo: setup
	$(BIN)/kdrec demo

test: setup
	$(MAKE) --jobs 2 check first-unit

setup: $(VENV)/ready

# The constraints pin versions that were tested together; users of the package are not bound by them.
# The pip that comes with Python 3.11 takes twice as long to find them.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[all,dev]'
	touch $@

format: setup
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

check: setup
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

# Whether all files of tests can be loaded; what they load is compiled here, once for all workers.
loads: setup
	$(BIN)/pytest --collect-only --quiet >/dev/null

first-unit: loads
	$(MAKE) unit

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
