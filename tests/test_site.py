"""The documentation is a site without a warning: every page in the contents, every link to a page and heading."""

import shutil
from pathlib import Path

import pytest
from sphinx.cmd.build import build_main

# Of MyST's use of Sphinx, not of ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

DOCS = Path(__file__).parents[1] / "docs"


def problems(docs: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What Sphinx says about a site; empty if it has no word to say."""
    status = build_main(["-q", "-W", "--keep-going", "-b", "html", "-d", str(out / "trees"), str(docs), str(out)])
    said = capsys.readouterr().err
    assert bool(status) == bool(said)
    return said


def test_the_site_is_built_without_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert problems(DOCS, tmp_path, capsys) == ""
    pages = {page.relative_to(DOCS).with_suffix("") for page in DOCS.rglob("*.md")}
    assert pages == {page.relative_to(tmp_path).with_suffix("") for page in tmp_path.rglob("*.html")} - {
        Path("genindex"),
        Path("search"),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[here](nowhere.md)\n", "nowhere"),
        ("[here](index.md#no-such-heading)\n", "no-such-heading"),
        ("![it](no.png)\n", "no.png"),
    ],
)
def test_what_leads_nowhere_is_named(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1"\n')
    (docs / "index.md").write_text(f"# Title\n\n{text}")
    assert said in problems(docs, tmp_path / "out", capsys)


def test_a_page_outside_the_contents_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1"\n')
    (docs / "index.md").write_text("# Title\n")
    (docs / "lost.md").write_text("# Lost\n")
    assert "lost.md" in problems(docs, tmp_path / "out", capsys)
