"""The kinds of layers, a room each: `<kind>.py` has its integers, `<kind>_float.py` its floats and their rounding."""
