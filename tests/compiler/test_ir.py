"""Operations and buffers by themselves: what they read and write, and where."""

import re
from typing import Any

import pytest

from moesaic.compiler.alloc import peak_words, place
from moesaic.compiler.ir import CompileError, Graph, Op, Ref, Space, Tensor, live_ranges
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream

CONFIG = AcceleratorConfig(name="t", rows=8, lanes=16, port_bits=64, max_tokens=64, max_dim=128)


def op(opcode: Opcode = Opcode.MATMUL, **parts: Any) -> Op:
    return Op(name="op", opcode=opcode, block=0, stage="s", role="r", **parts)


def test_what_an_operation_is_without_fields() -> None:
    plain = op()
    assert (plain.function, plain.stationary, plain.stream) == (Function(0), Stationary(0), Stream(0))
    assert (plain.token, plain.tokens, plain.moved, plain.chunk, plain.macs) == (0, 0, 0, 0, 0)
    assert (plain.weight_offset, plain.weight_words, plain.feed_wait, plain.load_wait) == (0, None, 0, 0)
    assert (plain.whole, plain.speculative, plain.overlap, plain.mark, plain.routed) == (False,) * 4 + ((1, 1),)
    assert (Ref("x").word, Ref("x").first) == (0, 0)
    buffer = Tensor(name="x", space=Space.KV, tokens=1, words=1)
    assert (buffer.first_token, buffer.multiple, buffer.slack, buffer.address) == (0, 1, 0, None)
    assert not (buffer.queued or buffer.gathered or buffer.spills)


@pytest.mark.parametrize(("extra", "keys"), [({}, 64), ({"extra": 0}, 64), ({"extra": 1}, 65)])
def test_keys_that_are_loaded(extra: dict[str, int], keys: int) -> None:
    for stationary, count, other in (
        (Stationary.KEYS, "out_count", "key_count"),
        (Stationary.VALUES, "key_count", "out_count"),
    ):
        assert op(fields={"stationary": stationary, count: 64, other: 9, **extra}).keys == keys


@pytest.mark.parametrize(
    ("tokens", "words", "multiple", "slack", "size"),
    [(5, 3, 1, 0, 15), (5, 3, 4, 0, 16), (4, 4, 4, 0, 16), (5, 3, 4, 2, 18)],
)
def test_words_of_a_buffer(tokens: int, words: int, multiple: int, slack: int, size: int) -> None:
    parts: dict[str, Any] = {"tokens": tokens, "words": words, "multiple": multiple, "slack": slack}
    assert Tensor(name="x", space=Space.KV, **parts).size == size
    later = Tensor(name="x", space=Space.KV, first_token=2, **parts)
    assert (later.size, later.lowest_address) == (size, 0)
    assert Tensor(name="x", space=Space.KV, first_token=2, gathered=True, **parts).lowest_address == 2 * words


def test_what_is_read_and_written() -> None:
    parts: dict[str, Any] = {"source": Ref("a"), "target": Ref("b"), "tap": Ref("c"), "kv": Ref("d"), "state": "e"}
    for function, opcode, reads, writes in (
        (Function.INT8, Opcode.MATMUL, "ad", "bc"),
        (Function.ADD, Opcode.MATMUL, "adb", "bc"),
        (Function.ADD, Opcode.COPY, "ad", "bc"),
        (Function.SOFTMAX, Opcode.MATMUL, "ad", "bce"),
        (Function.ATTEND, Opcode.MATMUL, "ade", "bc"),
    ):
        found = op(opcode, fields={"function": function}, **parts)
        assert ("".join(found.reads()), "".join(found.writes())) == (reads, writes)
    assert not [*op().reads(), *op().writes()]


def graph(*ops: Op) -> Graph:
    tensors = {
        "a": Tensor(name="a", space=Space.ACTIVATION, tokens=6, words=2, first_token=2),
        "queue": Tensor(name="queue", space=Space.ACTIVATION, tokens=6, words=2, queued=True),
        "keys": Tensor(name="keys", space=Space.KV, tokens=20, words=3),
    }
    return Graph("t", tensors, ops)


def test_vectors_of_a_buffer() -> None:
    """From its first token on; of a queue from the first; of keys those that are loaded."""
    part = op(token=3, tokens=2, moved=2, kv=Ref("keys", first=5), fields={"stationary": 1, "out_count": 8, "extra": 1})
    empty = graph()
    assert empty.rows(part, "a") == (1, 3) and empty.rows(part, "a", written=True) == (3, 5)
    assert empty.rows(part, "queue") == empty.rows(part, "queue", written=True) == (0, 2)
    assert empty.rows(part, "keys") == (5, 14)
    with pytest.raises(CompileError, match="op 'op': buffer 'a' has no address yet"):
        empty.word_range(part, "a")


def test_from_the_first_to_the_last_use() -> None:
    ops = (op(target=Ref("a")), op(), op(source=Ref("a"), target=Ref("queue")), op(source=Ref("a")), op(kv=Ref("keys")))
    assert live_ranges(graph(*ops)) == {"a": (0, 3), "queue": (2, 2), "keys": (4, 4)}
    assert set(graph().with_ops(ops[:3]).tensors) == {"a", "queue"}


def test_words_in_use() -> None:
    """Up to the highest; of a memory without buffers none, as of buffers without an address."""
    parts: dict[str, Any] = {"space": Space.ACTIVATION, "tokens": 6, "words": 2}
    tensors = {
        name: Tensor(name=name, address=address, **parts) for name, address in (("a", 30), ("b", 3), ("c", None))
    }
    used = {Space.ACTIVATION: 42, Space.KV: 0, Space.RESIDUAL: 0, Space.STATE: 0}
    assert peak_words(Graph("t", tensors, ())) == used


@pytest.mark.parametrize(
    ("space", "size", "short"),
    [
        (Space.ACTIVATION, "activation_words", " (16 bytes)"),
        (Space.KV, "kv_words", " (16 bytes)"),
        (Space.RESIDUAL, "residual_words", " (32 bytes)"),
        (Space.STATE, "2 * max_tokens", ""),
    ],
)
def test_one_word_too_many(space: Space, size: str, short: str) -> None:
    """Of 16 lanes."""
    words = {"2 * max_tokens": 128}.get(size) or getattr(CONFIG, size)
    fits = {"x": Tensor(name="x", space=space, tokens=words, words=1)}
    assert place(fits, {"x": (0, 0)}, CONFIG)["x"].address == 0
    message = f"the {space.value} memory of {words} words ({size}) is 1 words{short} short"
    with pytest.raises(CompileError, match=re.escape(message)):
        place({"x": Tensor(name="x", space=space, tokens=words + 1, words=1)}, {"x": (0, 0)}, CONFIG)
