"""Program image: layout of the window, manifest, and files that are complete or refused."""

import hashlib
import json

import numpy as np
import pytest
from quantmodels import random_image, random_qmodel

from moesaic.compiler.batch import Batch
from moesaic.compiler.dump import dump
from moesaic.compiler.image import PAGE_BYTES, SPREAD_BYTES, ProgramImage, ProgramImageError, Region, RegionTable
from moesaic.compiler.pack import join_ports, pack_images
from moesaic.compiler.pipeline import compile_all, compile_model
from moesaic.errors import InputError
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec import isa
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode
from moesaic.hw.spec.registers import register_map

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=2, experts=4, expert_hidden=16)
CONFIG = AcceleratorConfig(name="c", rows=8, lanes=16, ports=2, port_bits=64, max_tokens=64, max_dim=128)


@pytest.fixture(scope="module")
def compilation():
    return compile_all(random_qmodel(MODEL, 0), CONFIG, seed=0)


@pytest.fixture(scope="module")
def image(compilation):
    return compilation.image


def test_regions_are_pages_of_their_own(image):
    end = image.address
    for entry in image.manifest["regions"]:
        assert entry["address"] % PAGE_BYTES == 0
        assert entry["address"] >= end
        end = entry["address"] + entry["bytes"]
    assert end <= image.address + len(image.memory)
    with pytest.raises(ValueError, match="window address must be a multiple of 4096, not 16"):
        RegionTable(16)
    with pytest.raises(ValueError, match="window address must be a multiple of 4096, not -4096"):
        RegionTable(-PAGE_BYTES)
    assert RegionTable(0).add("load", 1).address == 0


@pytest.mark.parametrize(("size", "pages"), [(0, 1), (1, 1), (PAGE_BYTES, 1), (PAGE_BYTES + 1, 2)])
def test_no_two_regions_share_a_page(size, pages):
    """One without contents has an address all the same."""
    table = RegionTable(PAGE_BYTES)
    assert table.add("first", b"x" * size) == Region("first", PAGE_BYTES, size)
    assert table.add("second", 3, 2) == Region("second", (1 + pages) * PAGE_BYTES, 3, 2)
    assert table.memory() == b"x" * size + bytes((pages + 1) * PAGE_BYTES - size)


@pytest.mark.parametrize(("row_bytes", "apart"), [(2 << 10, 4 << 10), (8 << 10, 16 << 10)])
@pytest.mark.parametrize("before", [0, 5000, 70_000])
def test_ports_stay_more_than_a_row_apart(row_bytes: int, apart: int, before: int):
    """So they meet in no bank, wherever they are in their rows."""
    table = RegionTable(0x3000_0000)
    table.add("load", before)
    regions = [table.add(f"weights.{port}", 123_456, port, apart=apart) for port in range(4)]
    gaps = [(b.address - a.address) % (8 * row_bytes) for a in regions for b in regions if a is not b]
    assert min(gaps) > row_bytes


def test_weights_are_laid_out_apart(image):
    first, second = (image.region(f"weights.{port}").address for port in range(2))
    assert (second - first) % SPREAD_BYTES == 8 << 10  # two ports of 64 bits


def test_registers_are_those_of_the_map(image):
    values = register_map(CONFIG.ports).values
    registers = image.registers("depth")
    assert set(registers) <= set(values)
    assert {n for n in values if "base" in n or n.endswith("count")} - set(registers) <= {"load_blocked_count"}
    assert registers["load_base"] != image.registers("semseg")["load_base"]
    assert registers["weight_base1"] == image.region("weights.1").address
    assert registers["program_hash"] == int.from_bytes(hashlib.sha256(image.memory).digest()[:4], "big")
    assert (registers["window_base"], registers["window_bytes"]) == (image.address, len(image.memory))
    with pytest.raises(ProgramImageError, match="task must be one of semseg, depth, not 'flow'"):
        image.registers("flow")
    with pytest.raises(KeyError, match="region must be one of"):
        image.region("nothing")


def test_manifest_counts(image):
    manifest = image.manifest
    assert [t["name"] for t in manifest["tensors"]] == ["embed", "blocks.0", "blocks.1"]
    assert [t["kind"] for t in manifest["tensors"]] == ["embed", "dense", "moe"]
    assert manifest["macs"] == network_of(MODEL).macs
    for task in manifest["tasks"].values():
        assert [m["name"] for m in task["marks"]] == ["embed", "blocks.0", "blocks.1"]
        for mark in task["marks"]:
            at = task["compute"]["address"] - image.address + mark["instruction"] * isa.INSTRUCTION_BYTES
            assert isa.decode(image.memory[at : at + isa.INSTRUCTION_BYTES])[1]["mark"] == 1
    # Bytes per block are those of the pieces: padding and parameters included, so at least the matrices.
    for block, entry in enumerate(manifest["tensors"][1:]):
        assert entry["weight_bytes"] >= network_of(MODEL).block_weight_bytes(block)


def test_expert_ranges_are_the_experts_pieces(compilation):
    pieces = {p["name"]: p for p in compilation.image.manifest["pieces"]}
    for expert, entry in compilation.image.manifest["experts"]["blocks.1"].items():
        fc1, fc2 = (pieces[f"blocks.1.mlp.experts.{expert}.{part}"] for part in ("fc1", "fc2"))
        assert entry == {"offset": fc1["offset"], "bytes": fc2["offset"] + fc2["bytes"] - fc1["offset"]}
        assert fc2["offset"] >= fc1["offset"] + fc1["bytes"]


def test_weights_and_image_reach_their_ports(compilation):
    image = compilation.image
    regions = [image.region(f"weights.{port}") for port in range(2)]
    parts = [image.memory[r.address - image.address :][: r.bytes] for r in regions]
    assert join_ports(parts, CONFIG) == compilation.store.data
    pixels = random_image(MODEL, 1)
    memory = image.memory_with(pixels)
    parts = [
        memory[image.region(f"image.{p}").address - image.address :][: image.region(f"image.{p}").bytes]
        for p in range(2)
    ]
    assert join_ports(parts, CONFIG) == pack_images([pixels], network_of(MODEL), CONFIG)


def test_fetches_are_merged_and_conditional(compilation):
    fetches = [isa.decode(data)[1] for data in compilation.programs["depth"].load]
    plain = [f for f in fetches if not f["expert_valid"]]
    assert len(plain) == 4  # position, image, embedding and block 0 and block 1's attention, gate of the second task
    route = next(
        i
        for i, data in enumerate(compilation.programs["depth"].compute)
        if isa.decode(data)[0] is Opcode.MATMUL and isa.decode(data)[1]["function"] == isa.Function.ROUTE
    )
    assert {f["wait"] for f in fetches if f["expert_valid"] and not f["speculative"]} <= {route + 1}
    assert not any(f["wait"] for f in fetches if f["speculative"] or not f["expert_valid"])


def test_save_and_load(image, tmp_path):
    image.save(tmp_path / "b" / "a")
    image.save(tmp_path / "b" / "a")
    again = ProgramImage.load(tmp_path / "b" / "a")
    assert again.memory == image.memory
    assert again.manifest == json.loads(json.dumps(image.manifest))
    assert again.config == CONFIG
    assert again.network == network_of(MODEL)
    files = sorted((tmp_path / "b" / "a").iterdir())
    assert [(p.name, p.stat().st_mode & 0o777) for p in files] == [("manifest.json", 0o644), ("memory.bin", 0o644)]


def test_compilation_is_reproducible(image):
    assert compile_model(random_qmodel(MODEL, 0), CONFIG, seed=0).manifest == image.manifest


def flip(path):
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def edit(**changes):
    def apply(path):
        manifest = json.loads((path.parent / "manifest.json").read_text())
        (path.parent / "manifest.json").write_text(json.dumps(manifest | changes))

    return apply


def overlap(path):
    manifest = json.loads((path.parent / "manifest.json").read_text())
    manifest["regions"][1]["address"] = manifest["regions"][0]["address"]
    (path.parent / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "SHA-256 of memory.bin must be"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), r"memory.bin must be \d+ bytes, not \d+"),
        (lambda path: path.unlink(), "cannot be read: No such file or directory"),
        (
            lambda path: (path.parent / "manifest.json").write_text("{"),
            "manifest.json must be a readable JSON file, not",
        ),
        (lambda path: (path.parent / "manifest.json").write_text("[]"), r"manifest must be a table, not \[\]"),
        (edit(format=1), "manifest.format must be 4, not 1"),
        (edit(accelerator_hash="0"), "accelerator_hash must be 64 hexadecimal digits"),
        (edit(accelerator_hash="0" * 64), "accelerator_hash must be [0-9a-f]*, not 0000"),
        (edit(window={}), "manifest.window must be a table with the field 'address'"),
        (overlap, "must lie on pages of its own in the window"),
    ],
)
def test_damaged_files_are_refused(image, tmp_path, damage, message):
    image.save(tmp_path)
    damage(tmp_path / "memory.bin")
    with pytest.raises(ProgramImageError, match=message):
        ProgramImage.load(tmp_path)


def test_failed_save_leaves_nothing_behind(image, tmp_path, monkeypatch):
    image.save(tmp_path)
    other = ProgramImage(image.memory[:-PAGE_BYTES], image.manifest)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        other.save(tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    assert ProgramImage.load(tmp_path).memory == image.memory


def test_dump_shows_every_stage(compilation):
    texts = dump(compilation, "depth", timing(compilation.image.config))
    assert list(texts) == ["ir", "schedule", "buffers", "disassembly", "memory"]
    assert "blocks.0.attn.scores.1" in texts["ir"]
    assert "speculative" in texts["schedule"]
    assert "activation memory: " in texts["buffers"]
    assert (
        "MATMUL stationary=VALUES stream=PROBABILITY function=ATTEND"
        in " ".join(texts["disassembly"].split()).replace("mark=1 ", "")
        or "function=ATTEND" in texts["disassembly"]
    )
    assert "weights.1" in texts["memory"]


def test_result_is_unpacked_without_padding(image):
    words = image.manifest["tensors"][0]["words"] * CONFIG.lanes
    data = np.arange(network_of(MODEL).tokens * words, dtype="<i2")
    assert np.array_equal(
        image.unpack_result(data.tobytes()), data.reshape(network_of(MODEL).tokens, words)[:, : MODEL.dim]
    )


@pytest.mark.parametrize(("instruction", "items"), [(2, "ab"), (3, "b"), (4, "b"), (5, "ab"), (6, "a"), (7, "ab")])
def test_items_of_an_instruction(instruction, items):
    """All of them, but for runs of instructions that some have for their own."""
    program = {
        "items": [{"image": 0, "task": "a"}, {"image": 0, "task": "b"}],
        "own": [{"instruction": 3, "count": 2, "items": [1]}, {"instruction": 6, "count": 1, "items": [0]}],
    }
    found = ProgramImage(b"", {"tasks": {"all": program}}).items_at("all", instruction)
    assert [item.task for item in found] == list(items)


@pytest.fixture(scope="module")
def several():
    """A program of one task, and one of both tasks for two images."""
    return compile_all(random_qmodel(MODEL, 0), CONFIG, tasks=["depth", Batch(("semseg", "depth"), 2)]).image


def test_results_of_several_items(several):
    """One after the other, without a name those of the first program; where they are in common once for each task."""
    tokens, words = network_of(MODEL).tokens, several.manifest["tensors"][0]["words"] * CONFIG.lanes
    data = np.arange(4 * tokens * words, dtype="<i2").reshape(4 * tokens, words)
    assert several.tasks == ("depth", "all") and several.images == 2 and several.item_bytes == 2 * tokens * words
    assert np.array_equal(several.unpack_result(data.tobytes()), data[:tokens, : MODEL.dim])
    assert np.array_equal(several.unpack_result(data.tobytes(), "all"), data[:, : MODEL.dim])
    common = np.concatenate([data[: 2 * tokens], data[: 2 * tokens]])[:, : MODEL.dim]
    assert np.array_equal(several.unpack_items(data.tobytes(), "all", 0), common)
    assert several.places("all") == [0, 1, 2, 3] and several.places("all", 0) == [0, 1, 0, 1]
    assert [str(item) for item in several.items("all")] == [
        f"image {number}, {task}" for task in ("semseg", "depth") for number in range(2)
    ]


def test_images_are_as_many_as_the_program_takes(several):
    pixels = np.stack([random_image(MODEL, seed) for seed in (1, 2)])
    parts = several.image_parts(pixels)
    assert join_ports([part for _, part in parts], CONFIG) == pack_images(list(pixels), network_of(MODEL), CONFIG)
    assert [address for address, _ in parts] == [several.region(f"image.{port}").address for port in range(2)]
    for wrong, count in ((pixels[:1], 1), (pixels[0], 1), (np.concatenate([pixels, pixels]), 4)):
        with pytest.raises(InputError, match=f"images must be as many as the program was compiled for, 2, not {count}"):
            several.image_parts(wrong)
