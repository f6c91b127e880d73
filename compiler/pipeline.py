"""The whole compiler: the ordered list of passes, from quantised model to program image."""

import contextlib
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.compiler.ablate import normalise_first, split_queries
from moesaic.compiler.alloc import allocate
from moesaic.compiler.banks import bytes_apart
from moesaic.compiler.batch import Batch
from moesaic.compiler.builder import RESIDUAL
from moesaic.compiler.check import check
from moesaic.compiler.emit import IMAGE_PIECE, Program, emit
from moesaic.compiler.image import WINDOW_ADDRESS, ProgramImage, RegionTable
from moesaic.compiler.ir import CompileError, Graph, Tensor
from moesaic.compiler.layout import words_for
from moesaic.compiler.lower import lower
from moesaic.compiler.manifest import FORMAT, MOST_BYTES
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.order import mark_blocks
from moesaic.compiler.own import own_instructions, parting
from moesaic.compiler.pack import split_ports
from moesaic.compiler.schedule import schedule
from moesaic.compiler.tile import tile
from moesaic.compiler.weights import Piece, WeightStore, pack_weights
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode

__all__ = ["EVERYTHING", "Compilation", "compile_all", "compile_batch", "compile_graphs", "compile_model"]

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


def _image_words(qmodel: QuantModel, config: AcceleratorConfig, images: int) -> int:
    words = images * qmodel.network.tokens * words_for(qmodel.network.image.patch_values, config.lanes)
    return words_for(words, config.load_rows)


def _tensor_table(
    qmodel: QuantModel, residual: Tensor, store: WeightStore, config: AcceleratorConfig, task: str, blocks: int
) -> list[dict[str, Any]]:
    """Manifest entries of the marked tensors, of one item: the residual after the embedding and after each block."""
    model = qmodel.network

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
    """Where each expert of each block lies in the weight stream, gaps included: `offset` and `bytes`."""
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
                    "bytes": (max(p.offset + p.words for p in mine) - min(p.offset for p in mine)) * config.word_bytes,
                }
                for expert, mine in sorted(pieces.items())
            }
    return result


def compile_graphs(
    qmodel: QuantModel,
    config: AcceleratorConfig,
    *,
    task: str | Batch,
    blocks: int | None = None,
    speculate: int | None = None,
    options: CompileOptions = EVERYTHING,
) -> tuple[Graph, Graph]:
    """The passes on one task, or on several items at once: the graph as lowered, and tiled, ordered, allocated and
    scheduled.
    """
    lowered = lower(qmodel, task, config, blocks=blocks, speculate=speculate)
    if not options.normalise_on_read:
        lowered = normalise_first(lowered, config)
    graph = tile(lowered, config, token_group=options.token_group)
    if options.query_group is not None:
        graph = split_queries(graph, options.query_group)
    graph = mark_blocks(graph)
    graph = allocate(graph, config)
    return lowered, schedule(graph, config)


def _uses(graph: Graph) -> Counter[str]:
    """How often the program reads each matrix's weights; copies for further tasks apart."""
    return Counter(op.weights for op in graph.ops if op.weights and op.opcode is Opcode.MATMUL and not op.moved)


def compile_batch(
    qmodel: QuantModel,
    config: AcceleratorConfig,
    batch: Batch,
    *,
    blocks: int | None = None,
    speculate: int | None = None,
    options: CompileOptions = EVERYTHING,
) -> tuple[Graph, Graph]:
    """:func:`compile_graphs` for a batch that reads weights no more often than one item does.

    Raises
    ------
    CompileError
        If the batch does not fit; the message says how many images do.
    """

    def attempt(size: Batch) -> tuple[Graph, Graph]:
        graphs = compile_graphs(qmodel, config, task=size, blocks=blocks, speculate=speculate, options=options)
        tokens = len(size.items) * qmodel.network.tokens
        if len(size.items) > 1 and tokens > config.max_tokens:
            raise CompileError(
                f"tokens of all items must be at most {config.max_tokens} (max_tokens) on configuration "
                f"'{config.name}', not {tokens}"
            )
        again = [] if len(size.items) == 1 else [name for name in (_uses(graphs[1]) - once)]
        if again:
            raise CompileError(
                f"layer '{again[0]}': weights must be read once for all items, but the {config.activation_words} words "
                f"(activation_words) of configuration '{config.name}' hold too few tokens at once"
            )
        return graphs

    once = Counter[str]()
    if len(batch.items) > 1:
        once = sum((_uses(attempt(Batch.of(task))[1]) for task in batch.tasks), start=once)
        # What all tasks use is still read once.
        once = Counter({name: -(-count // len(batch.tasks)) for name, count in once.items()})
    try:
        return attempt(batch)
    except CompileError as error:
        for images in range(batch.images - 1, 0, -1):
            with contextlib.suppress(CompileError):
                attempt(dataclasses.replace(batch, images=images))
                break
        else:
            raise
        raise CompileError(f"batch must be at most {images} of these images, not {batch.images}: {error}") from error


def _program_entry(qmodel: QuantModel, batch: Batch, graph: Graph) -> dict[str, Any]:
    """The manifest's entry of a program, but for where it lies: items, marks, and experts fetched ahead."""
    compute = [op for op in graph.ops if op.stage != "result"]
    parted = parting(compute)
    marks = [
        {
            "name": "embed" if op.block < 0 else qmodel.blocks[op.block].name,
            "instruction": index,
            "shared": index < parted,
        }
        for index, op in enumerate(compute)
        if op.mark
    ]
    return {
        "items": [dataclasses.asdict(item) for item in batch.items],
        "marks": marks,
        "own": own_instructions(graph, batch, qmodel.network.tokens),
        "speculated": len({(op.block, op.chunk, op.expert) for op in compute if op.speculative}),
    }


def compile_all(
    qmodel: QuantModel,
    config: AcceleratorConfig,
    *,
    tasks: Sequence[str | Batch] | None = None,
    blocks: int | None = None,
    speculate: int | None = None,
    seed: int | None = None,
    window_address: int = WINDOW_ADDRESS,
    options: CompileOptions = EVERYTHING,
) -> Compilation:
    """:func:`compile_model`, with everything in between."""
    batches = {batch.name: batch for batch in map(Batch.of, qmodel.network.tasks if tasks is None else tasks)}
    tasks = tuple(dict.fromkeys(task for batch in batches.values() for task in batch.tasks))
    images = max((batch.images for batch in batches.values()), default=1)
    blocks = len(qmodel.blocks) if blocks is None else blocks
    if speculate is not None and speculate < 0:
        raise CompileError(f"speculate must be 0 or more experts, not {speculate!r}")
    check(qmodel, config, tasks=tasks, blocks=blocks, normalise_on_read=options.normalise_on_read)
    graphs = {
        name: compile_batch(qmodel, config, batch, blocks=blocks, speculate=speculate, options=options)
        for name, batch in batches.items()
    }
    store = pack_weights(qmodel, config, tasks=tasks, blocks=blocks)
    pieces = store.pieces | {IMAGE_PIECE: Piece(IMAGE_PIECE, 0, _image_words(qmodel, config, images))}
    programs = {
        name: emit(scheduled, pieces, config, prefetch=options.prefetch) for name, (_, scheduled) in graphs.items()
    }

    table = RegionTable(window_address)
    task_entries: dict[str, dict[str, Any]] = {}
    for name, program in programs.items():
        entry = _program_entry(qmodel, batches[name], graphs[name][1])
        for stream, instructions in program.streams().items():
            region = table.add(f"{stream}.{name}", b"".join(instructions))
            entry[stream] = {"address": region.address, "count": len(instructions)}
        task_entries[name] = entry
    for port in range(config.ports):
        table.add(f"image.{port}", pieces[IMAGE_PIECE].words * config.word_bytes // config.ports, port)
    for port, part in enumerate(split_ports(store.data, config)):
        table.add(f"weights.{port}", part, port, apart=bytes_apart(config))
    residuals = [graph.tensors[RESIDUAL] for _, graph in graphs.values()]
    residual = max(residuals, key=lambda tensor: tensor.tokens)
    table.add("result", residual.tokens * residual.words * 2 * config.lanes)
    if table.end > 1 << config.addr_bits:
        raise CompileError(f"window must end below 2**{config.addr_bits} (addr_bits), not at {table.end:#x}")
    if table.end - table.address > MOST_BYTES:
        raise CompileError(f"window must be at most {MOST_BYTES} bytes, not {table.end - table.address}")

    memory = table.memory()
    tensors = _tensor_table(qmodel, residual, store, config, tasks[0], blocks)
    manifest = {
        "format": FORMAT,
        "accelerator": config.to_dict(),
        "accelerator_hash": config.hash,
        "network": qmodel.network.to_dict(),
        "blocks": blocks,
        "images": images,
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
    return Compilation(
        {name: graph for name, (graph, _) in graphs.items()},
        {name: graph for name, (_, graph) in graphs.items()},
        programs,
        store,
        pieces,
        ProgramImage(memory, manifest),
    )


def compile_model(
    qmodel: QuantModel,
    config: AcceleratorConfig,
    *,
    tasks: Sequence[str | Batch] | None = None,
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
    tasks : sequence of str or Batch, or None
        Tasks, or batches, that get a program (None: all tasks); they share the weights, which lie in the order of use
        of the first.
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
