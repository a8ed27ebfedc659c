"""The REST service: jobs on a queue, workers that train them, and predictions from what they trained."""
