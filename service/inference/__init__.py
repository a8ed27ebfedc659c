"""Prediction in the API process, from posted bytes to probabilities, without torch."""
