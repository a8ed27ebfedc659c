#!/bin/bash
# The engine `triton-step` on a real card, in one call of at most 5.5 minutes: memcheck, correctness, times beside the step
# in torch and JAX, and with TUNE=1 other tiles. Each part has a limit of its own, prints as it goes, and adds to OUT/gpu_engine.json.
# Needs python3 with torch for CUDA, Triton, numpy, pydantic, safetensors, jax and optax; MNIST in FANIN_DATA_DIR (./data),
# its files packed by gzip or not; a C compiler.
set -u
END=$((SECONDS + ${LIMIT_S:-325}))
OUT=${OUT:-.}
DATA=${FANIN_DATA_DIR:-data}
export PYTHONUNBUFFERED=1 TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-/tmp/triton-cache}
if ls "$DATA"/MNIST/raw/*.gz >/dev/null 2>&1; then
    mkdir -p /tmp/unpacked/MNIST/raw
    for file in "$DATA"/MNIST/raw/*.gz; do gunzip -c "$file" >"/tmp/unpacked/MNIST/raw/$(basename "$file" .gz)"; done
    DATA=/tmp/unpacked
fi
part() { # limit, part, more arguments
    local limit=$1 left=$((END - SECONDS))
    shift
    if [ "$left" -lt 5 ]; then echo "no time left for $1"; return; fi
    [ "$left" -lt "$limit" ] && limit=$left
    echo "== $1, at most $limit s, at $SECONDS s"
    timeout -k 2 "$limit" "${BEFORE[@]}" python3 -m benchmarks.gpu_engine "$@" --data-dir "$DATA" --out "$OUT/gpu_engine.json"
    echo "== $1: exit status $?, at $SECONDS s"
}
BEFORE=()
SHARES=${SHARES:-14}
compilers=()
for share in $(seq 0 $((SHARES - 1))); do
    timeout 100 python3 -m benchmarks.gpu_engine compile --share "$share" "$SHARES" --data-dir "$DATA" &
    compilers+=($!)
done
wait "${compilers[@]}"
echo "compiled at $SECONDS s"
if command -v compute-sanitizer >/dev/null; then
    # Each tensor in memory of its own, so that what lies beside it is seen to be nobody's.
    BEFORE=(env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck --error-exitcode 9)
    part 60 memcheck
    BEFORE=()
else
    echo "no compute-sanitizer here"
    part 30 memcheck
fi
part 75 check
part 60 times
left=$((END - SECONDS - 5))
[ "$left" -gt 110 ] && left=110
echo "== jax, at most $left s, at $SECONDS s"
[ "$left" -gt 5 ] && timeout -k 2 "$left" python3 benchmarks/peers/gpu_jax.py --data-dir "$DATA" --out "$OUT/gpu_jax.json"
left=$((END - SECONDS - 3))
[ "$left" -gt 30 ] && [ -n "${TUNE:-}" ] && part "$left" tune --seconds $((left - 12))
python3 -m benchmarks.gpu_engine table --out "$OUT/gpu_engine.json"
cat "$OUT/gpu_jax.json" 2>/dev/null | tr -d '\n'
echo
echo "all at $SECONDS s"
