"""Initialize, train, evaluate and run multilayer perceptrons on MNIST.

This package knows no HTTP, no SQL and no environment variable, and can be used alone. Importing it, or
any of `spec`, `errors`, `init`, `checkpoint`, `predict` and `digits`, does not import torch.
"""
