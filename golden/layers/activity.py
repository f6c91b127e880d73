"""What a layer does over the images of calibration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["LayerActivity"]

Array = np.ndarray[Any, Any]


@dataclass
class LayerActivity:
    """Everything calibration knows about one layer.

    Members
    -------
    name : str
        Of its node.
    block : int
    before, after : list of [tokens, dim]
        Residual before and after the layer, of each run (an image with a task).
    tensors : dict of name (without the layer's) to list of arrays, one for each run
    tasks : list of int
        Task of each run.
    """

    name: str
    block: int
    before: list[Array] = field(default_factory=list)
    after: list[Array] = field(default_factory=list)
    tensors: dict[str, list[Array]] = field(default_factory=dict)
    tasks: list[int] = field(default_factory=list)

    @classmethod
    def together(cls, parts: Sequence["LayerActivity"]) -> "LayerActivity":
        """What layers of the same matrices do, as that of the first."""
        result = cls(parts[0].name, parts[0].block)
        for part in parts:
            result.before += part.before
            result.after += part.after
            result.tasks += part.tasks
            for name, arrays in part.tensors.items():
                result.tensors.setdefault(name, []).extend(arrays)
        return result

    def all(self, name: str) -> Array:
        """All runs' tensors of that name, stacked along the tokens."""
        return np.concatenate(self.tensors[name])
