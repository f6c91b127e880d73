"""Preloaded by a worker that shall be of another version."""

import moesaic

moesaic.__version__ = "0.0.9"
