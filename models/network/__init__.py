"""The network: its architecture, tensors and activations."""
