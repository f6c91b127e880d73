"""The manifest of a program image: its schema, and what its parts must be to each other, checked before it is used.

Plain Python 3.10: the host runtime on a board reads manifests too.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from moesaic.compiler.batch import MOST_IMAGES, Batch, Item
from moesaic.compiler.layout import words_for
from moesaic.errors import InputError
from moesaic.golden.layers.sizes import SIZES, NormSizes
from moesaic.golden.network import Network
from moesaic.golden.nodes import Edge, Image, Origin, Sharing, TaskEmbeddingSizes
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BYTES
from moesaic.schema import Anything, Choice, Flag, Listed, Mapped, Maybe, Name, Number, Table, Text, Whole, fields_of

__all__ = ["FORMAT", "MOST_BYTES", "PAGE_BYTES", "SPREAD_BYTES", "STREAMS", "ProgramImageError", "check_manifest"]

FORMAT = 4  # of the manifest
PAGE_BYTES = 4096  # regions start on a page
SPREAD_BYTES = 1 << 16  # all banks of a DRAM take a row in so many bytes (`docs/memory.md`); a gap is shorter
MOST_BYTES = 1 << 30  # of a window: more than any board keeps free, and more than any model that fits needs
STREAMS = ("load", "compute", "store")


class ProgramImageError(InputError):
    """A program image is damaged, of another version, or for another accelerator."""


_BLOCKS = 1024
_COUNT = Whole(high=1 << 24)
_WINDOW = Whole(high=1 << 49)
_PART = Text(r"[A-Za-z0-9._-]+", 200, "a name with dots")  # blocks.3.mlp.gate.semseg
_HASH = Text(r"[0-9a-f]{64}", title="64 hexadecimal digits")
_STREAM = Table({"address": _WINDOW, "count": Whole(1, _COUNT.high)})
_EXTENT = Table({"offset": _WINDOW, "bytes": _WINDOW})
_SIZES: dict[str, Table] = {kind: fields_of(sizes) for kind, sizes in SIZES.items()}


class _Sized(Table):
    """A table whose field `sizes` is of the kind that its field `kind` names."""

    def check(self, value: Any, where: str) -> None:
        super().check(value, where)
        _SIZES[value["kind"]].check(value["sizes"], f"{where}.sizes")


_NODE = _Sized(
    {
        "name": _PART,
        "kind": Choice(tuple(SIZES)),
        "sizes": Anything(depth=1),
        "norm": Maybe(fields_of(NormSizes)),
        "inputs": Listed(_PART, 0, 64),
        "output": fields_of(Edge),
        "block": Maybe(Whole(0, _BLOCKS - 1)),
        "origin": Maybe(fields_of(Origin, module=Text(), line=Text())),
        "sharing": Maybe(fields_of(Sharing, owner=_PART)),
    }
)
_NETWORK = Table(
    {
        "name": Name(),
        "tasks": Listed(Name(), 1, 64),
        "image": fields_of(Image, patch_norm=Maybe(fields_of(NormSizes))),
        "class_token": Flag(),
        "extra_tokens": Whole(0, 1 << 20),
        "task_embedding": Maybe(fields_of(TaskEmbeddingSizes)),
        "nodes": Listed(_NODE, 2, 1 << 14),
    }
)
_OWN = Table(
    {
        "instruction": _COUNT,
        "count": Whole(1, 1 << 20),
        "items": Listed(Whole(0, MOST_IMAGES * 64 - 1), 1, MOST_IMAGES * 64),
    }
)
_MANIFEST = Table(
    {
        "format": Choice((FORMAT,)),
        "accelerator": fields_of(AcceleratorConfig, name=Name()),
        "accelerator_hash": _HASH,
        "network": _NETWORK,
        "blocks": Whole(1, _BLOCKS),
        "images": Whole(1, MOST_IMAGES),
        "weights": Text(most=64),
        "seed": Maybe(_WINDOW),
        "window": Table({"address": _WINDOW, "bytes": Whole(1, MOST_BYTES)}),
        "regions": Listed(
            Table({"name": _PART, "address": _WINDOW, "bytes": Whole(1, MOST_BYTES), "port": Maybe(Whole(high=64))}), 1
        ),
        "tasks": Mapped(
            Table(
                {
                    "items": Listed(Table({"image": Whole(0, MOST_IMAGES - 1), "task": Name()}), 1, MOST_IMAGES * 64),
                    "marks": Listed(Table({"name": _PART, "instruction": _COUNT, "shared": Flag()}), 1),
                    "own": Listed(_OWN),
                    "speculated": Whole(high=1 << 16),
                    **dict.fromkeys(STREAMS, _STREAM),
                }
            ),
            most=64,
        ),
        "tensors": Listed(
            Table(
                {
                    "name": _PART,
                    "kind": Choice(("embed", "dense", "moe")),
                    "space": Choice(("residual",)),
                    "address": _COUNT,
                    "words": Whole(1, 1 << 16),
                    "tokens": _COUNT,
                    "dim": _COUNT,
                    "step": Number(1e-30, 1e30),
                    "macs": Whole(),
                    "weight_bytes": _WINDOW,
                }
            ),
            2,
            _BLOCKS + 1,
        ),
        "experts": Mapped(Mapped(_EXTENT, Text(r"[0-9]{1,4}", title="a number"), _BLOCKS), _PART, _BLOCKS),
        "pieces": Listed(Table({"name": _PART, "offset": _WINDOW, "bytes": _WINDOW}), 1, 1 << 17),
        "macs": Whole(),
        "weight_bytes": _WINDOW,
        "memory_sha256": _HASH,
    }
)


def _refuse(where: str, requirement: str, value: object) -> NoReturn:
    raise ProgramImageError(f"{where} must be {requirement}, not {value!r}")


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def _parts(entry: Mapping[str, Any]) -> int:
    """Sequences of tokens that a program leaves: one for each item, or for each image if tasks never part."""
    items = entry["items"]
    return 1 + max(item["image"] for item in items) if entry["marks"][-1]["shared"] else len(items)


def _check_window(manifest: Mapping[str, Any], config: AcceleratorConfig) -> None:
    """Regions fill the window, each on pages of its own, with no gap longer than what spreads them over banks."""
    window = manifest["window"]
    start, size = window["address"], window["bytes"]
    if start % PAGE_BYTES or start + size > 1 << config.addr_bits:
        _refuse("window", f"pages below 2**{config.addr_bits} (addr_bits)", window)
    end = start
    for region in sorted(manifest["regions"], key=lambda entry: int(entry["address"])):
        gap = region["address"] - end
        if gap % PAGE_BYTES or not 0 <= gap < SPREAD_BYTES or region["address"] + region["bytes"] > start + size:
            raise ProgramImageError(
                f"region '{region['name']}' must lie on pages of its own in the window, not at {region['address']:#x}"
            )
        end = region["address"] + _pages(region["bytes"])
    if end != start + size:
        _refuse("window.bytes", f"{end - start}, what its regions take", size)


def _check_regions(
    manifest: Mapping[str, Any], config: AcceleratorConfig, model: Network
) -> dict[str, Mapping[str, Any]]:
    """Every region that a program needs, and no other, is there once, and as large as the model makes it."""
    ports = range(config.ports)
    expected: dict[str, int | None] = {f"{stream}.{task}": None for task in manifest["tasks"] for stream in STREAMS}
    expected |= {f"{what}.{port}": port for what in ("image", "weights") for port in ports} | {"result": None}
    names = [region["name"] for region in manifest["regions"]]
    if sorted(names) != sorted(expected):
        _refuse("regions", f"{', '.join(expected)}", ", ".join(names))
    regions = {region["name"]: region for region in manifest["regions"]}
    for name, port in expected.items():
        if regions[name]["port"] != port:
            _refuse(f"port of region '{name}'", repr(port), regions[name]["port"])
    image = words_for(
        manifest["images"] * model.tokens * words_for(model.image.patch_values, config.lanes), config.load_rows
    )
    sizes = {f"image.{port}": image * config.word_bytes // config.ports for port in ports}
    parts = max((_parts(entry) for entry in manifest["tasks"].values()), default=1)
    sizes["result"] = parts * model.tokens * words_for(model.dim, config.lanes) * 2 * config.lanes
    sizes |= {f"weights.{port}": regions["weights.0"]["bytes"] for port in ports}
    for name, size in sizes.items():
        if regions[name]["bytes"] != size:
            _refuse(f"region '{name}'", f"{size} bytes", regions[name]["bytes"])
    return regions


def _check_tasks(manifest: Mapping[str, Any], model: Network, regions: Mapping[str, Mapping[str, Any]]) -> None:
    """Programs are those of the model's tasks and fill their regions; their marks are the tensors."""
    tensors = [tensor["name"] for tensor in manifest["tensors"]]
    if not manifest["tasks"]:
        _refuse("tasks", "at least one", {})
    for task, entry in manifest["tasks"].items():
        items = tuple(Item(**item) for item in entry["items"])
        for item in items:
            if item.task not in model.tasks:
                _refuse("every one of tasks", f"one of {', '.join(model.tasks)}", item.task)
        batch = Batch.from_items(items)
        if (task, items) != (batch.name, batch.items):
            _refuse(f"tasks.{task}.items", "every image of every task that its name has", entry["items"])
        if batch.images > manifest["images"]:
            _refuse(f"tasks.{task}.items", f"of {manifest['images']} images", batch.images)
        for run in entry["own"]:
            if max(run["items"]) >= len(items) or run["instruction"] + run["count"] > entry["compute"]["count"]:
                _refuse(f"tasks.{task}.own", f"instructions and items of {task}", run)
        for stream in STREAMS:
            region = regions[f"{stream}.{task}"]
            found = (entry[stream]["address"], entry[stream]["count"] * INSTRUCTION_BYTES)
            if found != (region["address"], region["bytes"]):
                _refuse(
                    f"tasks.{task}.{stream}",
                    f"{region['bytes'] // INSTRUCTION_BYTES} instructions at {region['address']:#x}, as its region",
                    entry[stream],
                )
        places = [mark["instruction"] for mark in entry["marks"]]
        if [mark["name"] for mark in entry["marks"]] != tensors or not all(
            a < b for a, b in zip(places, [*places[1:], entry["compute"]["count"]], strict=True)
        ):
            _refuse(f"tasks.{task}.marks", "the tensors, in the order of their instructions", entry["marks"])


def _check_tensors(manifest: Mapping[str, Any], config: AcceleratorConfig, model: Network) -> None:
    """Marked tensors are the residual after the embedding and after each block, inside the residual memory."""
    blocks = manifest["blocks"]
    if blocks > model.depth:
        _refuse("blocks", f"at most {model.depth}", blocks)
    names = ["embed", *(f"blocks.{number}" for number in range(blocks))]
    if [tensor["name"] for tensor in manifest["tensors"]] != names:
        _refuse("names of tensors", ", ".join(names), ", ".join(tensor["name"] for tensor in manifest["tensors"]))
    words = words_for(model.dim, config.lanes)
    parts = max((_parts(entry) for entry in manifest["tasks"].values()), default=1)
    for tensor in manifest["tensors"]:
        if (tensor["tokens"], tensor["dim"], tensor["words"]) != (model.tokens, model.dim, words):
            _refuse(f"tensor '{tensor['name']}'", f"{model.tokens} tokens of {model.dim} in {words} words", tensor)
        if tensor["address"] + parts * model.tokens * words > config.residual_words:
            _refuse(f"tensor '{tensor['name']}'", f"in the {config.residual_words} words of the memory", tensor)


def _check_stream(manifest: Mapping[str, Any], config: AcceleratorConfig, stream: int) -> None:
    """Pieces, and experts, are parts of the weight stream."""
    experts = [extent for block in manifest["experts"].values() for extent in block.values()]
    for part in [*manifest["pieces"], *experts]:
        if part["offset"] + part["bytes"] > stream or part["offset"] % config.word_bytes:
            _refuse("pieces and experts", f"words of the weight stream of {stream} bytes", part)


def check_manifest(manifest: Any) -> None:
    """Whether a manifest describes a program image: nothing in it has been believed before.

    Parameters
    ----------
    manifest : object
        Of a JSON file.

    Raises
    ------
    ProgramImageError
        If a field is missing, unknown, of a wrong kind or size, or two contradict each other.
    """
    try:
        _MANIFEST.check(manifest, "manifest")
        config, model = AcceleratorConfig(**manifest["accelerator"]), Network.from_dict(manifest["network"])
    except (ValueError, TypeError) as error:  # of the schema, and of what it cannot know of two sizes
        raise ProgramImageError(str(error)) from error
    if manifest["accelerator_hash"] != config.hash:
        raise ProgramImageError(f"accelerator_hash must be {config.hash}, not {manifest['accelerator_hash']}")
    if model.tokens > config.max_tokens * _BLOCKS:
        _refuse("tokens of the network", f"at most {config.max_tokens * _BLOCKS}", model.tokens)
    _check_window(manifest, config)
    regions = _check_regions(manifest, config, model)
    _check_tensors(manifest, config, model)
    _check_tasks(manifest, model, regions)
    _check_stream(manifest, config, regions["weights.0"]["bytes"] * config.ports)
