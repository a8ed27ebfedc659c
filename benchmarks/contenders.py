"""The contenders of `benchmarks.train`: each trains the course's networks in its own process and prints JSON.

`python -m benchmarks.contenders NAME --preset mnist_nn_xavier --threads 1 --epochs 3`. Every contender trains the same
network on the same images with Adam in float32, takes every step, and reports its test accuracy. `floor` only
multiplies matrices of the same shapes. The first epoch includes compilation and warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.clients import data_folder
from models.data.mnist import DataSet, read_mnist
from models.spec import PRESETS, TrainSpec

Answers = Callable[[NDArray[np.float32]], NDArray[Any]]


class Contest(NamedTuple):
    """What a contender trains: `spec` on `data`, with `threads` CPU threads, for `epochs` epochs."""

    spec: TrainSpec
    data: DataSet
    threads: int
    epochs: int

    @property
    def images(self) -> NDArray[np.float32]:
        """Return the training images as most libraries want them, float32 [60000, 784] in [0, 1]."""
        return self.data.train.images.reshape(-1, 784).astype(np.float32) / np.float32(255)


def notebook(contest: Contest) -> Iterator[Answers]:
    """Train as the course's notebook does: torchvision, a DataLoader, autograd, torch's default Adam."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    torch.set_num_threads(contest.threads)
    torch.manual_seed(contest.spec.seed)
    train = MNIST(str(data_folder()), train=True, transform=ToTensor(), download=False)
    loader = DataLoader(train, batch_size=contest.spec.batch_size, shuffle=True, drop_last=True)
    network = _torch_network(contest.spec)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=contest.spec.optimizer.lr)
    for _ in range(contest.epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(network(images.view(-1, 784)), labels).backward()
            optimizer.step()
        yield _torch_answers(network)


def memory(contest: Contest) -> Iterator[Answers]:
    """Train as a careful user of torch would: all images in memory as float32, autograd, fused Adam."""
    import torch

    torch.set_num_threads(contest.threads)
    torch.manual_seed(contest.spec.seed)
    images = torch.from_numpy(contest.images)
    labels = torch.tensor(contest.data.train.labels, dtype=torch.int64)
    network = _torch_network(contest.spec)
    optimizer = torch.optim.Adam(network.parameters(), lr=contest.spec.optimizer.lr, fused=True)
    for _ in range(contest.epochs):
        for rows in torch.split(torch.randperm(len(labels)), contest.spec.batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(images[rows]), labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
        yield _torch_answers(network)


def jax(contest: Contest) -> Iterator[Answers]:
    """Train with JAX: a whole epoch as one compiled scan over batches, optax's Adam."""
    import jax as jax_
    import jax.numpy as jnp
    import optax

    spec, random = contest.spec, np.random.default_rng(contest.spec.seed)
    images, labels = jnp.asarray(contest.images), jnp.asarray(contest.data.train.labels, jnp.int32)
    parameters = [
        (jnp.asarray(random.uniform(-1, 1, shape) * np.sqrt(6 / sum(shape)), jnp.float32), jnp.zeros(shape[1]))
        for shape in pairwise(spec.architecture.sizes)
    ]
    optimizer = optax.adam(spec.optimizer.lr)
    state = optimizer.init(parameters)

    def outputs(parameters: Any, h: Any) -> Any:
        for weight, bias in parameters[:-1]:
            h = jax_.nn.relu(h @ weight + bias)
        return h @ parameters[-1][0] + parameters[-1][1]

    def loss(parameters: Any, rows: Any) -> Any:
        image_losses = optax.softmax_cross_entropy_with_integer_labels(outputs(parameters, images[rows]), labels[rows])
        return image_losses.mean()

    def step(carry: Any, rows: Any) -> Any:
        parameters, state = carry
        value, gradient = jax_.value_and_grad(loss)(parameters, rows)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(parameters, updates), state), value

    def answers(parameters: Any, inputs: NDArray[np.float32]) -> NDArray[Any]:
        predicted: NDArray[Any] = np.asarray(outputs(parameters, inputs)).argmax(1)
        return predicted

    epoch = jax_.jit(lambda carry, orders: jax_.lax.scan(step, carry, orders))
    carry: Any = (parameters, state)
    for _ in range(contest.epochs):
        orders = random.permutation(len(labels)).reshape(-1, spec.batch_size)
        carry, losses = epoch(carry, jnp.asarray(orders))
        losses.block_until_ready()
        yield partial(answers, carry[0])


def sklearn(contest: Contest) -> Iterator[Answers]:
    """Train with scikit-learn's MLPClassifier, one epoch per call."""
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    spec = contest.spec
    with threadpool_limits(contest.threads):
        classifier = MLPClassifier(
            spec.architecture.hidden, alpha=0.0, batch_size=spec.batch_size, random_state=spec.seed
        )
        for _ in range(contest.epochs):
            classifier.partial_fit(contest.images, contest.data.train.labels, classes=np.arange(10))
            yield classifier.predict


def floor(contest: Contest) -> Iterator[Answers]:
    """Only multiply dense matrices of a step's shapes: the forward product and both backward products."""
    import torch

    torch.set_num_threads(contest.threads)
    batch, sizes = contest.spec.batch_size, contest.spec.architecture.sizes
    h = [torch.rand(batch, size) for size in sizes]
    weights = [torch.rand(fan_in, fan_out) for fan_in, fan_out in pairwise(sizes)]
    gradients = [torch.empty_like(weight) for weight in weights]
    for _ in range(contest.epochs):
        for _ in range(len(contest.data.train.labels) // batch):
            for index, weight in enumerate(weights):
                torch.mm(h[index], weight, out=h[index + 1])
            for index in range(len(weights) - 1, -1, -1):
                torch.mm(h[index].t(), h[index + 1], out=gradients[index])
                if index > 0:
                    torch.mm(h[index + 1], weights[index].t(), out=h[index])
        yield lambda inputs: np.full(len(inputs), -1)


def kernel(contest: Contest) -> Iterator[Answers]:
    """Train with Fanin's library and the engine that it chooses: the compiled kernel."""
    import torch

    from models.training.engine import STACKED, best_engine

    engine = best_engine(contest.spec, torch.device("cpu"))
    if engine == STACKED:
        raise SystemExit("The kernel is not built: it needs a C compiler when installing Fanin.")
    return _fanin(contest, engine)


def stacked(contest: Contest) -> Iterator[Answers]:
    """Train with Fanin's library and the step in torch, which is always available."""
    from models.training.engine import STACKED

    return _fanin(contest, STACKED)


def _fanin(contest: Contest, engine: str) -> Iterator[Answers]:
    import torch

    from models.training.train import Training

    torch.set_num_threads(contest.threads)
    spec = contest.spec.model_copy(update={"epochs": contest.epochs})
    training = Training([spec], contest.data, torch.device("cpu"), engine=engine)
    while not training.finished:
        training.run_epoch()
        yield partial(_network_answers, training.network(0))


def _network_answers(network: Any, inputs: NDArray[np.float32]) -> NDArray[Any]:
    import torch

    from models.evaluation.evaluate import logits

    answers: NDArray[Any] = logits(network, torch.from_numpy(inputs)).argmax(1).numpy()
    return answers


def _torch_network(spec: TrainSpec) -> Any:
    from torch import nn

    from models.init import initialize
    from models.network.mlp import Network

    start = Network.empty(spec.architecture)
    initialize(start, spec.init, spec.seed)
    modules: list[nn.Module] = []
    for layer in start.layers:
        linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        linear.load_state_dict({"weight": layer.weight, "bias": layer.bias})
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def _torch_answers(network: Any) -> Answers:
    import torch

    def answers(inputs: NDArray[np.float32]) -> NDArray[Any]:
        with torch.no_grad():
            predicted: NDArray[Any] = network(torch.from_numpy(inputs)).argmax(1).numpy()
        return predicted

    return answers


CONTENDERS: dict[str, Callable[[Contest], Iterator[Answers]]] = {
    "notebook": notebook,
    "memory": memory,
    "sklearn": sklearn,
    "jax": jax,
    "floor": floor,
    "stacked": stacked,
    "kernel": kernel,
}


def main() -> None:
    """Run one contender; print the seconds of each epoch and the test accuracies as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--preset", choices=PRESETS, default="mnist_nn_xavier")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--core", type=int, default=None, help="pin to this core")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--models", type=int, default=1, help="number of models to train, one after another")
    parser.add_argument("--seed", type=int, default=777)
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    data = read_mnist(data_folder())
    if options.name not in ("jax", "sklearn"):
        import models.training.train  # noqa: F401 - loading torch is no part of training
    epoch_s, accuracies = [], []
    for number in range(options.models):
        spec = PRESETS[options.preset].model_copy(update={"seed": options.seed + number})
        contest = Contest(spec, data, options.threads, options.epochs)
        started = time.perf_counter()
        for answers in CONTENDERS[options.name](contest):
            epoch_s.append(time.perf_counter() - started)
            last, started = answers, time.perf_counter()
        predicted = last(data.test.images.reshape(-1, 784).astype(np.float32) / np.float32(255))
        accuracies.append(float((predicted == data.test.labels).mean()))
    print(json.dumps({"epoch_s": epoch_s, "accuracy": accuracies}))


if __name__ == "__main__":
    main()
