"""Every configuration that `AcceleratorConfig` accepts elaborates; `python tests/hw/test_configurations.py 1000` tries
as many, drawn at random.
"""

import gc
import random
import sys
import time

import pytest
from amaranth.hdl import Fragment

from moesaic.hw.spec.config import ULTRA_RAM, AcceleratorConfig
from moesaic.hw.top import Accelerator

# Elaboration takes seconds per configuration, most of them for the array: nearly all are small.
SMALL, LARGE = (4, 4, 8, 8, 16), (32, 64, 128)  # lanes
SHORT = 8  # configurations in the suite


def number(rng: random.Random, low: int, high: int) -> int:
    """An edge, a power of two, or any number of a range."""
    power = 1 << rng.randint(max(low, 1).bit_length() - 1, high.bit_length() - 1)
    return rng.choice((low, high, min(max(power, low), high), rng.randint(low, high)))


def random_configuration(rng: random.Random, *, lanes: tuple[int, ...]) -> AcceleratorConfig:
    """Any configuration that is accepted; fields independent of each other, refused ones drawn again."""
    while True:
        fields = {
            "lanes": rng.choice(lanes),
            "rows": 1 << rng.randint(2, 7),
            "load_rows": rng.choice((2, 4)),
            "ports": rng.choice((1, 2, 4, 8)),
            "port_bits": rng.choice((32, 64, 128, 256)),
            "addr_bits": number(rng, 32, 49),
            "prefetch_words": 1 << rng.randint(2, 16),
            "max_tokens": number(rng, 1, 4096),
            "residual_words": number(rng, 1, 65537),
            "activation_words": number(rng, 1, 65537),
            "kv_words": number(rng, 1, 65537),
            "experts": number(rng, 1, 65),
            "max_top_k": number(rng, 0, 5) if rng.random() < 0.5 else 1,
            "max_dim": number(rng, 1, 4096),
            "acc_bits": number(rng, 19, 41),
            "max_burst": number(rng, 1, 257) if rng.random() < 0.5 else 1 << rng.randint(0, 9),
            "max_outstanding": number(rng, 0, 33) if rng.random() < 0.5 else 4,
            "narrow_weights": rng.random() < 0.5,
            "wide_operands": rng.random() < 0.3,
            "ultra_ram": tuple(memory for memory in ULTRA_RAM if rng.random() < 0.3),
            **{option: rng.random() < 0.5 for option in ("silu", "sigmoid", "gated_mlp", "joint_memories")},
            "probability_bits": rng.choice((0, 0, number(rng, 7, 12))),
        }
        try:
            return AcceleratorConfig(name="random", **fields)
        except ValueError:
            continue


@pytest.mark.parametrize("seed", range(SHORT))
def test_what_is_accepted_elaborates(seed: int) -> None:
    config = random_configuration(random.Random(seed), lanes=SMALL)
    Fragment.get(Accelerator(config), None)


def main(count: int, first: int) -> None:
    """Try `count` seeds from `first` on, every hundredth with a large array; a failure ends it."""
    begun = time.monotonic()
    gc.disable()  # a third of the time goes into looking at objects that live until the end
    for number, seed in enumerate(range(first, first + count), start=1):
        config = random_configuration(random.Random(seed), lanes=LARGE if number % 100 == 0 else SMALL)
        try:
            Fragment.get(Accelerator(config), None)
        except Exception:
            print(f"seed {seed} does not elaborate: {config}")
            raise
        gc.collect()
        if number % 50 == 0:
            print(f"{number} configurations elaborate, {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
