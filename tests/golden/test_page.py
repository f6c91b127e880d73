"""Tables in pages of documentation: put where the marks are, or refused."""

from pathlib import Path

import pytest

from moesaic.errors import InputError
from moesaic.golden.evaluation.page import write_between

BEGIN, END = "<!-- some -->", "<!-- end of some -->"


def test_what_stands_between_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_between(page, BEGIN, END, "new\nrows")
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\nnew\nrows\n{END}\nafter\n"


@pytest.mark.parametrize(
    "text", ["none", BEGIN, f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n", f"{BEGIN}\n{END}\n{END}\n"]
)
def test_a_page_without_its_place_stays(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="page.md must have the lines"):
        write_between(page, BEGIN, END, "new")
    assert page.read_text(encoding="utf-8") == text
