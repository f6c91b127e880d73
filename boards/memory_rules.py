"""Block RAM and UltraRAM of every memory of an accelerator, by the shapes of the primitives."""

from dataclasses import dataclass

from moesaic.boards.resources import Resources
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.units import unit_of

__all__ = ["Large", "large_memories", "memories", "placed", "primitives"]

# Shapes of the primitives, words x bits. Block RAM: UG473 / UG573, simple dual port; a half is one of 18 Kbit.
# UltraRAM: UG573.
_BLOCK = (
    (0.5, 512, 36),
    (0.5, 1024, 18),
    (0.5, 2048, 9),
    (0.5, 4096, 4),
    (0.5, 8192, 2),
    (0.5, 16384, 1),
    (1.0, 512, 72),
    (1.0, 1024, 36),
    (1.0, 2048, 18),
    (1.0, 4096, 9),
    (1.0, 8192, 4),
    (1.0, 16384, 2),
    (1.0, 32768, 1),
)
_ULTRA = ((1.0, 4096, 72),)
_LUT_BITS = 4096  # memories without a style that are no larger become LUT RAM
_COUNTERS = 28 + 42  # bits of a token's sum and sum of squares
_LEVEL = 11  # bits of a query's softmax level
_EXTRA = 17  # of what is kept of its extra key: distance, maximum
_SUM = 21  # and of the sum of its probabilities


def primitives(words: int, bits: int, *, ultra: bool, byte_writes: bool) -> float:
    """The fewest primitives that hold a memory; with byte writes the ninth bit of each byte is lost."""
    counts = []
    for amount, depth, width in _ULTRA if ultra else _BLOCK:
        usable = width * 8 // 9 if byte_writes and width % 9 == 0 else width
        counts.append(amount * -(-words // depth) * -(-bits // usable))
    return min(counts)


def _small(words: int, bits: int) -> float:
    """A memory that goes by its size."""
    return primitives(words, bits, ultra=False, byte_writes=False) if words * bits > _LUT_BITS else 0.0


def _named(words: int, bits: int) -> float:
    """One of softmax, whose size is that of all words that its address can name."""
    return _small(1 << (words - 1).bit_length(), bits)


def _title(path: str) -> str:
    return unit_of(tuple(path.split("."))).title


@dataclass(frozen=True)
class Large:
    """A memory that is block RAM or UltraRAM (`ULTRA_RAM`).

    Parameters
    ----------
    words, bits : int
        Of one bank.
    banks : int
    byte_writes : bool
    """

    words: int
    bits: int
    banks: int = 1
    byte_writes: bool = False

    def primitives(self, *, ultra: bool) -> Resources:
        """What it takes."""
        amount = self.banks * primitives(self.words, self.bits, ultra=ultra, byte_writes=self.byte_writes)
        return Resources(uram=int(amount)) if ultra else Resources(bram36=amount)


def large_memories(config: AcceleratorConfig) -> dict[str, Large]:
    """The memories of `ULTRA_RAM` that a configuration has."""
    word, bytes_each = 8 * config.lanes, 2 if config.wide_operands else 1
    result = {
        "prefetch": Large(config.prefetch_words, config.port_bits, banks=config.ports * config.beats_per_word),
        "activation": Large(config.activation_words, word, banks=bytes_each, byte_writes=True),
        "kv": Large(config.kv_words, word, banks=bytes_each, byte_writes=True),
        "residual": Large(config.residual_words, 2 * word, byte_writes=True),
        "accumulators": Large(config.max_tokens, (config.rows + config.extra_key) * config.acc_bits),
    }
    if config.gated_mlp:
        result["gates"] = Large(config.max_tokens, 16 * config.rows)
    return result


def placed(config: AcceleratorConfig, *, uram: bool) -> dict[str, Resources]:
    """Block RAM or UltraRAM of each large memory; parameters as of `memories`."""
    return {
        name: memory.primitives(ultra=uram and name in config.ultra_ram)
        for name, memory in large_memories(config).items()
    }


def memories(config: AcceleratorConfig, *, uram: bool) -> dict[str, Resources]:
    """Block RAM and UltraRAM by unit of the architecture.

    Parameters
    ----------
    config : AcceleratorConfig
    uram : bool
        The device has UltraRAM; else block RAM takes its place.
    """
    large = placed(config, uram=uram)
    core = primitives(config.activation_words, 9 * config.groups, ultra=False, byte_writes=False)  # maxima of blocks
    core += 2 * _small(config.max_tokens, _COUNTERS)
    core += 2 * _named(min(4096, 2 * config.max_tokens), _LEVEL)
    if config.extra_key:
        core += _named(min(4096, 2 * config.max_tokens), _EXTRA)
    token, expert = (config.max_tokens - 1).bit_length(), (config.experts - 1).bit_length()
    router = 0.0
    for bits in (token, 16):  # tokens, scores
        router += primitives(config.experts * config.max_tokens, bits, ultra=False, byte_writes=False)
    router += _small(config.max_tokens, token + 1 + config.max_top_k * (expert + 16))
    router += (-(-config.experts // config.rows) - 1) * _small(config.max_tokens, 16 * config.rows)
    return {
        _title("core.writeback.softmax"): Resources(bram36=_named(config.max_tokens, _SUM)),
        _title("core.writeback.gated"): large.get("gates", Resources()),
        _title("core.accumulator"): large["accumulators"],
        _title("core"): large["activation"] + large["kv"] + large["residual"] + Resources(bram36=core),
        _title("weights"): large["prefetch"],
        _title("core.router"): Resources(bram36=router),
    }
