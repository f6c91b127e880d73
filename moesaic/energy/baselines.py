"""The same networks on other machines, as measured: a file of `moesaic baseline`, and one that comes along."""

import functools
import importlib.resources
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from moesaic.errors import InputError
from moesaic.json_file import read_json
from moesaic.records import Count, called, from_plain
from moesaic.schema import Number, SchemaError, Text, Whole

__all__ = ["Baseline", "BaselineRow", "read_baseline", "shipped_baseline"]

_MOST = 1 << 20  # bytes of a file
_SHIPPED = "gpu_h200.json"


@dataclass(frozen=True, kw_only=True)
class BaselineRow:
    """One way to run a network.

    Parameters
    ----------
    net : str
        Name and image, such as `m3vit-tiny 128x256`.
    batch : int
        Images of a call.
    moe : str
        How mixtures are computed: `loop`, `dense` or `grouped`; `none` for a network without any.
    mode : str
        `eager`, `compile` or `graph`.
    ms_call, ms_image : float
    watts : float or None
        Of the device, while it runs.
    mj_image : float or None
    """

    net: Annotated[str, Text(most=128)]
    batch: Annotated[int, Whole(1, 1 << 20)]
    moe: Annotated[str, Text(most=16)]
    mode: Annotated[str, Text(most=16)]
    ms_call: Annotated[float, Number(0)]
    ms_image: Annotated[float, Number(0)]
    watts: Annotated[float, Number(0)] | None = field(default=None, metadata=called("W"))
    mj_image: Annotated[float, Number(0)] | None = field(default=None, metadata=called("mJ_image"))


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What was measured on a machine.

    Parameters
    ----------
    device, date, precision, method : str
    rows : tuple of BaselineRow
    """

    device: Annotated[str, Text(most=256)]
    date: Annotated[str, Text(most=32)]
    precision: Annotated[str, Text(most=32)]
    method: Annotated[str, Text(most=2048)]
    rows: Annotated[tuple[BaselineRow, ...], Count(0, 1024)]

    @property
    def name(self) -> str:
        """Of the device, without what is said about it."""
        return self.device.partition(",")[0].partition("(")[0].strip()

    def fastest(self, net: str) -> tuple[BaselineRow, ...]:
        """For each batch of a network the way that takes least time."""
        best = dict[int, BaselineRow]()
        for row in self.rows:
            if row.net == net and (row.batch not in best or row.ms_image < best[row.batch].ms_image):
                best[row.batch] = row
        return tuple(best[batch] for batch in sorted(best))


def read_baseline(path: Path) -> Baseline:
    """The file that `moesaic baseline` wrote.

    Raises
    ------
    InputError
        If it cannot be read, or is another file.
    """
    plain = read_json(path, most=_MOST, what="baseline", error=InputError)
    try:
        return from_plain(Baseline, plain, "baseline")
    except SchemaError as error:
        raise InputError(f"baseline {str(path)!r} must be what `moesaic baseline` writes: {error}") from error


@functools.cache
def shipped_baseline() -> Baseline:
    """An NVIDIA H200."""
    resource = importlib.resources.files("moesaic.energy") / _SHIPPED
    with importlib.resources.as_file(resource) as path:
        return read_baseline(path)
