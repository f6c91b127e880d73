"""A table in a page of documentation, between two marks."""

from pathlib import Path

from moesaic.errors import InputError

__all__ = ["write_between"]


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two marks, each alone on a line.

    Raises
    ------
    InputError
        If the page does not have each mark once, in this order; it stays as it is.
    OSError
    """
    whole = page.read_text(encoding="utf-8")
    before, found, rest = whole.partition(f"{begin}\n")
    _, closed, after = rest.partition(end)
    if not found or not closed or whole.count(begin) != 1 or whole.count(end) != 1:
        raise InputError(f"page {page} must have the lines {begin} and {end} once, in this order")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
