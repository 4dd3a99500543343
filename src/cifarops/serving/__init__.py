"""Answering requests: the HTTP server of one environment, and its client."""
