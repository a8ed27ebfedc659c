"""15 epochs of the reference networks by JAX on a GPU: an epoch as one scan, several networks by vmap.

A program of another environment: needs jax for CUDA, optax, numpy, and MNIST. Prints a line a result, adds it to --out.
"""

import argparse
import json
import os
import time
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = {"256-256": (784, 256, 256, 10), "512-512-512-512": (784, 512, 512, 512, 512, 10)}
BATCH, EPOCHS, LR = 100, 15, 1e-3
CASES = [
    ("256-256", 1, "highest"),
    ("512-512-512-512", 1, "highest"),
    ("256-256", 64, "highest"),
    ("256-256", 64, "default"),
    ("256-256", 1, "default"),
]


def read(path):
    content = path.read_bytes()
    shape = np.frombuffer(content, dtype=">u4", count=content[3], offset=4).astype(int)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def forward(layers, h):
    for weight, bias in layers[:-1]:
        h = jax.nn.relu(h @ weight + bias)
    weight, bias = layers[-1]
    return h @ weight + bias


def loss_of(layers, images, labels):
    return optax.softmax_cross_entropy_with_integer_labels(forward(layers, images), labels).mean()


def first_layers(sizes, seed):
    random = np.random.default_rng(seed)
    shapes = list(pairwise(sizes))
    weights = [random.standard_normal(shape).astype(np.float32) * np.sqrt(2 / sum(shape)) for shape in shapes]
    return [(jnp.asarray(weight), jnp.zeros(weight.shape[1])) for weight in weights]


def epoch_of(optimizer, count):
    """Return the function of an epoch: state and rows [steps, (K,) B] to state, compiled."""

    def step(layers, memory, rows, images, labels):
        gradients = jax.grad(loss_of)(layers, images[rows], labels[rows])
        updates, memory = optimizer.update(gradients, memory, layers)
        return optax.apply_updates(layers, updates), memory

    every = jax.vmap(step, in_axes=(0, 0, 0, None, None)) if count > 1 else step

    def epoch(state, rows, images, labels):
        return jax.lax.scan(lambda state, chosen: (every(*state, chosen, images, labels), None), state, rows)[0]

    return jax.jit(epoch, donate_argnums=0)


def measured(name, count, precision, data):
    images, labels, test_images, test_labels = data
    optimizer = optax.adam(LR)
    with jax.default_matmul_precision(precision):
        epoch = epoch_of(optimizer, count)

        def fresh():
            layers = [first_layers(SIZES[name], seed) for seed in range(count)]
            if count == 1:
                return layers[0], optimizer.init(layers[0])
            stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *layers)
            return stacked, jax.vmap(optimizer.init)(stacked)

        def order(number):
            random, steps = np.random.default_rng(number), len(labels) // BATCH
            rows = np.stack([random.permutation(len(labels)).reshape(steps, BATCH) for _ in range(count)], 1)
            return jnp.asarray(rows[:, 0] if count == 1 else rows, dtype=jnp.int32)

        orders = [order(number) for number in range(EPOCHS)]
        started = time.perf_counter()
        jax.block_until_ready(epoch(fresh(), orders[0], images, labels))
        first_s, state = time.perf_counter() - started, fresh()
        jax.block_until_ready((state, orders))
        started = time.perf_counter()
        for rows in orders:
            state = epoch(state, rows, images, labels)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - started
        layers = state[0] if count == 1 else jax.tree.map(lambda part: part[0], state[0])
        accuracy = float((forward(layers, test_images).argmax(1) == test_labels).mean())
    case = f"{count} x {name} {'float32' if precision == 'highest' else 'tf32'}"
    return {"case": case, "engine": "jax", "s": seconds, "first_s": first_s, "accuracy": accuracy}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("gpu_jax.json"))
    options = parser.parse_args()
    raw = options.data_dir / "MNIST" / "raw"
    parts = [
        read(raw / f"{part}-{kind}")
        for part in ("train", "t10k")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    images, test_images = (jnp.asarray(part.reshape(-1, 784), dtype=jnp.float32) / 255 for part in parts[::2])
    labels, test_labels = (jnp.asarray(part, dtype=jnp.int32) for part in parts[1::2])
    rows = []
    for name, count, precision in CASES:
        try:
            rows.append(measured(name, count, precision, (images, labels, test_images, test_labels)))
        except Exception as error:
            rows.append({"case": name, "failed": repr(error)[:300]})
        print("peer", json.dumps(rows[-1]), flush=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
