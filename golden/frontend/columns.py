"""Constants by channel."""

import torch

__all__ = ["by_column"]


def by_column(columns: torch.Tensor, values: torch.Tensor, count: int, default: float) -> torch.Tensor | None:
    """`values`, one for each element, as a function of the elements' columns: [count], or None if they are not one."""
    values = values.double().expand(columns.shape)
    table = torch.full((count,), default, dtype=torch.float64)
    table[columns.flatten()] = values.flatten()
    return table if bool((table[columns] == values).all()) else None
