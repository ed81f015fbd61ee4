# make train      set up .venv, then train and test on the embedded data
# make test       run the fast tests, in a few minutes
# make test-all   run all tests, as .ci/run does
# make lint       run the linters and the type checker
# make docs       build the documentation site into build/site
# make results    measure the figures of the documentation again: make results DATA=FOLDER, for many hours
# make lock       write uv.lock with the versions of constraints.txt; needs uv
# make wheel      build a wheel with kernels for CPUs and GPUs into dist; needs g++ and nvcc, but no GPU
# make gpu        test, benchmark and train on a GPU: 8 minutes (docs/explanation/gpu_kernels.md)
# make gpu-pack   collect what make gpu needs on a machine without a package index
# make sanitize   run the tests of the kernels under GCC's address, undefined-behavior and leak sanitizers
# make clean      remove .venv, build and dist
#
# make installs all packages into .venv, in the versions that constraints.txt lists.
PYTHON ?= python3
VENV ?= .venv
DATA ?= data
PROCESSES ?= 2
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: train test test-all lint docs lock results prebuilt wheel gpu gpu-pack sanitize clean
train: $(VENV)/installed
	$(BIN)/python train.py fit --config configs/quickstart.yaml
	$(BIN)/python train.py test --ckpt_path=best --trainer.default_root_dir=runs/quickstart

test: OPTIONS = -m "not slow"
test test-all: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=$(PROCESSES) --dist=worksteal $(OPTIONS)

# On other platforms, mypy only checks how srulight uses Python. Reading torch once more for each platform
# would take half a minute each.
lint: PYTHON_ONLY = --follow-imports=skip --allow-subclassing-any --allow-untyped-decorators \
	--no-warn-unused-ignores --disable-error-code=var-annotated
lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	for platform in darwin win32; do $(BIN)/mypy --platform=$$platform $(PYTHON_ONLY) srulight train.py || exit 1; done

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/installed-dev
	$(BIN)/mkdocs build --strict

lock:
	uv lock $$(sed -n 's/^\([A-Za-z][^ ]*==[^ ]*\).*/--upgrade-package \1/p' constraints.txt)

results: $(VENV)/installed-dev
	$(BIN)/python benchmarks/results.py --data $(DATA)

prebuilt: $(VENV)/installed
	$(BIN)/python -c "from srulight.ops import build; build.prebuild()"

wheel: prebuilt
	SRULIGHT_PREBUILT=build/lib $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# Uses .venv if it exists, and otherwise the machine's own Python, which must have torch.
# A GPU machine may have torch, but neither this package nor a package index.
gpu:
	PYTHONPATH=. $(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu_session.py $(OPTIONS)

gpu-pack: prebuilt $(VENV)/installed-dev
	$(BIN)/python benchmarks/gpu_session.py --pack

# The deselected test runs g++. The sanitizers would check g++ as well, and it leaks memory.
sanitize: export SRULIGHT_CXXFLAGS = -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
sanitize: export ASAN_OPTIONS = detect_stack_use_after_return=1
sanitize: export LSAN_OPTIONS = suppressions=tests/leaks.txt:print_suppressions=0
sanitize: export PYTHONMALLOC = malloc
sanitize: export SRULIGHT_FUSED = on
sanitize: $(VENV)/installed-dev
	LD_PRELOAD="$(foreach name,asan ubsan stdc++,$(shell $(CXX) -print-file-name=lib$(name).so))" \
	$(BIN)/python -m pytest --capture=sys tests/ops/test_sru.py tests/ops/test_refused.py tests/ops/test_layer.py \
	tests/ops/test_layouts.py tests/ops/test_levels.py tests/ops/test_fused.py tests/ops/test_stack.py \
	tests/ops/test_time_parallel.py tests/ops/test_emulated_gpu.py tests/encoders \
	--deselect=tests/encoders/test_compile.py::test_a_convolution_is_compiled_once_for_all_lengths

# make installs torch first, so that the packages that depend on torch use this build.
# TORCH_INDEX=URL installs it from another index, such as PyTorch's index of CPU builds.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(INSTALL) --editable .
	touch $@

# The tests compare srulight with the published package sru, which is installed without its
# dependencies. Only the development version of sru has SRU++; it goes into a separate folder that only
# the tests use.
$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --editable ".[dev,docs]"
	$(INSTALL) --no-deps sru
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(VENV)/sru-3 sru==3.0.0.dev6
	touch $@

clean:
	rm -rf $(VENV) build dist
