"""Print the registers, for a host program or a tool."""

import json
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.errors import InputError
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.register_text import to_c_header, to_json, to_markdown, to_systemrdl
from moesaic.hw.spec.registers import register_map
from moesaic.terminal import print_result

__all__ = ["EXAMPLES", "registers"]

EXAMPLES = examples(
    "registers --accelerator zcu102 --format c > moesaic.h", "registers --format systemrdl > moesaic.rdl"
)
FORMATS = {
    "md": to_markdown,
    "c": to_c_header,
    "systemrdl": to_systemrdl,
    "json": lambda table: json.dumps(to_json(table), indent=1) + "\n",
}


@guarded
def registers(
    accelerator: Annotated[str, typer.Option(help=f"Whose: {', '.join(PRESETS)}.")] = "zcu102",
    format_: Annotated[str, typer.Option("--format", help=f"As what: {', '.join(FORMATS)}.")] = "md",
) -> None:
    """Print the register map of an accelerator: Markdown, C header, SystemRDL or JSON."""
    if accelerator not in PRESETS:
        raise InputError(f"accelerator must be one of {', '.join(PRESETS)}, not {accelerator!r}")
    if format_ not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, not {format_!r}")
    config = PRESETS[accelerator]
    print_result(FORMATS[format_](register_map(config.ports, config_hash=int(config.hash[-8:], 16))), end="")
