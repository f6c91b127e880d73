"""Which unit of the accelerator an instance belongs to."""

__all__ = ["UNITS", "unit_of"]

# By instance path, the longest that matches; in the order of reports.
_PATHS: tuple[tuple[str, str], ...] = (
    ("core.array", "array"),
    ("core.accumulator", "accumulators"),
    ("core.writeback", "write-back"),
    ("core.writeback.requantise", "requantisers"),
    ("core.writeback.gelu", "GELU"),
    ("core.writeback.scale", "expert scores"),
    ("core.writeback.update", "LayerNorm sums"),
    ("core.writeback.softmax", "softmax"),
    ("core.writeback.reciprocal", "softmax"),
    ("core.router", "router"),
    ("core.feeder", "feeder"),
    ("core.feeder.normalise", "normalisation"),
    ("core.feeder.scalars", "normalisation"),
    ("core.loader", "loader"),
    ("core.sequencer", "sequencer"),
    ("core", "memories and core"),
    ("weights", "weight stream"),
    ("fetch", "instruction fetch"),
    ("load", "load unit"),
    ("store", "results to DDR"),
    ("writer", "results to DDR"),
    ("registers", "registers"),
    ("supervisor", "supervisor"),
    ("", "top"),
)
UNITS: tuple[str, ...] = tuple(dict.fromkeys(title for _, title in _PATHS))


def unit_of(path: tuple[str, ...]) -> str:
    """The unit of an instance path below the top (the empty path is the top itself)."""
    table = dict(_PATHS)
    for length in range(len(path), -1, -1):
        title = table.get(".".join(path[:length]))
        if title is not None and (length or not path):
            return title
    return "top"
