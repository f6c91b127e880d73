"""Each kind of layer has one room on each floor: nobody else asks which kind a layer is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesaic.compiler.layers.rooms import ROOMS
from moesaic.golden.layers.float_kinds import FLOAT_KINDS
from moesaic.golden.layers.kinds import LAYERS
from moesaic.golden.layers.sizes import SIZES, EmbeddingSizes

ROOT = Path(__file__).parents[1]
FLOORS = ("golden", "compiler", "sim", "boards", "moesaic", "hw", "examples")
ROOM_FOLDERS = (ROOT / "golden" / "layers", ROOT / "compiler" / "layers")
CLASSES = {"QuantAttention", "QuantMLP", "QuantMoE", "QuantExpert", "Attention", "Mlp", "MoE"}
KNOWN_TO: dict[str, set[str]] = {  # kind -> files outside its rooms that import it; one needs a reason
    "attention": set(),
    "mlp": set(),
    "moe": set(),
}
RMS_NORM = re.compile(r"(^|_)rms(_?norms?)?$|rmsnorm|^centred$", re.IGNORECASE)
KNOW_RMS_NORM = {
    "golden/frontend/norms.py": "recognises it",
    "golden/layers/norm.py": "its constants",
    "golden/layers/norm_float.py": "in floats",
    "golden/layers/sizes.py": "the kind of a norm",
    "golden/numerics.py": "in integers",
    "hw/engine/feeder.py": "hands the field to it",
    "hw/spec/isa.py": "a field of NORM",
    "hw/vector/layernorm.py": "in hardware",
}


def outside_rooms() -> Iterator[Path]:
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            if path.parent not in ROOM_FOLDERS:
                yield path


def questions(text: str) -> list[str]:
    """What a source asks of a layer that only its room may ask: its class, or the role of an operation."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            names = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            found += [f"line {node.lineno}: isinstance of {name}" for name in names & CLASSES]
        elif isinstance(node, ast.Attribute) and node.attr == "role" and isinstance(node.ctx, ast.Load):
            found.append(f"line {node.lineno}: a role")
    return found


def importers(kind: str) -> set[str]:
    rooms = {f"moesaic.golden.layers.{kind}", f"moesaic.golden.layers.{kind}_float", f"moesaic.compiler.layers.{kind}"}
    return {
        str(path.relative_to(ROOT))
        for path in outside_rooms()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in rooms
    }


def knows_rms_norm(text: str) -> bool:
    """Whether a name or a string of one word in a source is RMSNorm's; prose is not looked at."""
    names = set[str]()
    for node in ast.walk(ast.parse(text)):
        names |= {str(value) for _, value in ast.iter_fields(node) if isinstance(value, str)}
    return any(RMS_NORM.search(name) for name in names if " " not in name)


def test_who_knows_rms_norm() -> None:
    sources = (path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py")))
    found = {str(p.relative_to(ROOT)) for p in sources if knows_rms_norm(p.read_text(encoding="utf-8"))}
    assert found == set(KNOW_RMS_NORM)
    assert len(found) <= 8


def test_a_planted_rms_norm_is_found() -> None:
    for line in ("if norm.kind == 'rmsnorm': pass", "f(rms=1)", "x.centred", "F.rms_norm(x)", "class RMSNorm: pass"):
        assert knows_rms_norm(line), line
    assert not knows_rms_norm("error = 'nn.LayerNorm or nn.RMSNorm before it'; rms_error = terms")


def test_nobody_asks_for_a_kind() -> None:
    bad = [f"{p.relative_to(ROOT)}: {q}" for p in outside_rooms() for q in questions(p.read_text(encoding="utf-8"))]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("line", ["isinstance(x, QuantMoE)", "isinstance(x, QuantMLP | QuantMoE)", "op.role == 'k'"])
def test_a_planted_question_is_found(line: str) -> None:
    assert questions(line)
    assert not questions("isinstance(x, int) and op.group")


@pytest.mark.parametrize("kind", KNOWN_TO)
def test_who_knows_a_kind(kind: str) -> None:
    assert importers(kind) == KNOWN_TO[kind]


def test_same_rooms_on_every_floor() -> None:
    kinds = set(LAYERS)
    assert kinds == set(FLOAT_KINDS) == set(ROOMS) == set(KNOWN_TO) == set(SIZES) - {EmbeddingSizes.kind}
    for kind in kinds:
        for path in (f"golden/layers/{kind}.py", f"golden/layers/{kind}_float.py", f"compiler/layers/{kind}.py"):
            assert (ROOT / path).is_file(), path
