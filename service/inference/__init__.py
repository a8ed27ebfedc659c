"""The predict side: from posted bytes to probabilities, in the API process, without torch."""
