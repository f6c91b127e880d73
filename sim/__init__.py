"""Moesaic: sim."""
