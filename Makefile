# Everything CI runs, run the same way by hand.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: dev run test unit interop interop-official lint docs clean

dev: $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[test,dev]'
	mkdir -p .links/rmqd
	for p in store conf protocol; do ln -sfn ../../$$p .links/rmqd/$$p; done
	touch $(STAMP)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p rmqwire -p rmqd
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/pytest tests

clean:
	rm -rf $(VENV) .links .cache build dist *.egg-info
