"""An example response of every operation for the OpenAPI document; a test validates each against its model."""

from __future__ import annotations

from typing import Any

from service.api.openapi_examples.experiments import EXPERIMENTS
from service.api.openapi_examples.jobs import JOBS
from service.api.openapi_examples.models import MODELS

EXAMPLES: dict[str, Any] = JOBS | EXPERIMENTS | MODELS
"""Example responses by operation id."""
