"""Training: steps, engines, loops."""
