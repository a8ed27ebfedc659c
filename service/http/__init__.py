"""HTTP for the API: middleware, problem documents, partial content."""
