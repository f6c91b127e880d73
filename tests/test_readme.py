"""The README is read in a minute: short, six results, a picture of a report; its links lead somewhere."""

import re
from pathlib import Path

from PIL import Image

from moesaic.boards.estimate import counted

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 120
    results = TEXT.partition("## Results\n")[2].partition("\n## ")[0]
    rows = [line for line in results.splitlines() if line.startswith("| ")]
    assert 0 < len(rows) - 1 <= 6  # without its titles


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT)
    assert len(links) > 20
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_the_report_is_shown() -> None:
    (name,) = re.findall(r"!\[the report: [^]]*\]\(([^)]*)\)", TEXT)
    path = ROOT / name
    assert path.stat().st_size < 300_000
    with Image.open(path) as picture:
        assert picture.width == 1160 and len(picture.convert("RGB").getcolors(1 << 16) or ()) > 64


def test_the_clock_is_that_of_the_timing_model() -> None:
    (entry,) = (entry for entry in counted() if entry.config.name == "zcu102")
    low, high = int(entry.pessimistic_mhz), int(entry.optimistic_mhz)
    assert re.search(rf"supports\s+{low} to {high} MHz on `zcu102`", TEXT)
