"""Moesaic: golden."""
