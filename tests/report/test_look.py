"""The page in a browser: at a desk's width and at a phone's, nothing is missing, empty, blank, or on top of something
else.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from browser import look
from PIL import Image

WIDTHS = (1280, 390)


@pytest.mark.parametrize("width", WIDTHS)
def test_page(measured: Any, tmp_path: Path, width: int) -> None:
    seen = look(measured.folder / "report.html", width, tmp_path)
    assert seen.console == []
    assert seen.found == []
    tasks = measured.report["tasks"]
    assert seen.images >= 1 + 3 * len(tasks) + 5 * len(tasks) + 2  # input, maps, pictures of each task, common ones
    assert len(seen.said) == 2 * len(tasks)
    for entry, (middle, zoomed) in zip(tasks.values(), zip(seen.said[::2], seen.said[1::2], strict=True), strict=True):
        spans = [
            [int(n.replace(",", "")) for n in re.findall(r"[\d,]+\d", text.partition("cycles ")[2])[:2]]
            for text in (middle, zoomed)
        ]
        assert spans[0][0] <= entry["cycles"] / 2 <= spans[0][1] + 1  # what is under the pointer
        assert entry["cycles"] / 4 - 500 < spans[1][0] < entry["cycles"] / 4 + 500  # zoomed in by two
        assert "busy" in middle and "read" in middle and "%" in middle
    with Image.open(tmp_path / f"{width}.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 1000


FAULTS = {
    "not loaded": lambda page: page.replace('src="data:image/svg+xml;base64,', 'src="data:image/svg+xml;base64,!', 1),
    "overlap": lambda page: page.replace("<h2>Resources</h2>", '<h2 style="margin-bottom: -60px">Resources</h2>', 1),
    "empty": lambda page: page.replace("</header>", "<p></p></header>", 1),
    "wider than the window": lambda page: page.replace("<header>", '<header style="width: 2000px">', 1),
    "blank": lambda page: page.replace(
        "</header>", f'<img alt="nothing" width="90" height="90" src="{BLANK}"></header>', 1
    ),
    "small print": lambda page: page.replace("min-width: 860px", "min-width: 300px", 1),
    "console": lambda page: page.replace("</header>", "<script>console.error('broken')</script></header>", 1),
}
BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAP///////yH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def test_faults_are_found(measured: Any, tmp_path: Path) -> None:
    """Each fault that the test above looks for, planted: it would be seen."""
    page = (measured.folder / "report.html").read_text()
    for plant in FAULTS.values():
        changed = plant(page)
        assert changed != page
        page = changed
    broken = tmp_path / "broken.html"
    broken.write_text(page)
    seen = look(broken, 390, tmp_path / "look", picture=False)
    for fault in FAULTS:
        problems = seen.console if fault == "console" else [line for line in seen.found if line.startswith(fault)]
        assert problems, (fault, seen)
