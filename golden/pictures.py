"""Maps as pictures: classes in their colours, depth from near to far, and sheets of both to compare."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from moesaic.golden.training.scenes import FAR, PALETTE

__all__ = ["depth_picture", "label_picture", "sheet"]

GAP, TITLE = 4, 14  # pixels between pictures, and for a line of text


def label_picture(labels: np.ndarray) -> np.ndarray:
    """Classes [H, W] in their colours, uint8 [3, H, W]."""
    return np.ascontiguousarray(PALETTE[labels].transpose(2, 0, 1))


def depth_picture(depth: np.ndarray) -> np.ndarray:
    """Depth [H, W] in metres as colours, near is bright, in equal ratios from 1 m to `FAR`; uint8 [3, H, W]."""
    near = 1 - np.log(np.clip(depth, 1, FAR)) / np.log(FAR)
    colours = matplotlib.colormaps["viridis"](near)[..., :3]
    return np.ascontiguousarray((255 * colours).round().astype(np.uint8).transpose(2, 0, 1))


def sheet(titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Pictures of one size in rows under titled columns, uint8 [3, height, width].

    Parameters
    ----------
    titles : list of str
        Of the columns.
    rows : list of list of uint8 [3, H, W]
        As many in each row as there are titles.
    """
    shapes = {picture.shape for row in rows for picture in row}
    if len(shapes) != 1 or {len(row) for row in rows} != {len(titles)}:
        raise ValueError(
            f"rows must have a picture of one size for each of {len(titles)} titles, not {sorted(shapes)!r}"
        )
    (_, height, width) = shapes.pop()
    page = Image.new("RGB", (len(titles) * (width + GAP) - GAP, TITLE + len(rows) * (height + GAP) - GAP), "white")
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(titles):
        draw.text((column * (width + GAP), 0), title, fill="black")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            page.paste(Image.fromarray(picture.transpose(1, 2, 0)), (x * (width + GAP), TITLE + y * (height + GAP)))
    return np.ascontiguousarray(np.asarray(page).transpose(2, 0, 1))
