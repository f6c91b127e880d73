"""The state of an accelerator, read at one moment, as numbers and as a line of text."""

from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.hw.spec.registers import ErrorCode, ErrorUnit, RegisterMap

__all__ = ["STATUS_VALUES", "Status"]

# What to read for a Status: values of the register map.
STATUS_VALUES = (
    "status",
    "irq_enable",
    "irq_status",
    "error_code",
    "error_addr",
    "error_instruction",
    "cycles",
    "instructions_retired",
    "marks",
    "window_bytes",
)


@dataclass(frozen=True)
class Status:
    """Values of `STATUS_VALUES` by name, with the map that explains them."""

    table: RegisterMap
    values: Mapping[str, int]

    def flag(self, name: str) -> bool:
        """A bit of STATUS by its name: `busy`, `done`, `error`, `draining`, `start_refused`."""
        return bool(self.values["status"] & self.table["STATUS"][name].mask)

    @property
    def code(self) -> str:
        """Name of the error, or its number if there is no such."""
        value = self.values["error_code"]
        return ErrorCode(value).name if value in list(ErrorCode) else f"unknown code {value}"

    def __str__(self) -> str:
        flags = [field.name for field in self.table["STATUS"].fields if self.flag(field.name)]
        irqs = [field.name for field in self.table["IRQ_STATUS"].fields if self.values["irq_status"] & field.mask]
        text = f"STATUS {'+'.join(flags) or 'idle'}, IRQ_STATUS {'+'.join(irqs) or 'none'}"
        if self.values["error_code"]:
            layout, word = self.table["ERROR_INSTRUCTION"], self.values["error_instruction"]
            unit = (word & layout["unit"].mask) >> layout["unit"].lsb
            name = ErrorUnit(unit).name if unit in list(ErrorUnit) else str(unit)
            text += f", ERROR {self.code} of {name} {word & layout['index'].mask} at {self.values['error_addr']:#x}"
        return text + (
            f", cycle {self.values['cycles']:,}, {self.values['instructions_retired']:,} instructions and "
            f"{self.values['marks']} blocks done"
        )
