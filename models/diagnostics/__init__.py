"""Statistics of layers: measured, predicted by theory, and summarized in a verdict."""
