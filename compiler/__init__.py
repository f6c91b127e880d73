"""Moesaic: compiler."""
