"""How far ahead of the router experts are fetched."""

from moesaic.golden.qmodel import QuantMoE
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["default_speculation"]


def default_speculation(moe: QuantMoE, task: str, config: AcceleratorConfig) -> int:
    """How many experts, in the task's order, are worth fetching before the router has decided.

    As many as fit the prefetch buffer: at the moment of the decision it then holds nothing else, and the weight stream
    has never stopped. An expert that fewer than half of the calibration images used costs more in wasted bytes than it
    hides.
    """
    size = sum(
        part.weight.size * part.passes * min(part.bits, 8) // 8 for part in (moe.experts[0].fc1, moe.experts[0].fc2)
    )
    fitting = max(1, config.prefetch_bytes // size)
    usage = moe.usage.get(task, ())
    worthwhile = sum(usage[expert] >= 0.5 for expert in moe.order[task]) if usage else len(moe.experts)
    return min(fitting, worthwhile, len(moe.experts))
