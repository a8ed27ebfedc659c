"""Measurements: each prints a table and writes JSON with hardware and versions. Never collected by pytest."""
