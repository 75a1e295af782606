# Everything CI runs, run the same way by hand. `make run` and `make test` need nothing done before.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
RUN    := $(VENV)/.run
DATA   ?= data

.PHONY: dev run test lint unit coverage wheel-test interop interop-long interop-official docs soak bench bench-quick bench-growth clean

run: $(RUN)  ## name server and broker in one process, store in ./data
	@exec $(BIN)/rmqd up --data $(DATA) $(ARGS)

test: lint unit interop  ## everything CI runs

dev: $(STAMP)

$(RUN): setup.cfg
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -e .
	@touch $(RUN)

$(STAMP): setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -e '.[test,dev]'
	@mkdir -p .links/rmqd
	@for p in store conf protocol; do ln -sfn ../../$$p .links/rmqd/$$p; done
	@touch $(STAMP)

lint: $(STAMP)  ## format, lint, types, directions of import
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q --output-format concise .
	$(BIN)/mypy -p rmqwire -p rmqd
	PYTHONPATH=.links:. $(BIN)/lint-imports

unit: $(STAMP)  ## unit, property and simulation tests, with and without the compiled part
	$(BIN)/pytest tests
	RMQD_PURE=1 $(BIN)/pytest tests/wire tests/store tests/sim

coverage: $(STAMP)  ## the same, with what they reach of the codec and the store
	@mkdir -p .cache
	$(BIN)/coverage run $(BIN)/pytest tests
	$(BIN)/coverage report --include='*/rmqwire/*,rmqwire/*' --fail-under=100
	$(BIN)/coverage report --include='store/*' --fail-under=95

wheel-test:  ## the same, against the wheel as others install it
	@rm -rf .cache/wheel build && $(PYTHON) -m venv .cache/wheel
	@.cache/wheel/bin/pip wheel -q --no-deps -w .cache/wheel/dist .
	@.cache/wheel/bin/pip install -q "$$(ls .cache/wheel/dist/*.whl)[test]"
	.cache/wheel/bin/pytest tests

interop: $(STAMP)  ## official clients against our servers
	$(BIN)/pytest interop --server=ours

interop-long: $(STAMP)  ## also the cases that take minutes
	$(BIN)/pytest interop --server=ours --long

interop-official: $(STAMP)  ## the same cases against the official servers
	$(BIN)/pytest interop --server=official

docs: $(STAMP)  ## the generated tables
	$(BIN)/python -m rmqd.protocol.document
	$(BIN)/python -m rmqd.conf.document > docs/options.md

soak: $(STAMP)  ## the long sizes of the proof (docs/durability.md), every crash point of the simulation; half an hour
	RMQD_PROOF=soak $(BIN)/pytest tests/proof
	$(BIN)/pytest tests -m slow

bench: $(STAMP)  ## ratios to the official broker, in one run
	$(BIN)/python bench/run.py

bench-quick: $(STAMP)
	$(BIN)/python bench/run.py --quick

bench-growth: $(STAMP)  ## what more queues, messages, connections and waiting pulls cost; 50 million messages take 15 GB of disk
	$(BIN)/python bench/growth.py

clean:
	rm -rf $(VENV) .links .cache build dist *.egg-info
