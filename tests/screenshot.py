"""The README's picture of a report: `python tests/screenshot.py RESULT_FOLDER docs/images/report.png`."""

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import shoot
from PIL import Image

WIDTH, HEIGHT = 1160, 1700  # down to the predictions
COLOURS, MOST_BYTES = 128, 300_000


def screenshot(folder: Path) -> bytes:
    """The top of a result folder's page, a PNG small enough for a repository."""
    with TemporaryDirectory() as work, Image.open(shoot(folder / "report.html", WIDTH, HEIGHT, Path(work))) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    data = io.BytesIO()
    few.save(data, format="png", optimize=True)
    assert len(data.getvalue()) < MOST_BYTES, len(data.getvalue())
    return data.getvalue()


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(screenshot(Path(sys.argv[1])))
