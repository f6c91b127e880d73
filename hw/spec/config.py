"""The one description of an accelerator's sizes: every width and depth in the RTL derives from it."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

__all__ = ["PRESETS", "AcceleratorConfig"]

LEAST_WIDE_ACC_BITS = 36  # products of 16-bit operands, some hundreds of them


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


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
        Most experts per token.
    max_dim : int
        Largest token dimension that LayerNorm accepts.
    acc_bits : int
        Width of the signed accumulators.
    max_burst : int
        Longest AXI4 burst, beats.
    max_outstanding : int
        Most bursts in flight per port.
    clock_mhz : float
        Clock the board runs at; used by reports only.
    narrow_weights : bool
        Whether stationary weights may also have 4 bits: the weight stream then fills ``2 * load_rows`` rows per cycle.
        Not where `load_rows` is all rows.
    wide_operands : bool
        Whether weights and activations may also have 16 bits, in two planes that pass the array one after the other:
        activation and key/value memory then hold two bytes for every lane.
    ultra_ram : bool
        Whether prefetch buffer and activation memory are UltraRAM in place of block RAM. It changes neither behaviour
        nor programs, and is not part of the configuration hash.

    Raises
    ------
    ValueError
        If a size is out of range or two sizes do not fit together; the message names the field and the value.
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
    max_burst: int = 64
    max_outstanding: int = 8
    narrow_weights: bool = True
    wide_operands: bool = False
    clock_mhz: float = 300.0
    ultra_ram: bool = False

    def __post_init__(self) -> None:
        for field in ("rows", "lanes", "prefetch_words"):
            value = getattr(self, field)
            if not _power_of_two(value):
                raise ValueError(f"{field} must be a power of two, not {value!r}")
        if not 4 <= self.rows <= self.lanes:
            raise ValueError(f"rows must be between 4 and lanes ({self.lanes}), not {self.rows!r}")
        if 16 * self.lanes < self.port_bits:
            raise ValueError(f"lanes must be at least port_bits / 16 ({self.port_bits // 16}), not {self.lanes!r}")
        if self.lanes > 128:
            raise ValueError(f"lanes must be at most 128, not {self.lanes!r}")
        if self.load_rows not in (2, 4):
            raise ValueError(f"load_rows must be 2 or 4, not {self.load_rows!r}")
        if self.load_rows > self.rows:
            raise ValueError(f"load_rows must be at most rows ({self.rows}), not {self.load_rows!r}")
        if self.narrow_weights and self.load_rows == self.rows:
            raise ValueError(
                f"narrow_weights must be False where load_rows is all rows ({self.rows}), not {self.narrow_weights!r}"
            )
        if self.ports not in (1, 2, 4):
            raise ValueError(f"ports must be 1, 2 or 4, not {self.ports!r}")
        if self.port_bits not in (32, 64, 128):
            raise ValueError(f"port_bits must be 32, 64 or 128, not {self.port_bits!r}")
        if not 32 <= self.addr_bits <= 49:
            raise ValueError(f"addr_bits must be between 32 and 49, not {self.addr_bits!r}")
        ratio, rest = divmod(self.word_bytes, self.stripe_bytes)
        if rest or ratio not in (1, 2, 4, 8, 16):
            raise ValueError(
                f"load_rows * lanes must be 1, 2, 4, 8 or 16 stripes of ports * port_bits / 8 = {self.stripe_bytes} "
                f"bytes, "
                f"not {self.word_bytes!r} bytes"
            )
        limits = {
            "max_tokens": (8, 4095),
            "residual_words": (8, 65536),
            "activation_words": (8, 65536),
            "kv_words": (8, 65536),
            "experts": (2, 64),
            "max_top_k": (1, 4),
            "max_dim": (self.lanes, 4095),
            "acc_bits": (20, 40),
            "max_burst": (1, 256),
            "max_outstanding": (1, 32),
        }
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"{field} must be between {low} and {high}, not {value!r}")
        if self.wide_operands and self.acc_bits < LEAST_WIDE_ACC_BITS:
            raise ValueError(
                f"acc_bits must be {LEAST_WIDE_ACC_BITS} or more with wide_operands, not {self.acc_bits!r}"
            )
        if self.prefetch_words < 2 * (self.block_words + self.param_words):
            raise ValueError(
                f"prefetch_words must hold two weight blocks ({2 * (self.block_words + self.param_words)} words), "
                f"not {self.prefetch_words!r}"
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
    def macs_per_cycle(self) -> int:
        """Multiplications per cycle."""
        return self.rows * self.lanes

    @property
    def ram_style(self) -> str:
        """Memory attribute ``ram_style`` of the large memories."""
        return "ultra" if self.ultra_ram else "block"

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
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def replace(self, **changes: Any) -> "AcceleratorConfig":
        """A variant with some fields changed."""
        return dataclasses.replace(self, **changes)


PRESETS: dict[str, AcceleratorConfig] = {
    config.name: config
    for config in (
        # For tests: m3vit-micro in seconds.
        AcceleratorConfig(
            name="micro8",
            rows=8,
            lanes=8,
            load_rows=2,
            ports=1,
            prefetch_words=256,
            max_tokens=72,
            residual_words=1024,
            activation_words=4096,
            kv_words=2048,
            experts=8,
            max_top_k=2,
            max_dim=128,
            max_burst=16,
        ),
        AcceleratorConfig(
            name="micro16",
            rows=16,
            lanes=16,
            load_rows=2,
            ports=1,
            prefetch_words=256,
            max_tokens=72,
            residual_words=512,
            activation_words=2048,
            kv_words=1024,
            experts=8,
            max_top_k=2,
            max_dim=128,
            max_burst=16,
        ),
        # The same with weights and activations of 16 bits.
        AcceleratorConfig(
            name="micro8-wide",
            rows=8,
            lanes=8,
            load_rows=2,
            ports=1,
            prefetch_words=512,
            max_tokens=72,
            residual_words=1024,
            activation_words=4096,
            kv_words=2048,
            experts=8,
            max_top_k=2,
            max_dim=128,
            max_burst=16,
            acc_bits=40,
            wide_operands=True,
        ),
        # The reference: m3vit-tiny and deit-tiny on a ZCU102, 64 B per cycle from four HP ports.
        AcceleratorConfig(
            name="zcu102",
            rows=64,
            lanes=64,
            load_rows=2,
            ports=4,
            prefetch_words=8192,
            max_tokens=256,
            residual_words=1024,
            activation_words=4096,
            kv_words=2048,
            experts=16,
            max_top_k=4,
            max_dim=1024,
        ),
        AcceleratorConfig(
            name="zcu102-wide",
            rows=64,
            lanes=64,
            load_rows=2,
            ports=4,
            prefetch_words=8192,
            max_tokens=256,
            residual_words=1024,
            activation_words=4096,
            kv_words=2048,
            experts=16,
            max_top_k=4,
            max_dim=1024,
            acc_bits=40,
            wide_operands=True,
        ),
        # m3vit-small: 1,201 tokens of 384 channels stay on chip.
        AcceleratorConfig(
            name="zcu102-small",
            rows=64,
            lanes=64,
            load_rows=2,
            ports=4,
            prefetch_words=4096,
            max_tokens=1216,
            residual_words=7424,
            activation_words=16384,
            kv_words=14592,
            experts=16,
            max_top_k=4,
            max_dim=1024,
        ),
        # The other boards (boards/data): as many multipliers as the fabric holds, the same stream from DDR.
        AcceleratorConfig(
            name="zcu104",
            rows=32,
            lanes=64,
            load_rows=2,
            ports=4,
            prefetch_words=8192,
            max_tokens=256,
            residual_words=1024,
            activation_words=4096,
            kv_words=2048,
            experts=16,
            max_top_k=4,
            max_dim=1024,
            ultra_ram=True,
        ),
        AcceleratorConfig(
            name="kv260",
            rows=16,
            lanes=64,
            load_rows=2,
            ports=4,
            prefetch_words=8192,
            max_tokens=256,
            residual_words=1024,
            activation_words=4096,
            kv_words=2048,
            experts=16,
            max_top_k=4,
            max_dim=1024,
            ultra_ram=True,
        ),
        # Zynq-7000: 64-bit AXI3 ports (bursts of 16), 32-bit addresses; m3vit-micro.
        AcceleratorConfig(
            name="pynq-z2",
            rows=8,
            lanes=16,
            load_rows=2,
            ports=2,
            port_bits=64,
            addr_bits=32,
            prefetch_words=4096,
            max_tokens=72,
            residual_words=512,
            activation_words=2048,
            kv_words=1024,
            experts=8,
            max_top_k=2,
            max_dim=128,
            max_burst=16,
            clock_mhz=100.0,
        ),
    )
}
