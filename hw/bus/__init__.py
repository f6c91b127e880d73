"""Moesaic: hw/bus."""
