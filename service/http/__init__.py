"""HTTP as this service speaks it: middleware, problem documents, parts of files."""
