"""What is said of layers: measured, predicted, judged."""
