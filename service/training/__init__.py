"""The worker side: attempts at runs, their checkpoints, and what keeps them honest."""
