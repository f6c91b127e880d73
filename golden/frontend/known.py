"""Values of a captured graph that do not depend on the image."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Known"]


@dataclass(frozen=True)
class Known:
    """A value that does not depend on the image, and the parameters it was computed from."""

    value: Any
    names: tuple[str, ...] = ()
