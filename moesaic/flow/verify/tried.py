"""What campaigns on RTL try: one accelerator, as its Verilog says it."""

from moesaic.hw.export import verilog_digest
from moesaic.hw.spec.presets import PRESETS

__all__ = ["CONFIG", "tried_digest"]

CONFIG = PRESETS["micro8"]


def tried_digest() -> str:
    """`verilog_digest` of the accelerator, which changes of the sources that do not reach it leave. Errors as there."""
    return verilog_digest(CONFIG)
