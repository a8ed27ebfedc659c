"""A client of Fanin, a service that trains digit classifiers with a chosen weight-initialization scheme.

from fanin import Client

with Client() as fanin:
job = fanin.jobs.create(preset="mnist_nn_xavier", init="he_normal").wait(progress=True)
print(job.accuracy, job.model().predict("digit.png", fit=True).label)
"""

from fanin._async.client import AsyncClient
from fanin._async.experiments import AsyncExperiment
from fanin._async.jobs import AsyncJob
from fanin._async.models import AsyncModel
from fanin._sync.client import Client
from fanin._sync.experiments import Experiment
from fanin._sync.jobs import Job
from fanin._sync.models import Model
from fanin.comparison import Comparison
from fanin.errors import (
    ApiError,
    BadAnswer,
    Conflict,
    ConnectionFailed,
    DownloadDamaged,
    FaninError,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    Moved,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    PreconditionFailed,
    ServiceFailed,
    TooLarge,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
    WaitTimeout,
)
from fanin.predictions import Prediction, Predictions
from fanin.version import VERSION as __version__

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncExperiment",
    "AsyncJob",
    "AsyncModel",
    "BadAnswer",
    "Client",
    "Comparison",
    "Conflict",
    "ConnectionFailed",
    "DownloadDamaged",
    "Experiment",
    "FaninError",
    "InvalidRequest",
    "Job",
    "MalformedRequest",
    "MethodNotAllowed",
    "Model",
    "Moved",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "PreconditionFailed",
    "Prediction",
    "Predictions",
    "ServiceFailed",
    "TooLarge",
    "TooManyRequests",
    "Unavailable",
    "UnsupportedMediaType",
    "WaitTimeout",
    "__version__",
]
