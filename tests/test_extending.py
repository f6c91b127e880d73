"""`docs/extending.md` is followed: the files that it names are those that know the operator, and no others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FLOORS = ("hw", "golden", "compiler", "sim", "boards", "moesaic", "examples")
SQUARE = {"hw/spec/functions.py", "golden/layers/fixed_points.py", "golden/layers/activations.py"}
# Of the gated MLP: the bit of a MATMUL with what obeys it, its two forms in floats and integers, its capture.
GATED = {
    "boards/memory_rules.py",
    "compiler/layers/hidden.py",
    "compiler/pack.py",
    "golden/frontend/arithmetic.py",
    "golden/frontend/gated.py",
    "golden/frontend/meaning.py",
    "golden/frontend/mlp.py",
    "golden/frontend/recognise.py",
    "golden/layers/mlp.py",
    "golden/layers/mlp_float.py",
    "golden/layers/moe.py",
    "golden/layers/moe_float.py",
    "golden/layers/sizes.py",
    "hw/decode/operation.py",
    "hw/engine/writeback.py",
    "hw/functions/activate.py",
    "hw/functions/gated.py",
    "hw/functions/place.py",
    "hw/functions/rescale.py",
    "hw/spec/config.py",
    "hw/spec/isa.py",
    "hw/spec/legal.py",
    "hw/spec/presets.py",  # two of them leave it out
    "hw/spec/units.py",
    "moesaic/energy/activity.py",
    "sim/matmul.py",
}


def words(source: str) -> Iterator[str]:
    """Names and texts in a source, without docstrings and comments."""
    tree = ast.parse(source)
    alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in alone:
            yield node.value
        for field in ("id", "attr", "arg", "name"):
            word = getattr(node, field, None)
            if isinstance(word, str):
                yield word


def knows(source: str, operator: str) -> bool:
    """Whether a source has the operator as a word of a name, or as a text of its own."""
    pattern = re.compile(rf"(^|_){operator}(_|$)", re.IGNORECASE)
    return any(pattern.search(word) for word in words(source))


def who_knows(operator: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*.py")
        if knows(path.read_text(encoding="utf-8"), operator)
    }


@pytest.mark.parametrize("line", ["x = SILU", "x.silu = 1", "f(silu=1)", "x = 'silu'", "from a import silu_knots"])
def test_a_planted_word_is_found(line: str) -> None:
    assert knows(line, "silu")
    assert not knows('"""SiLU."""\nx = 1  # silu', "silu") and not knows("dissilu = 1", "silu")


def test_the_table_of_the_page() -> None:
    listed = set(re.findall(r"^\| `([\w/]+\.py)` \|", PAGE, re.MULTILINE))
    assert listed == who_knows("silu")
    assert len(listed) <= 9


def test_an_activation_without_a_table() -> None:
    assert who_knows("relu2") == SQUARE
    assert all(f"`{name}`" in PAGE for name in SQUARE)


def test_who_knows_the_gated_mlp() -> None:
    """More than there should be: a name may leave this list, and none may join it."""
    assert who_knows("gated") <= GATED


def test_what_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:hw|golden|compiler|sim|tests|moesaic)/[\w/]+(?:\.py)?)`", PAGE))
    missing = [name for name in sorted(named) if "<" not in name and not (ROOT / name).exists()]
    assert not missing and len(named) > 15
    sources = "\n".join(path.read_text(encoding="utf-8") for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
    for symbol in (
        "silu_knots",
        "FUNCTIONS",
        "Function",
        "Curve",
        "AcceleratorConfig",
        "LayerSizes",
        "QuantLayer",
        "Room",
    ):
        assert f"`{symbol}`" in PAGE and re.search(rf"\b{symbol}\b", sources), symbol
