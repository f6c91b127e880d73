"""Templates to text: every value is quoted for the language of the file, unless a filter of `quote` has done so."""

from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from moesaic.boards.project import quote
from moesaic.boards.project.quote import Quoted

__all__ = ["render"]

_LANGUAGES: dict[str, Callable[[str], Quoted]] = {  # ending of the file -> what a value becomes there
    "tcl": quote.tcl,
    "xdc": quote.tcl,
    "md": quote.markdown,
    "c": quote.c_string,
    "h": quote.c_string,
    "dtsi": quote.c_string,
    "dtso": quote.c_string,
    "bif": quote.c_string,
    "xml": quote.xml,
    "core": quote.yaml,
    "vlt": quote.comment,
}
_FILTERS = {
    "code": quote.code,
    "comment": quote.comment,
    "c_comment": quote.c_comment,
    "hexadecimal": quote.hexadecimal,
}


@cache
def _environment(language: str) -> Environment:
    quoted = _LANGUAGES[language]

    def finalize(value: Any) -> Any:
        if isinstance(value, Quoted | int | float):
            return value
        if isinstance(value, str):
            return quoted(value)
        raise TypeError(f"value must be text or a number, not {value!r}")

    environment = Environment(
        loader=PackageLoader("moesaic.boards.project", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # which knows HTML alone
        finalize=finalize,
    )
    environment.filters |= _FILTERS
    return environment


def render(template: str, **values: Any) -> str:
    """Text of a template; a value that it needs and does not get is an error."""
    return _environment(template.rpartition(".")[2]).get_template(f"{template}.j2").render(**values)
