"""Moesaic: hw/vector."""
