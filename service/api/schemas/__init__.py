"""The shapes of answers, a file a noun. Values of `models` (specs, metrics, evaluations) are used as they are."""
