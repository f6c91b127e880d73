"""Moesaic: hw/memory."""
