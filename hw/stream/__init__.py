"""Moesaic: hw/stream."""
