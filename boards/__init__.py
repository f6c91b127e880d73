"""Moesaic: boards."""
