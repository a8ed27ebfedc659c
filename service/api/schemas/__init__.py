"""Response models of the API, one file per resource. Specs, metrics and evaluations are the classes of `models`."""
