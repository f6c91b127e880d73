"""A unit with three pins: its inputs from a shift register, its outputs into one, so that any unit fits any package."""

from moesaic.boards.synthesis.modules import Module
from moesaic.errors import InputError

__all__ = ["PINNED", "with_pins"]

PINNED = "moesaic_pinned"
_CLOCKS = ("aclk", "core_clk", "clk")


def with_pins(module: Module) -> str:
    """Verilog of a module that places the unit; every path begins and ends in a register.

    Raises
    ------
    InputError
        If the unit has no clock.
    """
    clocks = [port.name for port in module.ports if not port.output and port.name in _CLOCKS]
    if not clocks:
        raise InputError(f"unit must have a clock to be routed, which {module.name!r} has not")
    inputs = [port for port in module.ports if not port.output and port.name not in clocks]
    outputs = [port for port in module.ports if port.output]
    into, out = max(1, sum(port.width for port in inputs)), max(1, sum(port.width for port in outputs))
    places = [f"    .\\{name} (clk)" for name in clocks]
    for vector, ports in (("given", inputs), ("made", outputs)):
        at = 0
        for port in ports:
            places.append(f"    .\\{port.name} ({vector}[{at + port.width - 1}:{at}])")
            at += port.width
    return "\n".join(
        [
            f"module {PINNED}(input clk, input i, output reg o);",
            f"  reg [{into - 1}:0] given;",
            f"  wire [{out - 1}:0] made;",
            f"  reg [{out - 1}:0] kept;",
            "  always @(posedge clk) begin",
            "    given <= {given, i};",
            "    kept <= made ^ {kept, 1'b0};",
            f"    o <= kept[{out - 1}];",
            "  end",
            f"  \\{module.name} unit (",
            ",\n".join(places),
            "  );",
            "endmodule",
            "",
        ]
    )
