"""Waits by hand: which words an operation touches, and whom it waits for."""

from dataclasses import replace
from typing import Any

import pytest

from moesaic.compiler.ir import Graph, Op, Ref, Space, Tensor
from moesaic.compiler.schedule import Access, accesses, schedule
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, GateKind, Memory, Opcode, Stationary, Stream

CONFIG = AcceleratorConfig(name="t", rows=8, lanes=16, port_bits=64, max_tokens=64, max_dim=128)
SPACES = {"residual": Space.RESIDUAL, "keys": Space.KV, "state": Space.STATE}
WORDS = {"low": 0, "image": 8, "high": 16, "hidden": 24, "residual": 4, "keys": 12, "state": 0}
TENSORS = {
    name: Tensor(name=name, space=SPACES.get(name, Space.ACTIVATION), tokens=4, words=1, address=address)
    for name, address in WORDS.items()
}


def op(name: str, opcode: Opcode = Opcode.MATMUL, **parts: Any) -> Op:
    return Op(name=name, opcode=opcode, block=0, stage="embed", role=name, **{"tokens": 4, **parts})


def copy(target: str, name: str = "") -> Op:
    memory = Memory.RESIDUAL if target == "residual" else Memory.ACTIVATION
    fields = {"memory": memory}
    return op(name or f"copy {target}", Opcode.COPY, target=Ref(target), weights="piece", fields=fields)


def matmul(source: str, target: str | None, function: Function = Function.INT8, **parts: Any) -> Op:
    stream = Stream.NORMALISED if source == "residual" else Stream.ACTIVATION
    fields = {"stationary": Stationary.WEIGHTS, "stream": stream, "function": function, "out_count": 8, "in_blocks": 1}
    if function is Function.ROUTE:
        fields |= {"top_k": 1, "gate_kind": GateKind.NOISY}
    into = None if target is None else Ref(target)
    name = f"{source} to {target or 'queues'}"
    return op(name, **{"source": Ref(source), "target": into, "weights": "w", "fields": fields, **parts})


def waits(*ops: Op) -> list[tuple[int, int]]:
    """Of feeder and loader, of the last operation first."""
    scheduled = schedule(Graph("t", TENSORS, ops), CONFIG)
    return [(each.feed_wait, each.load_wait) for each in reversed(scheduled.ops)]


ROUTE = matmul("residual", None, Function.ROUTE, tap=Ref("high"))
EXPERT = matmul("image", "hidden", expert=2)
ATTENTION = {
    "stationary": Stationary.KEYS,
    "stream": Stream.ACTIVATION,
    "out_count": 3,
    "in_blocks": 1,
    "lane_count": 16,
}
SCORES = matmul(
    "image",
    "hidden",
    weights=None,
    kv=Ref("keys", first=1),
    state="state",
    fields={**ATTENTION, "function": Function.SOFTMAX},
)
TOUCHED: dict[str, tuple[Op, Access]] = {
    "copy": (copy("image"), Access(load_writes=(("activation", 8, 12),))),
    "matrix": (
        matmul("image", "hidden"),
        Access(feed_reads=(("activation", 8, 12),), writes=(("activation", 24, 28),)),
    ),
    "part of the tokens": (
        replace(matmul("image", "hidden"), token=1, tokens=2),
        Access(feed_reads=(("activation", 9, 11),), writes=(("activation", 25, 27),)),
    ),
    "sum": (
        matmul("image", "residual", Function.ADD),
        Access(feed_reads=(("activation", 8, 12), ("residual", 4, 8)), writes=(("residual", 4, 8),)),
    ),
    "copies of the residual": (
        replace(matmul("image", "residual", Function.ADD), tokens=2, moved=2),
        Access(feed_reads=(("activation", 8, 10), ("residual", 4, 6)), writes=(("residual", 6, 8),)),
    ),
    "router": (
        ROUTE,
        Access(
            feed_reads=(("residual", 4, 8),),
            feed_writes=(("activation", 16, 20), ("queues", 0, 1)),
            writes=(("queues", 0, 1),),
        ),
    ),
    "expert": (
        EXPERT,
        Access(
            feed_reads=(("activation", 8, 12), ("queues", 0, 1)),
            load_reads=(("queues", 0, 1),),
            writes=(("activation", 24, 28),),
        ),
    ),
    "scores": (
        SCORES,
        Access(
            feed_reads=(("activation", 8, 12),),
            load_reads=(("kv", 13, 16),),
            writes=(("activation", 24, 28), ("softmax state", 0, 4)),
        ),
    ),
}


@pytest.mark.parametrize("name", TOUCHED)
def test_words_that_are_touched(name: str) -> None:
    operation, touched = TOUCHED[name]
    assert accesses(Graph("t", TENSORS, ()), operation) == touched


@pytest.mark.parametrize(("again", "wait"), [("low", 0), ("image", 1), ("high", 0), ("hidden", 1)])
def test_a_copy_waits_for_who_uses_its_words(again: str, wait: int) -> None:
    """Whoever reads or writes them; not for those who use the words before or behind."""
    assert waits(copy("image"), matmul("image", "hidden"), copy(again, "again"))[0] == (0, wait)


def test_all_words_are_waited_for() -> None:
    """Some of them were read, or written, later than others."""
    late = replace(matmul("image", "hidden"), name="late", token=1, tokens=2)
    norms = [op(f"norm {n}", Opcode.NORM, tokens=0, fields={"dim": 8, "epsilon": 1}) for n in range(3)]
    first = copy("image"), matmul("image", "hidden"), late, *norms
    assert waits(*first, copy("image", "again"))[0] == (0, 4)
    assert waits(*first, matmul("hidden", "high"))[0] == (4, 0)


@pytest.mark.parametrize(("target", "wait"), [("hidden", 2), ("keys", 0)])
def test_a_tap_waits_for_the_write_port(target: str, wait: int) -> None:
    """The activation memory has one for results and for copies of what is streamed."""
    norm = op("norm", Opcode.NORM, tokens=0, fields={"dim": 8, "epsilon": 1})
    first = copy("residual"), copy("image"), matmul("image", target)
    assert waits(*first, norm, ROUTE)[0] == (wait, 0)
    assert waits(copy("residual"), copy("image"), ROUTE)[0] == (2, 0)  # the residual
    plain = matmul("residual", "high")
    assert waits(*first, norm, plain)[0] == (0, 0)


def test_an_expert_waits_for_its_router_and_the_next_router_for_it() -> None:
    """Loader and feeder look at the queues; the router's copies of the queues may not change under a reader."""
    first = copy("residual"), copy("image"), ROUTE, EXPERT
    assert waits(*first)[0] == (1, 1)
    again = replace(ROUTE, name="again", tap=None)
    assert waits(*first, again)[0] == (1, 0)


def test_nothing_is_waited_for_twice() -> None:
    """What loader or feeder has waited for before is known to have retired, each for itself."""
    one, two = matmul("image", "hidden"), replace(matmul("image", "high"), name="two")
    assert waits(copy("image"), one, two) == [(0, 0), (1, 0), (0, 0)]
    third = replace(matmul("hidden", "low"), name="third")
    assert waits(copy("image"), one, two, third)[0] == (2, 0)
