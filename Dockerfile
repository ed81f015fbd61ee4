# An image that trains, predicts and serves as a user without root; see docs/how_to/containers.md.
#
#   docker build --tag srulight .
#   docker build --tag srulight-serve --target serve .
#
# For NVIDIA GPUs, BUILD needs nvcc, and both images need the same Python:
#
#   docker build --tag srulight-cuda --build-arg CUDA=cu130 --build-arg BASE=ubuntu:24.04 \
#     --build-arg BUILD=nvidia/cuda:13.0.1-devel-ubuntu24.04 .
ARG BASE=debian:bookworm-slim
ARG BUILD=${BASE}

# This stage has compilers. Only its virtual environment, with compiled kernels, goes into the image.
FROM ${BUILD} AS build
ARG CUDA=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/${CUDA}
ARG EXTRAS=serve,hub,export,speech,tables,translation,video
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/srulight/bin:$PATH
RUN python3 -m venv /opt/srulight
WORKDIR /build
COPY constraints.txt ./
# That index has only some versions of the packages that torch needs. They come from the usual one below.
RUN pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" --no-deps torch
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY csrc csrc
COPY configs configs
COPY srulight srulight
RUN pip install --constraint constraints.txt ".[${EXTRAS}]"
# The package then contains its kernels, so that the image needs no compiler.
RUN devices=cpu; if [ "${CUDA}" != cpu ]; then devices=cpu,cuda; fi; \
    python3 -c "import sys; from srulight.ops import build; build.prebuild(devices=sys.argv[1].split(','))" "$devices" \
    && SRULIGHT_PREBUILT=build/lib pip install --no-deps --force-reinstall .

FROM ${BASE} AS common
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/srulight /opt/srulight
ENV PATH=/opt/srulight/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 srulight && install --directory --owner=srulight /work
USER 10001
WORKDIR /work

# The server. It needs --ckpt_path, and SRULIGHT_TOKEN, because other machines can connect.
FROM common AS serve
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["srulight", "serve", "--host=0.0.0.0", "--port=8000"]

# Every command, such as: docker run --volume "$PWD:/work" srulight fit --config configs/quickstart.yaml
FROM common AS run
ENTRYPOINT ["srulight"]
CMD ["--help"]
