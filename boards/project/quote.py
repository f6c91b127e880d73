"""Text of others in the languages of a project's files: for each language the one way to write a value there."""

import json
import re
from html import escape

__all__ = ["Quoted", "c_comment", "c_string", "code", "comment", "hexadecimal", "markdown", "tcl", "xml", "yaml"]

_TCL_BARE = re.compile(r"[A-Za-z0-9_./:-]+")
_TCL_SPECIAL = re.compile(r'[^ -~]|[\\"$\[\]{}]')  # inside double quotes
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&!~#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # _ emphasises at the edge of a word


class Quoted(str):
    """Text that is in the language of its file already; everything else is quoted where it is written."""


def _one_line(text: str) -> str:
    """The text with a blank for everything that is no visible character: line breaks, controls, marks of direction."""
    return "".join(character if character.isprintable() else " " for character in text)


def tcl(text: str) -> Quoted:
    """One word of Tcl, of the same value: in double quotes unless it is a plain name. XDC is Tcl too."""
    if _TCL_BARE.fullmatch(text):
        return Quoted(text)

    def escaped(found: re.Match[str]) -> str:
        number = ord(found[0])
        if 32 < number < 127:
            return f"\\{found[0]}"
        return f"\\u{number:04x}" if number < 0x1_0000 else f"\\U{number:08x}"

    return Quoted(f'"{_TCL_SPECIAL.sub(escaped, text)}"')


def comment(text: str) -> Quoted:
    """Part of a comment that ends with its line: ``#`` in Tcl, XDC, TOML and Makefiles, ``//`` in C and Verilog."""
    line = _one_line(text)
    return Quoted(f"{line} " if line.endswith("\\") else line)  # a backslash at its end would go on with the next line


def c_comment(text: str) -> Quoted:
    """Part of a comment between ``/*`` and ``*/``: C, Verilog, device trees."""
    return Quoted(re.sub(r"\*(?=/)|/(?=\*)", r"\g<0> ", _one_line(text)))


def c_string(text: str) -> Quoted:
    """A string literal of C, in UTF-8; three octal digits for every byte that is no plain character."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogatepass")
    )
    return Quoted(f'"{plain}"')


def yaml(text: str) -> Quoted:
    """A string of YAML, as JSON has it."""
    return Quoted(json.dumps(_one_line(text), ensure_ascii=False))


def hexadecimal(value: int, digits: int = 8) -> Quoted:
    """``0x`` and at least so many digits."""
    return Quoted(f"0x{value:0{digits}X}")


def markdown(text: str) -> Quoted:
    """Running text of Markdown, that shows as it is."""
    return Quoted(_MARKDOWN.sub(r"\\\g<0>", _one_line(text)))


def code(text: str) -> Quoted:
    """Code inside Markdown's running text or tables."""
    line = _one_line(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    blank = " " if "`" in line else ""
    return Quoted(f"{fence}{blank}{line}{blank}{fence}")


def xml(text: str) -> Quoted:
    """Text or attribute of XML and HTML."""
    return Quoted(escape(_one_line(text), quote=True))
