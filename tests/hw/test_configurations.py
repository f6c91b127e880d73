"""Every configuration that `AcceleratorConfig` accepts elaborates; `python tests/hw/test_configurations.py 1000` tries
as many, drawn at random.
"""

import gc
import random
import sys
import time

import pytest
from amaranth.hdl import Fragment

from moesaic.flow.verify.configurations import random_configuration
from moesaic.hw.top import Accelerator

# Elaboration takes seconds per configuration, most of them for the array: nearly all are small.
SMALL, LARGE = (4, 4, 8, 8, 16), (32, 64, 128)  # lanes
SHORT = 8  # configurations in the suite


@pytest.mark.parametrize("seed", range(SHORT))
def test_what_is_accepted_elaborates(seed: int) -> None:
    config = random_configuration(random.Random(seed), lanes=SMALL)
    Fragment.get(Accelerator(config), None)


@pytest.mark.parametrize("seed", range(2))
def test_packed_keys_elaborate(seed: int) -> None:
    """An option that few of those drawn can have."""
    rng = random.Random(seed)
    drawn = (random_configuration(rng, lanes=SMALL) for _ in range(1000))
    Fragment.get(Accelerator(next(config for config in drawn if config.packed_keys)), None)


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
