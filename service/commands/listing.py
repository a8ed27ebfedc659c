"""The commands of the service and what they do, for the help of `fanin`, which the package fanin-client prints."""

from __future__ import annotations

COMMANDS = {
    "serve": "run the API and its workers on this machine, until Ctrl-C",
    "api": "run an API process alone",
    "worker": "run this machine's workers without an API, until Ctrl-C",
    "slot": "run the worker process of one device slot, as `worker` and `serve` do",
    "migrate": "create or upgrade the database's tables",
    "health": "say whether the API or the workers of this machine work, for a container's health check",
    "doctor": "check settings, database, data, devices and files; report problems",
    "openapi": "print the OpenAPI document",
    "reproduce": "test published claims on initialization; report verdicts",
    "backup": "copy all jobs and their files, while the service runs or not",
    "verify": "compare every checkpoint file with its hash",
    "restore": "put a backup into an empty database",
    "move": "take all jobs to another database, with the service stopped",
    "demo": "start a service, train, predict, stop: the workflow in two minutes",
}
