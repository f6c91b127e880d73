"""Templates to text."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["render"]

_TEMPLATES = Environment(
    loader=PackageLoader("moesaic.boards.project", "templates"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)


def render(template: str, **values: Any) -> str:
    """Text of a template; a value that it needs and does not get is an error."""
    return _TEMPLATES.get_template(f"{template}.j2").render(**values)
