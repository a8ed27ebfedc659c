"""Predictions without torch, and export of models to the formats of other programs."""
