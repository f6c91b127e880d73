"""Configuration of the documentation site: `make docs` builds it with Sphinx, every warning an error."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Moesaic"
version = release = _PROJECT["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4  # links to headings work on the site as they do on a forge
autodoc_typehints = "none"  # docstrings say more
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Moesaic {version}"
html_copy_source = False
