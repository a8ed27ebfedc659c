"""The data sets: MNIST, and `mnist_5k`, a part of it."""
