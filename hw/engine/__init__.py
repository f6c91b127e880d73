"""Moesaic: hw/engine."""
