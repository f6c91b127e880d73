"""Moesaic: hw/attention."""
