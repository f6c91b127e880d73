"""Moesaic: hw."""
