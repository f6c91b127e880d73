"""The whole compiler: the ordered list of passes, from quantised model to program image."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.compiler.ablate import normalise_first, split_queries
from moesaic.compiler.alloc import allocate
from moesaic.compiler.builder import RESIDUAL
from moesaic.compiler.check import check
from moesaic.compiler.emit import IMAGE_PIECE, Program, emit
from moesaic.compiler.image import WINDOW_ADDRESS, ProgramImage, RegionTable
from moesaic.compiler.ir import CompileError, Graph
from moesaic.compiler.layout import words_for
from moesaic.compiler.lower import lower
from moesaic.compiler.manifest import FORMAT, MOST_BYTES
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.order import mark_blocks
from moesaic.compiler.pack import split_ports
from moesaic.compiler.schedule import schedule
from moesaic.compiler.tile import tile
from moesaic.compiler.weights import Piece, WeightStore, pack_weights
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["EVERYTHING", "Compilation", "compile_all", "compile_graphs", "compile_model"]

EVERYTHING = CompileOptions()


@dataclass(frozen=True)
class Compilation:
    """All intermediate results, for `compile --dump` and for tests.

    Parameters
    ----------
    lowered, scheduled : mapping of task to Graph
        After the first and after the last pass.
    programs : mapping of task to Program
    store : WeightStore
    pieces : mapping of name to Piece
        Those of the store and the image's.
    image : ProgramImage
    """

    lowered: dict[str, Graph]
    scheduled: dict[str, Graph]
    programs: dict[str, Program]
    store: WeightStore
    pieces: dict[str, Piece]
    image: ProgramImage


def _image_words(qmodel: QuantModel, config: AcceleratorConfig) -> int:
    words = qmodel.network.tokens * words_for(qmodel.network.image.patch_values, config.lanes)
    return words_for(words, config.load_rows)


def _tensor_table(
    qmodel: QuantModel, graph: Graph, store: WeightStore, config: AcceleratorConfig, task: str, blocks: int
) -> list[dict[str, Any]]:
    """Manifest entries of the marked tensors: the residual after the embedding and after each block."""
    model, residual = qmodel.network, graph.tensors[RESIDUAL]

    def entry(name: str, kind: str, step: float, macs: int, matrices: Iterable[QuantLinear]) -> dict[str, Any]:
        words = sum(store.pieces[linear.piece].words for linear in matrices)
        return {
            "name": name,
            "kind": kind,
            "space": residual.space.value,
            "address": residual.address,
            "words": residual.words,
            "tokens": model.tokens,
            "dim": model.dim,
            "step": step,
            "macs": macs,
            "weight_bytes": words * config.word_bytes,
        }

    table = [entry("embed", "embed", qmodel.embed_step, model.embed_macs, qmodel.embed_matrices)]
    for block in qmodel.blocks[:blocks]:
        linears = [matrix.linear for layer in block.layers for matrix in layer.matrices([task])]
        kind, macs = "dense" if block.routed is None else "moe", block.macs(model.tokens)
        table.append(entry(block.name, kind, block.residual_step, macs, linears))
    return table


def _experts(
    qmodel: QuantModel, store: WeightStore, config: AcceleratorConfig, task: str, blocks: int
) -> dict[str, dict[str, dict[str, int]]]:
    """Where each expert of each block lies in the weight stream: `offset` and `bytes`."""
    result: dict[str, dict[str, dict[str, int]]] = {}
    for block in qmodel.blocks[:blocks]:
        pieces: dict[int, list[Piece]] = {}
        for layer in block.layers:
            for matrix in layer.matrices([task]):
                if matrix.expert is not None:
                    pieces.setdefault(matrix.expert, []).append(store.pieces[matrix.linear.piece])
        if pieces:
            result[block.name] = {
                str(expert): {
                    "offset": min(piece.offset for piece in mine) * config.word_bytes,
                    "bytes": sum(piece.words for piece in mine) * config.word_bytes,
                }
                for expert, mine in sorted(pieces.items())
            }
    return result


def compile_graphs(
    qmodel: QuantModel,
    config: AcceleratorConfig,
    *,
    task: str,
    blocks: int | None = None,
    speculate: int | None = None,
    options: CompileOptions = EVERYTHING,
) -> tuple[Graph, Graph]:
    """The passes on one task: the graph as lowered, and tiled, ordered, allocated and scheduled."""
    lowered = lower(qmodel, task, config, blocks=blocks, speculate=speculate)
    if not options.normalise_on_read:
        lowered = normalise_first(lowered, config)
    graph = tile(lowered, config, token_group=options.token_group)
    if options.query_group is not None:
        graph = split_queries(graph, options.query_group)
    graph = mark_blocks(graph)
    graph = allocate(graph, config)
    return lowered, schedule(graph, config)


def compile_all(
    qmodel: QuantModel,
    config: AcceleratorConfig,
    *,
    tasks: Sequence[str] | None = None,
    blocks: int | None = None,
    speculate: int | None = None,
    seed: int | None = None,
    window_address: int = WINDOW_ADDRESS,
    options: CompileOptions = EVERYTHING,
) -> Compilation:
    """:func:`compile_model`, with everything in between."""
    tasks = tuple(qmodel.network.tasks if tasks is None else tasks)
    blocks = len(qmodel.blocks) if blocks is None else blocks
    if speculate is not None and speculate < 0:
        raise CompileError(f"speculate must be 0 or more experts, not {speculate!r}")
    check(qmodel, config, tasks=tasks, blocks=blocks, normalise_on_read=options.normalise_on_read)
    graphs = {
        task: compile_graphs(qmodel, config, task=task, blocks=blocks, speculate=speculate, options=options)
        for task in tasks
    }
    store = pack_weights(qmodel, config, tasks=tasks, blocks=blocks)
    pieces = store.pieces | {IMAGE_PIECE: Piece(IMAGE_PIECE, 0, _image_words(qmodel, config))}
    programs = {
        task: emit(scheduled, pieces, config, prefetch=options.prefetch) for task, (_, scheduled) in graphs.items()
    }

    table = RegionTable(window_address)
    task_entries: dict[str, dict[str, Any]] = {}
    for task, program in programs.items():
        scheduled = graphs[task][1]
        compute = [op for op in scheduled.ops if op.stage != "result"]
        marks = [
            {"name": "embed" if op.block < 0 else qmodel.blocks[op.block].name, "instruction": index}
            for index, op in enumerate(compute)
            if op.mark
        ]
        entry: dict[str, Any] = {
            "marks": marks,
            "speculated": len({(op.block, op.chunk, op.expert) for op in compute if op.speculative}),
        }
        for stream, instructions in program.streams().items():
            region = table.add(f"{stream}.{task}", b"".join(instructions))
            entry[stream] = {"address": region.address, "count": len(instructions)}
        task_entries[task] = entry
    for port in range(config.ports):
        table.add(f"image.{port}", pieces[IMAGE_PIECE].words * config.word_bytes // config.ports, port)
    for port, part in enumerate(split_ports(store.data, config)):
        table.add(f"weights.{port}", part, port)
    residual = graphs[tasks[0]][1].tensors[RESIDUAL]
    table.add("result", residual.tokens * residual.words * 2 * config.lanes)
    if table.end > 1 << config.addr_bits:
        raise CompileError(f"window must end below 2**{config.addr_bits} (addr_bits), not at {table.end:#x}")
    if table.end - table.address > MOST_BYTES:
        raise CompileError(f"window must be at most {MOST_BYTES} bytes, not {table.end - table.address}")

    memory = table.memory()
    tensors = _tensor_table(qmodel, graphs[tasks[0]][1], store, config, tasks[0], blocks)
    manifest = {
        "format": FORMAT,
        "accelerator": config.to_dict(),
        "accelerator_hash": config.hash,
        "network": qmodel.network.to_dict(),
        "blocks": blocks,
        "weights": qmodel.weights,
        "seed": seed,
        "window": {"address": table.address, "bytes": len(memory)},
        "regions": [dataclasses.asdict(region) for region in table.regions],
        "tasks": task_entries,
        "tensors": tensors,
        "experts": _experts(qmodel, store, config, tasks[0], blocks),
        "pieces": [
            {"name": p.name, "offset": p.offset * config.word_bytes, "bytes": p.words * config.word_bytes}
            for p in store.pieces.values()
        ],
        "macs": sum(t["macs"] for t in tensors),
        "weight_bytes": sum(t["weight_bytes"] for t in tensors),
        "memory_sha256": hashlib.sha256(memory).hexdigest(),
    }
    lowered = {task: graph for task, (graph, _) in graphs.items()}
    return Compilation(
        lowered,
        {task: graph for task, (_, graph) in graphs.items()},
        programs,
        store,
        pieces,
        ProgramImage(memory, manifest),
    )


def compile_model(
    qmodel: QuantModel,
    config: AcceleratorConfig,
    *,
    tasks: Sequence[str] | None = None,
    blocks: int | None = None,
    speculate: int | None = None,
    seed: int | None = None,
    window_address: int = WINDOW_ADDRESS,
) -> ProgramImage:
    """Compile a quantised model for an accelerator.

    Parameters
    ----------
    qmodel : QuantModel
    config : AcceleratorConfig
    tasks : sequence of str or None
        Tasks that get a program (None: all); they share the weights, which lie in the order of use of the first.
    blocks : int or None
        Stop after this many blocks.
    speculate : int or None
        Experts per mixture whose weights are fetched before the router has decided; 0 turns it off, None chooses.
    seed : int or None
        What seeded weights were made from; for the manifest.
    window_address : int
        First byte of the DDR window.

    Raises
    ------
    CompileError
        If the model does not fit the configuration; the message names the layer or buffer, and by how much it is short.
    """
    return compile_all(
        qmodel, config, tasks=tasks, blocks=blocks, speculate=speculate, seed=seed, window_address=window_address
    ).image
