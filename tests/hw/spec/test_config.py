"""AcceleratorConfig: presets, derived sizes, and every refusal."""

import re

import pytest

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

SMALL = PRESETS["micro8"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 6}, "rows must be a power of two from 4 to 128, not 6"),
        ({"lanes": 12}, "lanes must be a power of two from 4 to 128, not 12"),
        (
            {"prefetch_words": 100},
            "prefetch_words must be a power of two from 8 to 65536, not 100",
        ),
        ({"rows": 16}, "rows must be at most lanes (8), not 16"),
        ({"rows": 2}, "rows must be a power of two from 4 to 128, not 2"),
        ({"lanes": 256, "port_bits": 128}, "lanes must be a power of two from 4 to 128, not 256"),
        ({"lanes": 4, "rows": 4}, "lanes must be at least port_bits / 16 (8), not 4"),
        ({"load_rows": 3}, "load_rows must be 2 or 4, not 3"),
        ({"rows": 4, "load_rows": 4}, "narrow_weights must be False where load_rows is all rows (4), not True"),
        ({"ports": 3}, "ports must be 1, 2, 4 or 8, not 3"),
        ({"port_bits": 512, "lanes": 32}, "port_bits must be 32, 64, 128 or 256, not 512"),
        ({"addr_bits": 64}, "addr_bits must be between 32 and 49, not 64"),
        (
            {"ports": 2},
            (
                "load_rows * lanes must be 1, 2, 4, 8 or 16 stripes of ports * port_bits / 8 = 32 bytes "
                "(32, 64, 128, 256 or 512), not 16 bytes"
            ),
        ),
        (
            {"lanes": 128, "load_rows": 4},
            (
                "load_rows * lanes must be 1, 2, 4, 8 or 16 stripes of ports * port_bits / 8 = 16 bytes "
                "(16, 32, 64, 128 or 256), not 512 bytes"
            ),
        ),
        ({"max_tokens": 4096}, "max_tokens must be between 8 and 4095, not 4096"),
        ({"residual_words": 4}, "residual_words must be between 8 and 65536, not 4"),
        ({"activation_words": 65537}, "activation_words must be between 8 and 65536, not 65537"),
        ({"kv_words": 0}, "kv_words must be between 8 and 65536, not 0"),
        ({"experts": 65}, "experts must be between 2 and 64, not 65"),
        ({"max_top_k": 5}, "max_top_k must be between 1 and 4, not 5"),
        ({"max_dim": 4}, "max_dim must be at least lanes (8), not 4"),
        ({"acc_bits": 41}, "acc_bits must be between 20 and 40, not 41"),
        ({"max_top_k": 4, "experts": 3}, "max_top_k must be at most experts (3), not 4"),
        ({"max_burst": 1}, "max_burst must be a power of two from 2 to 256, not 1"),
        ({"max_burst": 24}, "max_burst must be a power of two from 2 to 256, not 24"),
        ({"max_burst": 512}, "max_burst must be a power of two from 2 to 256, not 512"),
        (
            {"max_burst": 256, "prefetch_words": 128},
            "prefetch_words must be 256 or more, to hold a burst of max_burst (256) beats on every port, not 128",
        ),
        (
            {"max_burst": 256, "port_bits": 32, "prefetch_words": 32},
            "prefetch_words must be 64 or more, to hold a burst of max_burst (256) beats on every port, not 32",
        ),
        (
            {"max_burst": 256, "port_bits": 256, "lanes": 16},
            "max_burst must be at most 128, 4 KiB, with port_bits (256), not 256",
        ),
        ({"max_tokens": 64.0}, "max_tokens must be a whole number, not 64.0"),
        ({"experts": "8"}, "experts must be a whole number, not '8'"),
        ({"ports": True}, "ports must be a whole number, not True"),
        ({"wide_operands": 1}, "wide_operands must be True or False, not 1"),
        ({"name": None}, "name must be a text, not None"),
        ({"clock_mhz": "300"}, "clock_mhz must be a number, not '300'"),
        ({"clock_mhz": float("nan")}, "clock_mhz must be a positive number, not nan"),
        ({"clock_mhz": 0}, "clock_mhz must be a positive number, not 0"),
        ({"max_outstanding": 33}, "max_outstanding must be between 1 and 32, not 33"),
        ({"prefetch_words": 8}, "prefetch_words must be 14 or more, to hold two weight blocks, not 8"),
        (
            {"ultra_ram": ("kv", "queues")},
            "ultra_ram must be some of prefetch, activation, kv, residual, accumulators, gates, each once, not",
        ),
        ({"ultra_ram": ["kv", "kv"]}, "each once, not ('kv', 'kv')"),
        ({"ultra_ram": True}, "ultra_ram must be a list of names, not True"),
        (
            {"joint_memories": True, "activation_words": 65536},
            "joint_memories must be False where activation_words and kv_words are more than 65536 together (67712)",
        ),
        (
            {"packed_keys": True, "extra_key": False},
            "packed_keys must be False where rows (8) are more than lanes / 2, not True",
        ),
        ({"packed_keys": True, "rows": 4}, "packed_keys must be False with extra_key, not True"),
        (
            {"packed_keys": True, "extra_key": False, "rows": 4, "wide_operands": True, "acc_bits": 40},
            "packed_keys must be False with wide_operands, not True",
        ),
        ({"packed_keys": 1}, "packed_keys must be True or False, not 1"),
    ],
)
def test_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SMALL.replace(**changes)


def test_derived_sizes() -> None:
    zcu102 = PRESETS["zcu102"]
    assert (zcu102.word_bytes, zcu102.stripe_bytes, zcu102.beats_per_word) == (256, 64, 4)
    assert (zcu102.block_words, zcu102.param_words, zcu102.groups) == (16, 2, 1)
    assert (zcu102.macs_per_cycle, zcu102.prefetch_bytes) == (4096, 1 << 21)
    assert (zcu102.stationary_words(8), zcu102.stationary_words(4)) == (16, 8)
    narrow = zcu102.replace(rows=8)
    assert (narrow.block_words, narrow.param_words, narrow.groups) == (2, 1, 8)


def test_hash_is_of_what_changes_the_hardware() -> None:
    assert SMALL.replace(name="other", clock_mhz=100.0, ultra_ram=("kv",)).hash == SMALL.hash
    for field, value in SMALL.to_dict().items():
        if field in ("max_tokens", "experts", "kv_words", "acc_bits") and isinstance(value, int):
            assert SMALL.replace(**{field: value + 1}).hash != SMALL.hash, field
    assert SMALL.replace(narrow_weights=False).hash != SMALL.hash
    assert len({config.hash for config in PRESETS.values()}) == len(PRESETS)
    assert AcceleratorConfig(**SMALL.to_dict()) == SMALL
