# make train: set up and train on the embedded data. make test, lint, bench: what they say.
# Everything is installed into .venv, in the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: train test lint bench clean
train: $(VENV)/installed
	$(BIN)/python train.py fit --config configs/quickstart.yaml
	$(BIN)/python train.py test --ckpt_path=best --trainer.default_root_dir=runs/quickstart

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/classification.py

# torch goes first and alone: a package that asks for "torch" then finds it there. TORCH_INDEX=URL
# takes it from another index, such as PyTorch's own for the CPU build.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(INSTALL) --editable .
	touch $@

# The published package is what srulight is compared with; alone, as it asks for nothing useful.
$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --editable ".[dev]"
	$(INSTALL) --no-deps sru
	touch $@

clean:
	rm -rf $(VENV) build dist
