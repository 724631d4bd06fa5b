"""A small but real two-process text engine with vLLM's HTTP API, for demos and tests."""
