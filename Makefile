# make train: set up and train on the embedded data. make lint, bench: what they say.
# make docs: the documentation site, in build/site.
# make test: the fast tests, in 3 minutes on 2 cores. make test-all: all of them, as .ci/run does.
# make wheel: a wheel in dist that brings its kernels, for CPU and GPUs; needs g++ and nvcc, no GPU.
# make gpu: everything that a GPU can tell, in 8 minutes (docs/explanation/gpu_kernels.md); make gpu-pack: what has to
# be at hand for it on a machine without a package index.
# make sanitize: the tests of the kernels under the address, undefined and leak sanitizers of GCC.
# Everything is installed into .venv, in the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: train test test-all lint docs bench prebuilt wheel gpu gpu-pack sanitize clean
train: $(VENV)/installed
	$(BIN)/python train.py fit --config configs/quickstart.yaml
	$(BIN)/python train.py test --ckpt_path=best --trainer.default_root_dir=runs/quickstart

test: OPTIONS = -m "not slow"
test test-all: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal $(OPTIONS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	for platform in darwin win32; do $(BIN)/mypy --platform=$$platform srulight train.py || exit 1; done

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/installed-dev
	$(BIN)/mkdocs build --strict

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/classification.py

prebuilt: $(VENV)/installed
	$(BIN)/python -c "from srulight.ops import build; build.prebuild()"

wheel: prebuilt
	SRULIGHT_PREBUILT=build/lib $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# With the environment if there is one; a lent machine has a torch of its own.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu_session.py $(OPTIONS)

gpu-pack: prebuilt $(VENV)/installed-dev
	$(BIN)/python benchmarks/gpu_session.py --pack

# Left out is what runs g++, which would be looked at as well, and leaks.
sanitize: export SRULIGHT_CXXFLAGS = -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
sanitize: export ASAN_OPTIONS = detect_stack_use_after_return=1
sanitize: export LSAN_OPTIONS = suppressions=tests/leaks.txt:print_suppressions=0
sanitize: export PYTHONMALLOC = malloc
sanitize: $(VENV)/installed-dev
	LD_PRELOAD="$(foreach name,asan ubsan stdc++,$(shell $(CXX) -print-file-name=lib$(name).so))" \
	$(BIN)/python -m pytest --capture=sys tests/ops/test_sru.py tests/ops/test_refused.py tests/ops/test_layer.py \
	tests/ops/test_layouts.py tests/ops/test_levels.py tests/ops/test_emulated_gpu.py tests/encoders \
	--deselect=tests/encoders/test_compile.py::test_a_convolution_is_compiled_once_for_all_lengths

# torch goes first and alone: a package that asks for "torch" then finds it there. TORCH_INDEX=URL
# takes it from another index, such as PyTorch's own for the CPU build.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(INSTALL) --editable .
	touch $@

# The published package is what srulight is compared with; alone, as it asks for nothing useful. Its
# development version, which alone has SRU++, lies where nothing but the tests finds it.
$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --editable ".[dev,docs]"
	$(INSTALL) --no-deps sru
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(VENV)/sru-3 sru==3.0.0.dev6
	touch $@

clean:
	rm -rf $(VENV) build dist
