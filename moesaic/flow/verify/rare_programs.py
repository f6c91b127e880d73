"""Legal programs of what random ones hardly do: more keys than tokens, and nothing to stream behind a full queue."""

import random

from moesaic.flow.verify.drawing import ACTIVATIONS
from moesaic.flow.verify.legal import Programs, collect
from moesaic.flow.verify.legal_programs import LegalProgram, RandomDrawing, Weights
from moesaic.flow.verify.tried import CONFIG
from moesaic.hw.spec.isa import FORMATS, Function, Memory, Opcode, Stationary, Stream

__all__ = ["rare_programs"]

QUERIES = 2
BLOCKS = (1 << FORMATS[Opcode.MATMUL].field("in_blocks").bits) - 1  # of keys
PASSES = 100  # of one vector each: more than the feeder's queue holds, and slower than it is filled
SHIFT = {"shift": 18}


class _Rare(RandomDrawing):
    """Programs whose instructions are given; waits and weights are drawn."""

    def _vectors(self, count: int, address: int = 0) -> dict[str, int]:
        words = {"src_addr": address, "src_stride": 1, "in_blocks": 1}
        return {"stream": Stream.ACTIVATION, "token_count": count, **words}

    def many_keys(self) -> None:
        """One key as often as an instruction can have it: all weigh the same, and their sum is large."""
        keys, head = BLOCKS * self.config.lanes, {"lane_count": self.config.lanes, "scalar": 1 << 15}
        scores = {"dst_addr": ACTIVATIONS, "dst_stride": BLOCKS, "out_count": keys, **SHIFT}
        self.matmul(
            "SOFTMAX", function=Function.SOFTMAX, stationary=Stationary.KEYS, **scores, **head, **self._vectors(QUERIES)
        )
        values = {"src_addr": ACTIVATIONS, "src_stride": BLOCKS, "in_blocks": BLOCKS, "key_count": keys}
        values |= {"out_count": self.config.lanes, "dst_memory": Memory.ACTIVATION, "dst_stride": 1, "shift": 4}
        self.matmul(
            "ATTEND",
            function=Function.ATTEND,
            stationary=Stationary.VALUES,
            **head,
            **self._vectors(QUERIES) | {"stream": Stream.PROBABILITY, **values},
        )

    def full_queue(self) -> None:
        """An expert without tokens behind a pass after the other, which wait for their weights in the queue."""
        route = {"out_count": self.config.experts, "top_k": 1, **SHIFT}
        self.matmul("ROUTE", function=Function.ROUTE, **route, **self._vectors(1))
        expert = next(number for number, tokens in enumerate(self.machine.queue_tokens) if not len(tokens))
        results = {"out_count": PASSES * self.config.rows, "dst_stride": PASSES, **SHIFT}
        self.matmul("INT8", function=Function.INT8, **results, **self._vectors(1, PASSES))
        self.matmul("expert ADD", function=Function.ADD, expert_valid=1, expert=expert, out_count=1, in_blocks=1)

    def look(self) -> None:
        """The first words of the activations, added to the residual."""
        residual = {"out_count": self.config.lanes, "fresh": 1, "dst_stride": 1, **SHIFT}
        self.matmul("ADD fresh", function=Function.ADD, **residual, **self._vectors(QUERIES))


def _program(weights: Weights, name: str) -> LegalProgram:
    drawing = _Rare(random.Random(name), weights)
    drawing.begin()
    getattr(drawing, name)()
    drawing.look()
    drawing.end()
    return drawing.program


def rare_programs() -> Programs:
    """All of them."""
    weights = Weights(CONFIG)
    return collect([_program(weights, name) for name in ("many_keys", "full_queue")], weights)
