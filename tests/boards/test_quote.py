"""Text of strangers in the languages of a project's files: it stays text, in `tclsh` and for a compiler of C."""

import copy
import json
import random
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from moesaic.boards.board import Board, BoardError, load_board, parse_board
from moesaic.boards.configuration import ConfigurationError, configuration_text, read_configuration
from moesaic.boards.project import quote
from moesaic.boards.project.render import render
from moesaic.boards.project.write import write_ip, write_project
from moesaic.hw.spec.presets import PRESETS

RUN = "set ::run 1"
HOSTILE = (
    f"[{RUN}]",
    f"}} ; {RUN} ; #",
    f'" ; {RUN} ; #',
    f"\n{RUN}\n",
    f"\r{RUN}\r",
    f"\\\n{RUN}\n",
    f"\\\\\n{RUN}",
    f'\\" ; {RUN} ;#',
    f"\\}} ; {RUN}",
    f"x\\[{RUN}]",
    f"{{*}}[{RUN}]",
    f"$::argv0 ${{a}} $a([{RUN}])",
    f"*/ {RUN} /*",
    f"</x>&lt;{RUN}]]>",
    f"\x00\x1b[31m\u2028{RUN}\u2028\u202e",
    "ends with \\",
    "-force",
    "#",
    "",
    " ",
    "`code` **bold** |cell| [link](x) <b> _it_ a_b",
    "Zürich ✓",
)
PARTS = [
    "[",
    "]",
    "{",
    "}",
    '"',
    "\\",
    "$",
    ";",
    "#",
    "\n",
    "\r",
    "\t",
    " ",
    "*/",
    "/*",
    "<",
    "&",
    "'",
    "é",
    "\x85",
    RUN,
]


def hostile(count: int) -> Iterator[str]:
    """Those above, and random mixtures of what is special somewhere."""
    yield from HOSTILE
    source = random.Random(11)
    for _ in range(count):
        yield "".join(source.choices(PARTS, k=source.randint(1, 12)))


def tclsh(script: Path) -> list[str]:
    program = shutil.which("tclsh")
    assert program is not None, "tclsh must be installed: sudo apt-get install tcl"
    done = subprocess.run([program, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_word_of_tcl_is_the_text(tmp_path: Path) -> None:
    texts = list(hostile(2000))
    script = tmp_path / "words.tcl"
    lines = [f"puts [binary encode hex [encoding convertto utf-8 {quote.tcl(text)}]]" for text in texts]
    script.write_text("\n".join([*lines, "puts [info exists ::run]", ""]))
    *words, run = tclsh(script)
    # Tcl writes the null character as two bytes.
    assert [bytes.fromhex(word).replace(b"\xc0\x80", b"\0").decode() for word in words] == texts
    assert run == "0"


def test_a_comment_ends_with_its_line(tmp_path: Path) -> None:
    script = tmp_path / "comments.tcl"
    lines = [f"# {quote.comment(text)}\nincr ::lines" for text in hostile(2000)]
    script.write_text("\n".join([*lines, "puts $::lines", "puts [info exists ::run]", ""]), encoding="utf-8")
    assert tclsh(script) == [str(len(lines)), "0"]


def test_c_reads_the_text(tmp_path: Path) -> None:
    texts = [text for text in hostile(300) if "\0" not in text]
    program = tmp_path / "texts.c"
    lines = [f"  /* {quote.c_comment(text)} */ puts({quote.c_string(text)}); puts(END);" for text in texts]
    program.write_text(
        "\n".join(["#include <stdio.h>", '#define END "\\001"', "int main(void) {", *lines, "  return 0;", "}", ""])
    )
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-trigraphs", program, "-o", tmp_path / "texts"], check=True)
    found = subprocess.check_output([tmp_path / "texts"]).decode().split("\n\x01\n")
    assert found[:-1] == texts


def test_xml_reads_the_text() -> None:
    for text in hostile(500):
        root = ElementTree.fromstring(f'<a b="{quote.xml(text)}">{quote.xml(text)}</a>')
        line = "".join(character if character.isprintable() else " " for character in text)
        assert ((root.text or ""), root.get("b"), len(root)) == (line, line, 0)


def test_markdown_is_a_line() -> None:
    assert quote.markdown("`a` *b* [c](d) <e> f|g _h_ i_j\n# k") == (r"\`a\` \*b\* \[c\](d) \<e\> f\|g \_h\_ i_j \# k")
    assert [quote.code("a`b\nc"), quote.code("a|b"), quote.code("x")] == ["`` a`b c ``", r"`a\|b`", "`x`"]


def unchecked(board: Board, **texts: str) -> Board:
    """A board with texts that its own checks would refuse, the accelerator's name among them."""
    changed = copy.copy(board)
    config = copy.copy(board.accelerator)
    object.__setattr__(config, "name", texts.pop("configuration"))
    object.__setattr__(changed, "accelerator", config)
    for field, text in texts.items():
        object.__setattr__(changed, field, text)
    return changed


# Commands of Vivado answer nothing here; what matters is which commands there are.
STUB = """
proc unknown {args} {return ""}
proc source {args} {}
proc try {file} {
    set channel [open $file]
    fconfigure $channel -encoding utf-8
    set text [read $channel]
    close $channel
    set child [interp create -safe]
    $child alias unknown list
    catch {$child eval $text}
    puts [$child eval {info exists ::run}]
    interp delete $child
}
"""


def test_projects_run_nothing_of_a_board(tmp_path: Path) -> None:
    board, scripts = load_board("kv260"), []
    for number, text in enumerate(hostile(40)):
        folder = tmp_path / str(number)
        bad = unchecked(
            board, title=text, name=text, part=text, board_part=text, board_connections=text, configuration=text
        )
        write_project(bad, folder, version=text)
        write_ip(bad.accelerator, folder, part=text)
        scripts += [folder / name for name in ("build.tcl", "bd.tcl", "constraints.xdc", "ip/package.tcl")]
        header = (folder / "include/moesaic_board.h").read_text()
        assert header.count("*/") == 1 and header.splitlines()[1] == "#ifndef MOESAIC_BOARD_H"
        ElementTree.parse(folder / "ip/component.xml")
        assert (folder / "README.md").read_text().splitlines()[1] == ""
    driver = tmp_path / "driver.tcl"
    driver.write_text("\n".join([STUB, *(f"try {quote.tcl(str(script))}" for script in scripts), ""]))
    assert tclsh(driver) == ["0"] * len(scripts)


def test_a_value_of_no_language_is_refused() -> None:
    with pytest.raises(TypeError, match="value must be text or a number, not None"):
        render("package.tcl", part=None)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("board_part", f"a:b:c[{RUN}]:1", "board_part must be vendor:board:part0:version"),
        ("board_connections", f"}} ; {RUN}", "board_connections must be empty, or pairs of a connector and"),
        ("title", f"x\n{RUN}", "title must be a line of at most 100 characters"),
        ("model", f"x\n{RUN}", "model must be 1 to 64 letters"),
    ],
)
def test_boards_are_refused(field: str, value: str, message: str) -> None:
    text = "".join(
        f"{field} = {toml(value)}\n" if line.startswith(f"{field} = ") else line
        for line in (resources.files("moesaic.boards") / "data" / "kv260.toml").read_text().splitlines(keepends=True)
    )
    with pytest.raises(BoardError, match=message):
        parse_board(text, name="mine")


def toml(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@pytest.mark.parametrize("name", [f"x\n{RUN}", "../x", "a b", "", "x" * 65])
def test_configurations_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"name = {toml(name)}\nrows = 8\nlanes = 8\n")
    with pytest.raises(ConfigurationError, match="name must be"):
        read_configuration(path)


def test_configurations_are_named_after_their_file(tmp_path: Path) -> None:
    path = tmp_path / "-my lab [exec x].v2.toml"
    path.write_text("rows = 8\nlanes = 8\n")
    assert read_configuration(path).name == "my-lab-exec-x-v2"


def test_comments_of_a_configuration_are_lines() -> None:
    table: dict[str, Any] = tomllib.loads(configuration_text(PRESETS["micro8"], ["x\nrows = 4\r\n", "y\x00"]))
    assert table == json.loads(json.dumps(PRESETS["micro8"].to_dict()))  # tuples are lists there
