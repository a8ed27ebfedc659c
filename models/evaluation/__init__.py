"""Evaluation of a model, and comparison of groups of models."""
