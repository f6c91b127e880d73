"""Moesaic: hw/spec."""
