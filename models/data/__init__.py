"""The digits."""
