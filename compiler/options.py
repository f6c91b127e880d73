"""What the compiler may leave out of a program, to measure what it is worth."""

from dataclasses import dataclass

__all__ = ["CompileOptions"]


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """Choices that change a program's instructions and never its results: each takes away an idea of the accelerator.

    Parameters
    ----------
    prefetch : bool
        Weights are fetched ahead of the instruction that uses them; off, once everything before it has retired.
    normalise_on_read : bool
        LayerNorm is applied where tokens are read into the array; off, in a pass of its own that writes them back.
    token_group : int or None
        Tokens routed and computed together in a mixture; None: as many as fit. With 1, experts are loaded as tokens
        come (no token reordering).
    query_group : int or None
        Queries that meet a block of keys or values while it is in the array; None: all. With 1, keys and values are
        read again for every query (no attention reordering).

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    prefetch: bool = True
    normalise_on_read: bool = True
    token_group: int | None = None
    query_group: int | None = None

    def __post_init__(self) -> None:
        for name in ("token_group", "query_group"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, not {value!r}")
