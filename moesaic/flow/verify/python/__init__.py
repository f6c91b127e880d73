"""Mutants of the Python side: compiler, functional simulator and integer model."""
