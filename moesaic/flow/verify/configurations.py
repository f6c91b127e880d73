"""Configurations drawn at random: any that `AcceleratorConfig` accepts."""

import random
from dataclasses import fields
from typing import Any

from moesaic.hw.spec.config import ULTRA_RAM, AcceleratorConfig

__all__ = ["number", "random_configuration"]

_RARE = {"wide_operands": 0.3}  # how often an option is there, if not as often as the others


def number(rng: random.Random, low: int, high: int) -> int:
    """An edge, a power of two, or any number of a range."""
    power = 1 << rng.randint(max(low, 1).bit_length() - 1, high.bit_length() - 1)
    return rng.choice((low, high, min(max(power, low), high), rng.randint(low, high)))


def random_configuration(
    rng: random.Random, *, lanes: tuple[int, ...], draws: int = 1, most: int = 65537
) -> AcceleratorConfig:
    """Any configuration that is accepted; fields independent of each other, refused ones drawn again.

    Parameters
    ----------
    rng : random.Random
    lanes : tuple of int
        To choose from.
    draws : int
        Numbers drawn for each limit on a model, of which the largest is taken: with more of them more models fit, and
        most options are there.
    most : int, words
        Of a memory for tokens, and one more.
    """

    def limit(low: int, high: int) -> int:
        return min(max(number(rng, low, high) for _ in range(draws)), high if draws == 1 else high - 1)

    while True:
        drawn: dict[str, Any] = {
            "lanes": rng.choice(lanes),
            "rows": 1 << rng.randint(2, 7),
            "load_rows": rng.choice((2, 4)),
            "ports": rng.choice((1, 2, 4, 8)),
            "port_bits": rng.choice((32, 64, 128, 256)),
            "addr_bits": number(rng, 32, 49),
            "prefetch_words": 1 << rng.randint(2, 16),
            "max_tokens": limit(1, 4096),
            "residual_words": limit(1, most),
            "activation_words": limit(1, most),
            "kv_words": limit(1, most),
            "experts": limit(1, 65),
            "max_top_k": number(rng, 0, 5) if rng.random() < 0.5 else min(draws, 4),
            "max_dim": limit(1, 4096),
            "acc_bits": limit(19, 41),
            "max_burst": number(rng, 1, 257) if rng.random() < 0.5 else 1 << rng.randint(0, 9),
            "max_outstanding": number(rng, 0, 33) if rng.random() < 0.5 else 4,
            "ultra_ram": tuple(memory for memory in ULTRA_RAM if rng.random() < 0.3),
            **{
                field.name: rng.random() < _RARE.get(field.name, 0.5 if draws == 1 else 0.85)
                for field in fields(AcceleratorConfig)
                if field.type is bool
            },
            "probability_bits": rng.choice((0, 0, number(rng, 7, 12))),
        }
        try:
            return AcceleratorConfig(name="random", **drawn)
        except ValueError:
            continue
