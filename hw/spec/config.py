"""The one description of an accelerator's sizes: every width and depth in the RTL derives from it."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from moesaic.hw.spec.chains import most_probability_bits

__all__ = ["ULTRA_RAM", "AcceleratorConfig"]

LEAST_WIDE_ACC_BITS = 36  # products of 16-bit operands, some hundreds of them


# Memories that can be UltraRAM: nobody reads a word of them before it is written.
ULTRA_RAM = ("prefetch", "activation", "kv", "residual", "accumulators", "gates")

_PAGE_BITS = 8 * 4096  # no burst of AXI4 is longer

_KINDS: dict[Any, tuple[Any, str]] = {
    tuple[str, ...]: (tuple, "a list of names"),
    str: (str, "a text"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    bool: (bool, "True or False"),
}


_CHOICES = {"load_rows": (2, 4), "ports": (1, 2, 4, 8), "port_bits": (32, 64, 128, 256)}
_POWERS = {  # of two, from and to
    "rows": (4, 128),
    "lanes": (4, 128),
    "prefetch_words": (8, 65536),
    "max_burst": (2, 256),
}
_LIMITS = {
    "addr_bits": (32, 49),
    "max_tokens": (8, 4095),
    "residual_words": (8, 65536),
    "activation_words": (8, 65536),
    "kv_words": (8, 65536),
    "experts": (2, 64),
    "max_top_k": (1, 4),
    "max_dim": (4, 4095),
    "acc_bits": (20, 40),
    "max_outstanding": (1, 32),
}


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """Sizes of one accelerator.

    Parameters
    ----------
    name : str
        For reports; not part of the configuration hash.
    rows : int
        Dot products computed in parallel, a power of two, at most `lanes`.
    lanes : int
        Multipliers per dot product; also the channels in one activation word. A power of two.
    load_rows : int
        Stationary weight rows written per cycle, 2 or 4. One word of the weight stream is ``load_rows * lanes`` bytes.
    ports : int
        AXI4 read ports of the weight stream.
    port_bits : int
        Data width of each AXI4 port, bits.
    addr_bits : int
        AXI4 address width, bits.
    prefetch_words : int
        Depth of the weight prefetch buffer, words of ``load_rows * lanes`` bytes; a power of two.
    max_tokens : int
        Most tokens in one instruction: depth of the accumulators, and of each expert's queue.
    residual_words : int
        Depth of the residual memory, words of `lanes` int16.
    activation_words : int
        Depth of the activation memory, words of `lanes` bytes.
    kv_words : int
        Depth of the key/value memory, words of `lanes` bytes.
    experts : int
        Most experts in one mixture.
    max_top_k : int
        Most experts per token, at most `experts`.
    max_dim : int
        Largest token dimension that LayerNorm accepts.
    acc_bits : int
        Width of the signed accumulators.
    max_burst : int
        Longest AXI4 burst, beats; a power of two, at most 4 KiB. The prefetch buffer holds at least one on every port.
    max_outstanding : int
        Most bursts in flight per port.
    probability_bits : int
        Width of a softmax probability where it meets the values, from 8 to what `rows` and `lanes` allow
        (`most_probability_bits`), which 0 stands for.
    clock_mhz : float
        Clock the board runs at; used by reports only.
    narrow_weights : bool
        Whether stationary weights may also have 4 bits: the weight stream then fills ``2 * load_rows`` rows per cycle.
        Not where `load_rows` is all rows.
    wide_operands : bool
        Whether weights and activations may also have 16 bits, in two planes that pass the array one after the other:
        activation and key/value memory then hold two bytes for every lane.
    silu, sigmoid : bool
        Whether the tables of these activations are there, beside GELU's; ReLU and its square need none.
    joint_memories : bool
        Whether the key/value memory goes on where the activation memory ends: what is streamed, and results for it,
        may then lie in both. While keys and values are alive there is no room.
    gated_mlp : bool
        Whether values can be multiplied by activated gates, which a memory keeps for the tokens of one pass.
    extra_key : bool
        Whether a key beyond whole blocks of keys, such as that of a class token, is taken beside the array instead of
        in a pass of its own.
    packed_keys : bool
        Whether a row holds two keys of a head of up to `lanes` / 2 channels, one in each half of its lanes, so that
        twice as many scores leave the array in a cycle (`hw.spec.packing`). For `rows` of up to `lanes` / 2, without
        `extra_key` and `wide_operands`.
    ultra_ram : tuple of str
        Which memories, of `ULTRA_RAM`, are UltraRAM in place of block RAM. It changes neither behaviour nor programs,
        and is not part of the configuration hash.

    Raises
    ------
    ValueError
        If a field is of another type, out of range, or does not fit another; the message names field, value, and all
        that would be legal. What is accepted elaborates.
    """

    name: str
    rows: int
    lanes: int
    load_rows: int = 2
    ports: int = 1
    port_bits: int = 128
    addr_bits: int = 40
    prefetch_words: int = 256
    max_tokens: int = 128
    residual_words: int = 1024
    activation_words: int = 4096
    kv_words: int = 2048
    experts: int = 16
    max_top_k: int = 4
    max_dim: int = 1024
    acc_bits: int = 27
    max_burst: int = 16
    max_outstanding: int = 12
    narrow_weights: bool = True
    wide_operands: bool = False
    silu: bool = True
    sigmoid: bool = True
    joint_memories: bool = False
    gated_mlp: bool = True
    extra_key: bool = False
    packed_keys: bool = False
    probability_bits: int = 0
    clock_mhz: float = 300.0
    ultra_ram: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.ultra_ram, list):  # a configuration read from JSON
            object.__setattr__(self, "ultra_ram", tuple(self.ultra_ram))
        self._check_types()
        self._check_ranges()
        self._check_together()

    def _check_types(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind, what = _KINDS[field.type]
            if not isinstance(value, kind) or (isinstance(value, bool) and field.type is not bool):
                raise ValueError(f"{field.name} must be {what}, not {value!r}")
        strange = [memory for memory in self.ultra_ram if memory not in ULTRA_RAM]
        if strange or len(set(self.ultra_ram)) < len(self.ultra_ram):
            raise ValueError(f"ultra_ram must be some of {', '.join(ULTRA_RAM)}, each once, not {self.ultra_ram!r}")
        if not 0 < self.clock_mhz < math.inf:
            raise ValueError(f"clock_mhz must be a positive number, not {self.clock_mhz!r}")

    def _check_ranges(self) -> None:
        """What each field may be by itself."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                legal = f"{', '.join(map(str, choices[:-1]))} or {choices[-1]}"
                raise ValueError(f"{name} must be {legal}, not {getattr(self, name)!r}")
        for name, (low, high) in _POWERS.items():
            value = getattr(self, name)
            if not low <= value <= high or value & (value - 1):
                raise ValueError(f"{name} must be a power of two from {low} to {high}, not {value!r}")
        for name, (low, high) in _LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be between {low} and {high}, not {getattr(self, name)!r}")

    def _check_together(self) -> None:
        """What the fields may be beside each other."""

        def require(ok: bool, field: str, what: str) -> None:
            if not ok:
                raise ValueError(f"{field} must be {what}, not {getattr(self, field)!r}")

        require(self.rows <= self.lanes, "rows", f"at most lanes ({self.lanes})")
        least_lanes = self.port_bits // 16
        require(self.lanes >= least_lanes, "lanes", f"at least port_bits / 16 ({least_lanes})")
        require(self.load_rows <= self.rows, "load_rows", f"at most rows ({self.rows})")
        require(
            not self.narrow_weights or self.load_rows < self.rows,
            "narrow_weights",
            f"False where load_rows is all rows ({self.rows})",
        )
        stripes = [self.stripe_bytes << k for k in range(5)]
        if self.word_bytes not in stripes:
            raise ValueError(
                f"load_rows * lanes must be 1, 2, 4, 8 or 16 stripes of ports * port_bits / 8 = {self.stripe_bytes} "
                f"bytes ({', '.join(map(str, stripes[:-1]))} or {stripes[-1]}), not {self.word_bytes!r} bytes"
            )
        require(self.max_dim >= self.lanes, "max_dim", f"at least lanes ({self.lanes})")
        require(self.max_top_k <= self.experts, "max_top_k", f"at most experts ({self.experts})")
        most = most_probability_bits(self.rows, self.lanes)
        require(
            self.probability_bits in (0, *range(8, most + 1)),
            "probability_bits",
            f"from 8 to {most}, or 0 for {most}, with {self.rows} rows and {self.lanes} lanes",
        )
        if self.wide_operands:
            require(
                self.acc_bits >= LEAST_WIDE_ACC_BITS, "acc_bits", f"{LEAST_WIDE_ACC_BITS} or more with wide_operands"
            )
        if self.packed_keys:
            require(
                2 * self.rows <= self.lanes, "packed_keys", f"False where rows ({self.rows}) are more than lanes / 2"
            )
            require(not self.extra_key, "packed_keys", "False with extra_key")
            require(not self.wide_operands, "packed_keys", "False with wide_operands")
        require(
            not self.joint_memories or self.streamed_words <= 65536,
            "joint_memories",
            f"False where activation_words and kv_words are more than 65536 together ({self.streamed_words})",
        )
        blocks = 2 * (self.block_words + self.param_words)
        require(self.prefetch_words >= blocks, "prefetch_words", f"{blocks} or more, to hold two weight blocks")
        page = _PAGE_BITS // self.port_bits
        require(self.max_burst <= page, "max_burst", f"at most {page}, 4 KiB, with port_bits ({self.port_bits})")
        burst = -(-self.max_burst // self.beats_per_word)
        require(
            self.prefetch_words >= burst,
            "prefetch_words",
            f"{burst} or more, to hold a burst of max_burst ({self.max_burst}) beats on every port",
        )

    @property
    def word_bytes(self) -> int:
        """Bytes in one word of the weight stream."""
        return self.load_rows * self.lanes

    @property
    def stripe_bytes(self) -> int:
        """Bytes that all weight ports together deliver in one cycle."""
        return self.ports * self.port_bits // 8

    @property
    def beats_per_word(self) -> int:
        """Beats on each weight port that form one word of the weight stream."""
        return self.word_bytes // self.stripe_bytes

    @property
    def block_words(self) -> int:
        """Weight-stream words in one stationary block (rows x lanes int8)."""
        return self.rows // self.load_rows

    def stationary_words(self, bits: int) -> int:
        """Weight-stream words in one stationary block of weights of 8 or 4 bits."""
        return self.block_words * bits // 8

    @property
    def param_words(self) -> int:
        """Weight-stream words that carry the biases and multipliers of one block of rows (6 bytes a row)."""
        return -(-6 * self.rows // self.word_bytes)

    @property
    def groups(self) -> int:
        """Groups of `rows` channels in one activation word."""
        return self.lanes // self.rows

    @property
    def probability_width(self) -> int:
        """Bits of a streamed probability."""
        return self.probability_bits or most_probability_bits(self.rows, self.lanes)

    @property
    def streamed_bits(self) -> int:
        """Bits of a value that the array takes: signed, of -255..255, or a probability."""
        return max(9, self.probability_width + 1)

    @property
    def total_bits(self) -> int:
        """Bits of the sum of a vector's probabilities, which are 256 each at most, in the mean."""
        return 9 + (self.lanes - 1).bit_length()

    @property
    def streamed_words(self) -> int:
        """Words that activations may lie in."""
        return self.activation_words + (self.kv_words if self.joint_memories else 0)

    @property
    def macs_per_cycle(self) -> int:
        """Multiplications per cycle."""
        return self.rows * self.lanes

    def ram_style(self, memory: str) -> str:
        """Memory attribute ``ram_style`` of one of the large memories (`ULTRA_RAM`)."""
        return "ultra" if memory in self.ultra_ram else "block"

    @property
    def prefetch_bytes(self) -> int:
        """Capacity of the weight prefetch buffer, bytes."""
        return self.prefetch_words * self.word_bytes

    def to_dict(self) -> dict[str, object]:
        """All fields, for files and reports."""
        return dataclasses.asdict(self)

    @property
    def hash(self) -> str:
        """SHA-256 over every field that changes the hardware or its program (hex)."""
        fields = {k: v for k, v in self.to_dict().items() if k not in ("name", "clock_mhz", "ultra_ram")}
        if not self.packed_keys:  # the hash is in the hardware, which is as it was before there was this field
            del fields["packed_keys"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def replace(self, **changes: Any) -> "AcceleratorConfig":
        """A variant with some fields changed."""
        return dataclasses.replace(self, **changes)
