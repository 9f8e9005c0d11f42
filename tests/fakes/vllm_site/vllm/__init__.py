"""A server that is started as vLLM is, and fails on order; it has no model."""
