# demo, test, proof, lint, docs, bench and mutants set themselves up in .venv first; `gpu` uses the Python you have.
# Which Python:      make test PYTHON=python3.12
# Further arguments: make test ARGS="-k softmax"

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/ready
INSTALL := -c constraints.txt -e ".[triton,viz,dev]"

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# PyTorch's build without CUDA: taken on a Linux machine with no NVIDIA driver, if the site answers.
TORCH_CPU := https://download.pytorch.org/whl/cpu

.PHONY: help demo test proof lint docs bench gpu mutants clean moved

help:
	@echo "make demo    train on handwritten digits with NumPy, then with Triton, and compare"
	@echo "make test    run the tests"
	@echo "make proof   run all of them: every case, type, seed and GPU (half an hour; before a release)"
	@echo "make lint    ruff (lint, format) and mypy"
	@echo "make docs    write the generated pages of docs anew"
	@echo "make bench   time the operations on this machine"
	@echo "make gpu     on a machine with a GPU: check, test and time the kernels; installs nothing"
	@echo "make mutants put faults into the ops and what stands above, see that the tests notice (hours)"
	@echo "make clean   remove .venv, caches and build outputs"

demo: $(READY)
	@echo "refnet: running the demo"
	@$(BIN)/refnet demo $(ARGS)

test: $(READY)
	@echo "refnet: running the tests"
	@PYTEST_TIMEOUT=$${PYTEST_TIMEOUT:-900} $(BIN)/python -m pytest -n auto $(ARGS)

# The rest of all cases, types, seeds and GPUs, and 500 whole trainings beside PyTorch's.
proof: $(READY)
	@echo "refnet: running the tests, all of them"
	@REFNET_PROOF=1 PYTEST_TIMEOUT=$${PYTEST_TIMEOUT:-3600} $(BIN)/python -m pytest -n auto $(ARGS)
	@$(BIN)/python -m tests.trainings --count 500 --seed 0

lint: $(READY)
	@echo "refnet: ruff check"
	@$(BIN)/ruff check .
	@echo "refnet: ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "refnet: mypy, strict on refnet"
	@$(BIN)/mypy

docs: $(READY)
	@echo "refnet: writing the generated pages of docs"
	@$(BIN)/python -m tests.pages

bench: $(READY)
	@echo "refnet: running the benchmarks"
	@$(BIN)/python -m pytest tests/benchmarks --benchmark-only $(ARGS)

# --parts goals: what there is a goal for; --parts smoke: does every kernel run? See refnet_triton/gpu/__init__.py
gpu:
	@echo "refnet: checking, testing and timing the kernels with $(PYTHON)"
	@PYTHONPATH=. $(PYTHON) -m refnet_triton.gpu $(ARGS)

mutants: $(READY)
	@echo "refnet: putting one fault at a time into refnet/ops and refnet_triton/ops"
	@$(BIN)/python -m tests.mutants $(ARGS)

clean:
	@echo "refnet: removing .venv, caches and build outputs"
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .benchmarks build dist docs/_build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment remembers the folder it was made in: a checkout that was moved or copied needs a new one.
ifneq ($(wildcard $(READY)),)
ifneq ($(shell cat $(READY)),$(CURDIR))
$(READY): moved
endif
endif

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("refnet needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11 ...")'
	@echo "refnet: setting up .venv with $$($(PYTHON) -V): NumPy, PyTorch, Triton, matplotlib, pytest, ruff, mypy (a few minutes, 2 GB of disk)"
	@rm -f $(READY)
	@$(PYTHON) -m venv --clear .venv
	@index=; \
	if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 && \
	   $(BIN)/python -c 'import urllib.request as r; r.urlopen("$(TORCH_CPU)/torch/", timeout=5)' 2>/dev/null; \
	then index="--extra-index-url $(TORCH_CPU)"; fi; \
	$(BIN)/python -m pip install -qq $$index $(INSTALL) || \
	{ echo 'refnet: the set-up failed; for all that pip says: $(BIN)/python -m pip install $(INSTALL)' >&2; exit 1; }
	@echo "$(CURDIR)" > $(READY)
