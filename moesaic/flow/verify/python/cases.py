"""Networks, programs with a change and programs that no compiler wrote, for mutants of the Python side."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moesaic.compiler.batch import Batch
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pipeline import EVERYTHING
from moesaic.flow.verify import legal, programs
from moesaic.flow.verify.layers import SIDE, every_layer
from moesaic.flow.verify.legal_programs import Weights, draw_program
from moesaic.flow.verify.nano import NANO, TASK, nano
from moesaic.flow.verify.python.given import Case, Changed, Given
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.config import network_of
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.sizes import NORM_KINDS, AttentionSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.m3vit import M3ViT, build, seeded
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, TaskEmbeddingSizes, chain_of
from moesaic.golden.quantize import quantize
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec.presets import PRESETS

__all__ = ["given"]

CHANGED, LEGAL = 60, 12  # programs
SEED = 11


def _case(
    name: str, model: M3ViT, preset: str, *batches: Batch, seed: int = 1, fields: Mapping[str, Any] = {}, **how: Any
) -> Case:
    """A case that is run: `how` goes to `quantize` if it is one of its options, else to `compile_all`."""
    rng = np.random.default_rng(seed)
    several = max(batch.images for batch in batches)
    images = rng.integers(0, 256, (3 + several, *model.network.image.shape), dtype=np.uint8)
    quantised = {option: how.pop(option) for option in ("expert_bits", "finer") if option in how}
    config = PRESETS[preset].replace(**fields)
    qmodel = quantize(model, images[:3], weights="seeded", acc_bits=config.acc_bits, **quantised)
    if not how.get("options", EVERYTHING).normalise_on_read:
        qmodel = qmodel.reading_stored()
    return Case(name, qmodel, config, timing(config), batches, images[3:], how)


def _compiled(model: str, preset: str, bits: int = 8) -> Case:
    network = network_of(MODELS[model])
    config = PRESETS[preset]
    batches = tuple(Batch.of(task) for task in network.tasks)
    return Case(f"{model} of {bits} bits", hollow_model(network, bits), config, timing(config), batches)


def _two_tasks() -> M3ViT:
    """Experts chosen by task, both kinds of norm, a norm of the patches and one of the embedded tokens."""
    image = Image(
        height=8, width=12, patch_height=4, patch_width=2, channels=2, pixel_mean=(0.5, 0.4), pixel_std=(0.5, 0.3)
    )
    image = dataclasses.replace(image, patch_norm=NormSizes())
    other = NormSizes(kind=NORM_KINDS[-1])
    blocks = [
        [
            Layer(sizes=AttentionSizes(heads=3, head_dim=5), norm=NormSizes()),
            Layer(sizes=MLPSizes(hidden=19), norm=other),
        ],
        [Layer(sizes=MoESizes(experts=5, hidden=11, top_k=3, gate_task_dim=4), norm=NormSizes(eps=1e-3))],
    ]
    return seeded(
        Network(
            name="two-tasks",
            tasks=("x", "y"),
            image=image,
            class_token=True,
            extra_tokens=1,
            task_embedding=TaskEmbeddingSizes(channels=4),
            nodes=chain_of(image, 2, 15, blocks, embed_norm=NormSizes()),
        ),
        5,
    )


def _cases() -> list[Case]:
    one, two = Batch.of(TASK), Batch((TASK,), 2)
    wide_layers = build(dataclasses.replace(NANO, patch_size=4, mlp_ratio=8, expert_hidden=40), 0)
    small, several = build(NANO, 0), _two_tasks()
    narrow = {"activation_words": 200, "ports": 2, "port_bits": 64, "max_outstanding": 8}
    return [
        _case("nano of 4 bits", small, "micro8", one, expert_bits=4),
        _case("two images", small, "micro16", two, speculate=1),
        _case("two tasks", several, "micro8", Batch.of("x"), Batch(("x", "y")), fields={"max_top_k": 4}),
        _case("small memory", wide_layers, "micro8", one, fields=narrow, speculate=0),
        _case("nano of 16 bits", small, "micro8-wide", one, expert_bits=16),
        _case(
            "in another order",
            small,
            "micro8",
            one,
            options=CompileOptions(prefetch=False, token_group=3, query_group=2),
        ),
        _case("one block", small, "micro8", one, blocks=1),
        _case("stored norms", small, "micro8", one, options=CompileOptions(normalise_on_read=False)),
        _case("every layer", every_layer(0), "micro8", Batch.of("x"), seed=SIDE),
    ]


def _changed() -> tuple[ProgramImage, tuple[Changed, ...]]:
    small = nano()
    runs = [programs.draw(small, SEED, number).run for number in range(CHANGED)]
    return small.program, tuple(Changed(tuple(run.patches), dict(run.overrides)) for run in runs)


def _legal() -> tuple[ProgramImage, Sequence[str]]:
    weights = Weights(PRESETS["micro8"])
    drawn = [draw_program(random.Random(f"{SEED} {number}"), weights) for number in range(LEGAL)]
    collected = legal.collect(drawn, weights)
    return collected.image, list(collected.programs)


def given() -> Given:
    """All of it, always the same."""
    small = nano()
    config = small.program.config
    first = Case("nano", small.qmodel, config, timing(config), (Batch.of(TASK),), small.image[None], {"speculate": 1})
    program, changed = _changed()
    legal_image, tasks = _legal()
    compiled = [_compiled("m3vit-micro", "micro8", 4), _compiled("deit-tiny", "zcu102")]
    return Given((first, *_cases(), *compiled), program, changed, legal_image, tuple(tasks))
