"""Unsupervised pre-training: restricted Boltzmann machines, stacked into a deep belief network."""
