"""Block RAM and UltraRAM of every memory of an accelerator, by the shapes of the primitives."""

from moesaic.boards.resources import Resources
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.units import unit_of

__all__ = ["memories", "primitives"]

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


def _title(path: str) -> str:
    return unit_of(tuple(path.split("."))).title


def memories(config: AcceleratorConfig, *, uram: bool) -> dict[str, Resources]:
    """Block RAM and UltraRAM by unit of the architecture.

    Parameters
    ----------
    config : AcceleratorConfig
    uram : bool
        The device has UltraRAM; else block RAM takes its place.
    """
    ultra, word = config.ultra_ram and uram, 8 * config.lanes
    prefetch = (
        config.ports
        * config.beats_per_word
        * primitives(config.prefetch_words, config.port_bits, ultra=ultra, byte_writes=False)
    )
    bytes_each = 2 if config.wide_operands else 1
    activation = bytes_each * primitives(config.activation_words, word, ultra=ultra, byte_writes=True)
    core = bytes_each * primitives(config.kv_words, word, ultra=False, byte_writes=True)
    core += 2 * primitives(config.residual_words, 2 * word, ultra=False, byte_writes=True)  # two read ports: two copies
    core += primitives(
        config.activation_words, 9 * config.groups, ultra=False, byte_writes=False
    )  # maxima of the blocks
    core += 2 * _small(config.max_tokens, _COUNTERS)
    core += 2 * _small(min(4096, 2 * config.max_tokens), _LEVEL)
    token, expert = (config.max_tokens - 1).bit_length(), (config.experts - 1).bit_length()
    router = primitives(config.experts * config.max_tokens, token + 16, ultra=False, byte_writes=False)
    router += _small(config.max_tokens, token + 1 + config.max_top_k * (expert + 16))
    router += (-(-config.experts // config.rows) - 1) * _small(config.max_tokens, 16 * config.rows)
    gates = primitives(config.max_tokens, 16 * config.rows, ultra=False, byte_writes=False) if config.gated_mlp else 0.0
    softmax = _small(config.max_tokens, _SUM)
    return {
        _title("core.writeback.softmax"): Resources(bram36=softmax),
        _title("core.writeback.gated"): Resources(bram36=gates),
        _title("core.accumulator"): Resources(
            bram36=primitives(config.max_tokens, config.rows * config.acc_bits, ultra=False, byte_writes=False)
        ),
        _title("core"): Resources(bram36=core + (0 if ultra else activation), uram=int(activation) if ultra else 0),
        _title("weights"): Resources(bram36=0 if ultra else prefetch, uram=int(prefetch) if ultra else 0),
        _title("core.router"): Resources(bram36=router),
    }
