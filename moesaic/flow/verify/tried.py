"""What campaigns on RTL try: one accelerator, as its Verilog says it."""

import functools
import hashlib

from moesaic.hw.export import accelerator_verilog
from moesaic.hw.spec.presets import PRESETS

__all__ = ["CONFIG", "tried_digest"]

CONFIG = PRESETS["micro8"]


@functools.cache
def tried_digest() -> str:
    """Digest of the Verilog: what changes the sources and does not reach this accelerator leaves records as they are.

    Raises
    ------
    ExportError
        If Yosys fails.
    """
    return hashlib.sha256(accelerator_verilog(CONFIG, assertions=True).encode()).hexdigest()[:32]
