"""Moesaic: examples for a board, copied beside the host runtime."""
