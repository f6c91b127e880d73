"""Weights of `m3vit-micro` with options of training, as `moesaic train` writes them; seeded, not trained."""

import dataclasses
from pathlib import Path

from moesaic.golden.config import network_of, preset
from moesaic.golden.heads import Heads
from moesaic.golden.m3vit import seeded
from moesaic.golden.trained_with import TrainedWith
from moesaic.golden.training.train import write_weights

__all__ = ["CLIPPED", "GATES", "MICRO", "REGISTERS", "written"]

MICRO = preset("m3vit-micro")
CLIPPED, GATES = TrainedWith(clipped_softmax=-0.05), TrainedWith(head_gates=True)
REGISTERS = TrainedWith(registers=3)


def written(folder: Path, chosen: TrainedWith, seed: int = 1) -> Path:
    """A file of such weights in a folder."""
    network = network_of(dataclasses.replace(chosen.network(MICRO), name=f"{MICRO.name}{chosen.suffix}"))
    return write_weights(folder, seeded(network, seed), Heads(network), {}, chosen.metadata(MICRO.name) or None)
