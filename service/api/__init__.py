"""The HTTP API: routes, response models and their shared services."""
