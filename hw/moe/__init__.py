"""Moesaic: hw/moe."""
