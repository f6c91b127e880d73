"""Commands and output as the pages for beginners show them."""

import json
import re
import shlex
from pathlib import Path

__all__ = ["PAGES", "commands", "first_run", "without_seconds"]

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/getting-started.md", "docs/tutorial.ipynb")
STARTED = "docs/getting-started.md"


def _text(page: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    if not page.endswith(".ipynb"):
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def commands(page: str) -> list[str]:
    """What a page tells the reader to type: lines of blocks that are indented, and of tables of results."""
    outside = re.sub(r"^```.*?^```$", "", _text(page), flags=re.MULTILINE | re.DOTALL)
    typed = re.findall(r"^ {4}((?:moesaic|make|source|pip|jupyter)\b[^#\n]*)", outside, flags=re.MULTILINE)
    return [line.strip() for line in [*typed, *re.findall(r"\| `(moesaic [^`]*)` \|$", outside, flags=re.MULTILINE)]]


def first_run() -> tuple[list[str], str]:
    """The command of the first run, in words, and the output that the page shows."""
    (shown,) = re.findall(r"^```text\n(.*?)^```", _text(STARTED), flags=re.MULTILINE | re.DOTALL)
    command = next(line for line in commands(STARTED) if line.startswith("moesaic run"))
    return shlex.split(command), shown


def without_seconds(output: str) -> list[str]:
    """Lines of a command's output without what each step took."""
    return [re.sub(r"^ *[\d.]+ s  ", "", line).rstrip() for line in output.splitlines()]
