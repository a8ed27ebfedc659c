"""Predictions without torch, and models for other programs."""
