"""Moesaic from Python: a model is loaded, quantised, compiled, simulated and put on a board, a method each.

The command line does the same steps. Nothing is printed: what takes long tells `progress`.
"""

from moesaic.api.model import Model, Quantised, load
from moesaic.api.program import Compiled, Result
from moesaic.golden.evaluation.accuracy import Accuracy

__all__ = ["Accuracy", "Compiled", "Model", "Quantised", "Result", "load"]
