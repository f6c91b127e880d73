"""The hidden units of an MLP, dense or an expert's: one MATMUL with an activation, a gate's blocks in it too."""

from dataclasses import dataclass, replace
from typing import Any

from moesaic.compiler.builder import Builder
from moesaic.compiler.ir import CompileError, Op, Ref
from moesaic.compiler.layout import words_for
from moesaic.compiler.pack import pack_gated, pack_matrix
from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.layers.linear import QuantLinear
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.functions import FUNCTIONS

__all__ = ["Hidden"]


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """Hidden units, quantised.

    Parameters
    ----------
    fc1 : QuantLinear
    gate : QuantLinear or None
    activation : str
    mult, shift : int
    """

    fc1: QuantLinear
    gate: QuantLinear | None
    activation: str
    mult: int
    shift: int

    def op(self, build: Builder, block: int, stage: str, *, group: str, target: Ref, **where: Any) -> Op:
        """The MATMUL that makes them."""
        function = ACTIVATIONS[self.activation].function
        units, rows = len(self.fc1.weight), build.config.rows
        fields: dict[str, Any] = {"scalar": 0 if FUNCTIONS[function].squared else self.mult}
        if self.gate is not None:
            # Outputs end with the last value, behind a whole number of blocks of gates.
            fields = {"gated": 1, "out_count": words_for(units, rows) * rows + units}
        op = build.linear(
            self.fc1,
            block,
            stage,
            "fc1",
            group=group,
            target=target,
            function=function,
            post_shift=self.shift,
            **fields,
            **where,
        )
        return op if self.gate is None else replace(op, macs=2 * op.macs)

    def pack(self, linear: QuantLinear, config: AcceleratorConfig) -> bytes:
        """The weight stream of one of the MLP's matrices; a gate's lies in the one of what it multiplies."""
        if linear is self.gate:
            return b""
        if linear is self.fc1 and self.gate is not None:
            return pack_gated(self.gate, self.fc1, config)
        return pack_matrix(linear, config)

    def check(self, name: str, config: AcceleratorConfig) -> None:
        """Refuse what the accelerator has no unit for, and pairs that are not one matrix.

        Raises
        ------
        CompileError
            The message names the layer, and the option to set.
        """
        where = f"on configuration '{config.name}'"
        option = FUNCTIONS[ACTIVATIONS[self.activation].function].option
        if option is not None and not getattr(config, option):
            raise CompileError(
                f"layer '{name}': activation must be one that has a unit {where}, not {self.activation!r}: set "
                f"{option} = true"
            )
        if self.gate is None:
            return
        if not config.gated_mlp:
            raise CompileError(
                f"layer '{name}': MLP must not be gated {where}, which has no unit for it: set gated_mlp = true"
            )
        for what in ("shift", "bits", "reads"):
            ours, theirs = getattr(self.gate, what), getattr(self.fc1, what)
            if ours != theirs:
                raise CompileError(f"layer '{self.gate.name}': {what} must be {theirs!r}, as its values', not {ours!r}")
