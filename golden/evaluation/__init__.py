"""Moesaic: golden.evaluation."""
