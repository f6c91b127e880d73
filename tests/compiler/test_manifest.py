"""A manifest is checked before anything is made of it: sizes, places, and what belongs together."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quantmodels import random_qmodel

from moesaic.boards.board import board_names, load_board
from moesaic.compiler.batch import Batch
from moesaic.compiler.image import ProgramImage, ProgramImageError
from moesaic.compiler.manifest import MOST_BYTES, check_manifest
from moesaic.compiler.pipeline import compile_all, compile_model
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.config import AcceleratorConfig

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=2, experts=4, expert_hidden=16)
CONFIG = AcceleratorConfig(name="c", rows=8, lanes=16, ports=2, port_bits=64, max_tokens=64, max_dim=128)
Manifest = dict[str, Any]
LARGE = 10**12


@pytest.fixture(scope="module")
def image() -> ProgramImage:
    return compile_model(random_qmodel(MODEL, 0), CONFIG, seed=0)


def put(*path: str | int, value: Any) -> Callable[[Manifest], None]:
    """Sets one value of a manifest."""

    def change(manifest: Manifest) -> None:
        *way, last = path
        place: Any = manifest
        for step in way:
            place = place[step]
        place[last] = value

    return change


def window(manifest: Manifest) -> None:
    """A window that says how large it is, and a region that fills it."""
    manifest["window"]["bytes"] += 4096
    manifest["regions"][-1]["bytes"] += 4096


def elsewhere(manifest: Manifest) -> None:
    manifest["tasks"]["semseg"]["compute"] = manifest["tasks"]["depth"]["compute"]


def renamed(manifest: Manifest) -> None:
    manifest["tasks"]["../x"] = manifest["tasks"].pop("depth")


BAD: list[tuple[Callable[[Manifest], None], str]] = [
    (put("regions", 0, "bytes", value=-4096), r"regions\[0\].bytes must be a whole number from 1 to"),
    (put("regions", 0, "bytes", value=0), r"regions\[0\].bytes must be a whole number from 1 to"),
    (put("regions", 0, "address", value=-4096), r"regions\[0\].address must be a whole number from 0"),
    (put("regions", 0, "bytes", value=MOST_BYTES), "must lie on pages of its own in the window"),
    (put("regions", -1, "bytes", value=1 << 20), "region 'result' must lie on pages of its own in the window"),
    (put("regions", 0, "name", value="x"), "regions must be load.semseg"),
    (put("regions", value=[]), "regions must be a list of 1 to 4096 values"),
    (put("regions", -1, "bytes", value=1), r"region 'result' must be \d+ bytes, not 1"),
    (
        put("window", "bytes", value=LARGE),
        "window.bytes must be a whole number from 1 to 1073741824, not 1000000000000",
    ),
    (put("window", "address", value=1), "window must be pages below"),
    (put("window", "address", value=1 << 45), r"window must be pages below 2\*\*40"),
    (window, r"region 'result' must be \d+ bytes"),
    (put("window", "bytes", value=1 << 20), r"window.bytes must be \d+, what its regions take, not 1048576"),
    (put("regions", 6, "port", value=1), "port of region 'image.0' must be 0, not 1"),
    (
        put("tasks", "semseg", "own", value=[{"instruction": 10**6, "count": 1, "items": [0]}]),
        "tasks.semseg.own must be",
    ),
    (put("tasks", "semseg", "own", value=[{"instruction": 0, "count": 1, "items": [1]}]), "tasks.semseg.own must be"),
    (put("tasks", "semseg", "items", 0, "task", value="x"), "every one of tasks must be one of semseg, depth, not 'x'"),
    (put("tasks", "semseg", "items", 0, "task", value="depth"), "tasks.semseg.items must be every image of every task"),
    (put("tasks", "semseg", "load", "count", value=LARGE), "tasks.semseg.load.count must be a whole number from 1 to"),
    (put("tasks", "semseg", "load", "count", value=1), r"tasks.semseg.load must be \d+ instructions at 0x10000000"),
    (put("tasks", "semseg", "store", "address", value=0), "tasks.semseg.store must be 1 instructions at"),
    (put("tasks", "semseg", "marks", 0, "instruction", value=10**6), "tasks.semseg.marks must be the tensors"),
    (put("tasks", "semseg", "marks", 0, "name", value="blocks.1"), "tasks.semseg.marks must be the tensors"),
    (put("tasks", value={}), "regions must be image.0"),
    (elsewhere, "tasks.semseg.compute must be"),
    (renamed, r"a key of manifest.tasks must be 1 to 64 letters.*, not '../x'"),
    (put("tensors", 0, "tokens", value=LARGE), "tokens must be a whole number"),
    (put("tensors", 0, "dim", value=31), "tensor 'embed' must be 5 tokens of 32 in 2 words"),
    (put("tensors", 1, "address", value=1020), "tensor 'blocks.0' must be in the 1024 words of the memory"),
    (put("tensors", 1, "step", value=0), "step must be a number from 1e-30"),
    (put("tensors", 1, "name", value="blocks.1"), "names of tensors must be embed, blocks.0, blocks.1"),
    (put("experts", "blocks.1", "0", "offset", value=LARGE), "pieces and experts must be words of the weight stream"),
    (put("pieces", 0, "bytes", value=1 << 40), "pieces and experts must be words of the weight stream"),
    (put("network", "nodes", value=[]), "network.nodes must be a list of 2 to 16384 "),
    (
        put("network", "nodes", 1, "block", value=LARGE),
        r"nodes\[1\].block must be a whole number from 0 to 1023",
    ),
    (put("network", "nodes", 1, "kind", value="lstm"), "kind must be 'embedding' or 'attention' or 'mlp' or 'moe'"),
    (
        put("network", "nodes", 1, "sizes", value={"hidden": 8}),
        r"\[1\].sizes must be a table with the field 'heads'",
    ),
    (put("network", "nodes", 1, "sizes", "heads", value="2"), r"nodes\[1\].sizes.heads must be a whole number"),
    (put("network", "nodes", 2, "inputs", value=["x"]), "inputs must be nodes of the network, not 'x'"),
    (put("network", "nodes", 2, "output", "channels", value=33), "output must be 5 tokens of 32 channels"),
    (put("network", "image", "height", value=1 << 19), "output must be 131073 tokens"),
    (put("network", "name", value="../x"), "network.name must be 1 to 64 letters"),
    (put("blocks", value=3), "blocks must be at most 2"),
    (put("accelerator", "rows", value=8.5), "accelerator.rows must be a whole number"),
    (put("accelerator", "rows", value=7), "rows must be a power of two"),
    (put("accelerator", "name", value="x\nexec"), "accelerator.name must be 1 to 64 letters"),
    (put("accelerator", "wings", value=2), "accelerator must be a table without the field 'wings'"),
    (put("memory_sha256", value="ab"), "memory_sha256 must be 64 hexadecimal digits"),
    (put("format", value=True), "format must be 4, not True"),
    (put("seed", value=[[]]), "seed must be a whole number"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_what_cannot_be_is_refused(image: ProgramImage, change: Callable[[Manifest], None], message: str) -> None:
    manifest = json.loads(json.dumps(image.manifest))
    check_manifest(copy.deepcopy(manifest))
    change(manifest)
    with pytest.raises(ProgramImageError, match=message):
        check_manifest(manifest)


@pytest.mark.parametrize(("blocks", "parts"), [(1, 3), (2, 6)])
def test_a_result_for_each_image_until_tasks_part(blocks: int, parts: int) -> None:
    """Three images for two tasks, which have a mixture of their own in the second block."""
    batch = Batch(("semseg", "depth"), 3)
    image = compile_all(random_qmodel(MODEL, 0), CONFIG, tasks=[batch], blocks=blocks).image
    manifest = json.loads(json.dumps(image.manifest))
    check_manifest(copy.deepcopy(manifest))
    assert image.region("result").bytes == parts * 5 * 2 * 32
    for region in manifest["regions"]:
        if region["name"] == "result":
            region["bytes"] += 5 * 2 * 32
    with pytest.raises(ProgramImageError, match=f"region 'result' must be {parts * 5 * 2 * 32} bytes"):
        check_manifest(manifest)


def test_every_field_is_looked_at(image: ProgramImage) -> None:
    """Each field in turn is missing, of another kind, and negative."""
    whole = json.loads(json.dumps(image.manifest))
    for field in whole:
        for value in (None, -1, "x", {"a": []}, [-1]):
            if field == "seed" and value is None:  # seeded by nobody knows what
                continue
            if field == "weights" and value == "x":  # only said in reports
                continue
            with pytest.raises(ProgramImageError, match=field):
                check_manifest({**whole, field: value})
        with pytest.raises(ProgramImageError, match=f"with the field '{field}'"):
            check_manifest({name: value for name, value in whole.items() if name != field})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"format": NaN}', "NaN is no number"),
        ("1" * 10_000, "must be a readable JSON file"),
        ("\ud800", "not UTF-8"),
        ("", "must be a readable JSON file"),
    ],
)
def test_text_that_is_no_manifest(image: ProgramImage, tmp_path: Path, text: str, message: str) -> None:
    image.save(tmp_path)
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ProgramImageError, match=message):
        ProgramImage.load(tmp_path)


def test_a_huge_memory_is_not_read(image: ProgramImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image.save(tmp_path)
    os.truncate(tmp_path / "memory.bin", 20 << 30)  # takes no room: all zeros
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read"))
    with pytest.raises(ProgramImageError, match=f"memory.bin must be {len(image.memory)} bytes, not {20 << 30}"):
        ProgramImage.load(tmp_path)
    os.truncate(tmp_path / "manifest.json", 20 << 30)
    with pytest.raises(ProgramImageError, match="where 16,777,216 are the most"):
        ProgramImage.load(tmp_path)


@pytest.mark.parametrize("name", ["memory.bin", "manifest.json"])
def test_only_files_are_read(image: ProgramImage, tmp_path: Path, name: str) -> None:
    image.save(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)  # whoever opens it waits for ever
    with pytest.raises(ProgramImageError, match="not a regular file|memory.bin must be"):
        ProgramImage.load(tmp_path)


def test_no_board_has_a_larger_window() -> None:
    assert max(load_board(name).memory.window_bytes for name in board_names()) <= MOST_BYTES
