"""A pre-trained deep belief network as a generator: its samples, and how probable images are to it."""
