"""The second matrix of an expert fitted to what the first one's integers give, against what both give in floats.

Block-wise reconstruction as in BRECQ (Li et al. 2021, arXiv 2102.05426), in closed form: the weights that make up best
for the errors before them are a ridge regression, and GPTQ rounds those.
"""

import numpy as np

from moesaic.golden.scales import FloatArray

__all__ = ["refitted"]

RIDGE = 0.1  # of the mean of the second moments' diagonal: holds the weights near what they were
JUDGES = 4  # every fourth input only judges
LEAST = 32  # inputs; fewer tell too little


def _correction(weight: FloatArray, seen: FloatArray, meant: FloatArray) -> FloatArray:
    """What to add to `weight` [out, in] that its products with `seen` [n, in] come near those with `meant`, their means
    aside.
    """
    varying = seen - seen.mean(axis=0)
    moments, wrong = varying.T @ varying / len(seen), varying.T @ (seen - meant) / len(seen)
    moments += np.eye(len(moments)) * (RIDGE * float(np.mean(np.diag(moments))) + 1e-30)
    return np.asarray(-np.linalg.solve(moments, wrong @ weight.T).T)


def refitted(
    weight: FloatArray, bias: FloatArray, seen: FloatArray, meant: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Weight and bias of a matrix that reads `seen` where it should read `meant`.

    They are what they were where a fit to three fourths of the inputs is no better on the last one.

    Parameters
    ----------
    weight, bias : [out, in], [out]
    seen : [n, in]
        What it reads of the integers.
    meant : [n, in]
        The same in floats.
    """
    seen, meant = np.asarray(seen, np.float64), np.asarray(meant, np.float64)
    judges = np.arange(len(seen)) % JUDGES == JUDGES - 1
    if len(seen) < LEAST:
        return weight, bias
    trial = weight + _correction(weight, seen[~judges], meant[~judges])
    wanted = meant[judges] @ weight.T
    before, after = (float((seen[judges] @ w.T - wanted).var(axis=0).sum()) for w in (weight, trial))
    if not after < before:
        return weight, bias
    result = weight + _correction(weight, seen, meant)
    return result, bias + weight @ meant.mean(axis=0) - result @ seen.mean(axis=0)
