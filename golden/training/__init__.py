"""Moesaic: golden.training."""
