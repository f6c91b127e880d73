"""Names beside the points of a picture, none over another."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from moesaic.report.style import INK

__all__ = ["label_points"]

# Where a label may stand, the first that is free: offset in points from the point, and which side of it is there.
_PLACES = [
    (x * step, y * step, across, along)
    for step in (1, 1.8, 2.8, 4, 5.5)
    for x, y, across, along in (
        (7, 0, "left", "center"),
        (6, 5, "left", "bottom"),
        (6, -5, "left", "top"),
        (-7, 0, "right", "center"),
        (0, 7, "center", "bottom"),
        (0, -7, "center", "top"),
        (-6, 5, "right", "bottom"),
        (-6, -5, "right", "top"),
    )
]
_POINT = 4.0  # half of a point's side, pixels


def label_points(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str]]) -> list[Bbox]:
    """Write each text beside its point; the boxes that texts take, pixels.

    Everything else must be drawn before, with the limits of the axes as they stay. A text that finds no free place
    stands in the last one.

    Parameters
    ----------
    points : sequence of (x, y, text)
        In the units of the axes.
    """
    if not points:
        return []
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    where = axes.transData.transform([(x, y) for x, y, _ in points])
    taken = [Bbox.from_extents(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in where]
    boxes = []
    for x, y, text in points:
        for right, up, across, along in _PLACES:
            label = axes.annotate(
                text, (x, y), xytext=(right, up), textcoords="offset points", fontsize=8, color=INK, ha=across, va=along
            )
            label.set_in_layout(False)
            box = label.get_window_extent(renderer)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 <= axes.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
            if (right, up, across, along) != _PLACES[-1]:
                label.remove()
        taken.append(box)
        boxes.append(box)
    return boxes
