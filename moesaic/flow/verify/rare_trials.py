"""Trials of what hosts and programs hardly do: accesses that overlap, two units at one port of a memory."""

from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.trial import Script, Trial
from moesaic.hw.spec.isa import Function, Opcode
from moesaic.hw.spec.registers import ErrorCode

__all__ = ["rare_trials"]

VALUES = (0x1234_5678, 0xEDCB_A987)


def _overlapping(nano: Nano) -> Trial:
    """Registers of every kind are accessed again before an answer is taken; then a run."""
    script = Script(nano.program)
    for name in ("WATCHDOG", "STATUS", "IRQ_ENABLE", "LOAD_BASE_LO"):
        script.steps += [("overlap", script.table[name].offset, value) for value in VALUES]
    script.steps.append(("overlap", 0xFFFC, 0))  # no register
    script.run(nano.run())
    return script.trial("overlapping accesses")


def _collision(nano: Nano) -> Trial:
    """A router's copy of what it streams behind scores on their way to the same memory, and a good run behind it."""
    route = nano.find("compute", opcode=Opcode.MATMUL, function=Function.ROUTE)
    scores = nano.find("compute", opcode=Opcode.MATMUL, function=Function.SOFTMAX)
    script = Script(nano.program)
    early = nano.patched("compute", scores + 1, nano.bytes_of("compute", route))
    script.configure(early)
    script.command("start")
    script.steps.append(("irq",))
    script.judged(ErrorCode.HAZARD, wanted=True)
    script.restore(early)
    script.run(nano.run())
    return script.trial("a collision")


def rare_trials(nano: Nano) -> list[Trial]:
    """All of them."""
    return [_overlapping(nano), _collision(nano)]
