"""How good models are, and how they compare."""
