"""Initialize, train, evaluate and run multilayer perceptrons on MNIST.

The package does not use HTTP, SQL or environment variables, and can be used alone. Importing it, or any of `spec`,
`errors`, `init`, `checkpoint`, `inference` and `data.mnist`, does not import torch.
"""
