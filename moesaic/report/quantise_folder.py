"""The folder of a quantisation: the network, and what it costs."""

from pathlib import Path

from moesaic.errors import InputError
from moesaic.flow.quantise_report import QuantiseReport
from moesaic.golden import quantfile
from moesaic.golden.qmodel import QuantModel
from moesaic.report.kept import read_kept, write_kept

__all__ = ["MARKER", "read_costs", "write_quantised"]

MARKER = "quantise.json"  # by which a result folder is known
_NETWORK = "network.safetensors"


def read_costs(folder: Path) -> QuantiseReport:
    """The figures of a folder.

    Raises
    ------
    InputError
        If there are none, or they are damaged.
    """
    path = folder / MARKER
    if not path.is_file():
        raise InputError(f"folder must hold a {MARKER} that `moesaic quantise` wrote, not {str(folder)!r}")
    return read_kept(QuantiseReport, path, "costs of quantisation")


def write_quantised(qmodel: QuantModel, report: QuantiseReport, folder: Path) -> None:
    """Write the quantised network and the figures."""
    quantfile.save(qmodel, folder / _NETWORK)
    write_kept(report, folder / MARKER)
