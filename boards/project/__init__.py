"""Moesaic: Vivado projects, generated."""
