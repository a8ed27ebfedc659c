"""The processes of one machine and its hardware."""
