"""Moesaic: hw/control."""
