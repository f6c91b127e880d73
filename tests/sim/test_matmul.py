"""A MATMUL of the functional simulator by itself: sums and norms at their edges."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import pytest

from moesaic.golden import numerics, ops_int
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.saturation import Saturation
from moesaic.hw.spec.isa import Function, GateKind, Opcode, Stream, decode, encode
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.machine import Machine, ProgramError
from moesaic.sim.matmul import Matmul

CONFIG = PRESETS["micro8-wide"]
LIMIT = 1 << CONFIG.acc_bits - 1
NORM = QuantNorm(name="norm", dim=2 * CONFIG.lanes, scale=40000, shift=12, epsilon=1, step=1.0)


def matmul(machine: Machine, index: int = 3, **fields: int) -> Matmul:
    """An instruction, of 4 vectors unless `fields` say otherwise, which all before it have retired for."""
    values = decode(encode(Opcode.MATMUL, {"token_count": 4, "out_count": 8, "in_blocks": 2} | fields))[1]
    return Matmul(machine, index, values, loaded=index - 1, fed=index - 1)


@pytest.mark.parametrize("inputs", [1039, 1041, 2081])
def test_sums_are_exact_whatever_their_size(inputs: int) -> None:
    """Below 2^24, beyond it, where an odd sum has no `float32`, and beyond 2^25."""
    x, w = np.full((4, inputs), 127, np.int64), np.full((8, inputs), -127, np.int8)
    assert np.all(matmul(Machine(CONFIG))._accumulate([x], [w]) == -127 * 127 * inputs)


@pytest.mark.parametrize(("epsilon", "message"), [(1, ""), (0, "a variance is negative")])
def test_the_least_variance_is_1(epsilon: int, message: str) -> None:
    """Tokens of equal channels have no variance but epsilon."""
    machine, dim = Machine(CONFIG), 2 * CONFIG.lanes
    machine.norm = replace(NORM, epsilon=epsilon).fields
    machine.residual.words[:8] = np.repeat([[5], [-7], [0], [9]], 2, axis=0)
    machine.sums.words[:4] = [(dim * value, dim * value * value) for value in (5, -7, 0, 9)]
    normalised = matmul(machine, stream=Stream.NORMALISED, src_stride=2)
    if message:
        with pytest.raises(ProgramError, match=message):
            normalised.vectors()
    else:
        assert not np.any(normalised.vectors()[0])


def refused(message: str) -> AbstractContextManager[object]:
    return pytest.raises(ProgramError, match=f"compute instruction 3: {message}") if message else nullcontext()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (LIMIT - 1, ""),
        (LIMIT, f"sum must fit acc_bits = 40, not {LIMIT}"),
        (-LIMIT, ""),
        (-LIMIT - 1, f"sum must fit acc_bits = 40, not {LIMIT + 1}"),
    ],
)
def test_the_largest_sums(value: int, message: str) -> None:
    with refused(message):
        matmul(Machine(CONFIG))._check_sums(np.array([[0, value], [1, 0]]), "sum")


@pytest.mark.parametrize(
    ("count", "stride", "message"),
    [(4, 2, ""), (4, 1, "dst_stride must be at least 2 words, not 1"), (1, 1, ""), (2, 1, "dst_stride must")],
)
def test_results_lie_beside_each_other(count: int, stride: int, message: str) -> None:
    add = matmul(Machine(CONFIG), function=Function.ADD, out_count=16, dst_stride=stride, dst_addr=5, token_count=count)
    with refused(message):
        addresses = add._addresses(np.arange(count))
        assert addresses.tolist() == [[5 + stride * k, 6 + stride * k] for k in range(count)]


def test_sums_of_a_part_of_the_channels() -> None:
    """One of two words of each token gets new values; the sums are those of both."""
    machine, rng = Machine(CONFIG), np.random.default_rng(2)
    whole = machine.residual.words[:8].reshape(4, -1).astype(np.int64)
    machine.sums.words[:4] = np.stack([whole.sum(axis=1), (whole * whole).sum(axis=1)], axis=1)
    values = rng.integers(-3000, 3000, (4, 8))
    fields = {"function": Function.ADD, "dst_addr": 1, "dst_stride": 2, "residual_shift": 1}
    for index, fresh in ((3, 0), (4, 1)):
        old = machine.residual.words[:8].reshape(4, -1).astype(np.int64)
        matmul(machine, index, fresh=fresh, **fields)._add(values)
        new = machine.residual.words[:8].reshape(4, -1).astype(np.int64)
        assert np.array_equal(new[:, 8:], np.clip((old[:, 8:] + 1 >> 1) + values, -(1 << 15), (1 << 15) - 1))
        assert np.array_equal(new[:, :8], whole[:, :8])
        counted = new[:, 8:] if fresh else new
        assert np.array_equal(machine.sums.words[:4], np.stack([counted.sum(axis=1), (counted**2).sum(axis=1)], axis=1))
        assert (machine.sums.writer[:4] == index).all() and (machine.residual.writer[[1, 3, 5, 7]] == index).all()


@pytest.mark.parametrize(
    ("streamed", "moved", "message"),
    [
        (20, 0, ""),
        (3, 0, "the result must not overwrite residual words that the same instruction streams"),
        (20, 8, ""),
        (20, 2, "the old residual, where it lies elsewhere, must not be overwritten by the same instruction"),
    ],
)
def test_an_add_overwrites_nothing_of_its_own(streamed: int, moved: int, message: str) -> None:
    machine = Machine(CONFIG)
    machine.residual.reader[streamed] = 3
    add = matmul(machine, function=Function.ADD, dst_addr=1, dst_stride=2, scalar=moved, fresh=1)
    with refused(message):
        add._add(np.zeros((4, 8), np.int64))


def test_normalised_words_need_a_norm() -> None:
    with refused("NORMALISED must follow a NORM"):
        matmul(Machine(CONFIG), stream=Stream.NORMALISED, src_stride=2).vectors()


def test_a_sum_of_probabilities_is_positive() -> None:
    attend = matmul(Machine(CONFIG), function=Function.ATTEND, scalar=1 << 15, shift=1, dst_stride=1)
    attend._attend(np.ones((4, 8), np.int64), np.array([1, 2, 3, 4]))
    with refused("the sum of probabilities must be positive"):
        attend._attend(np.ones((4, 8), np.int64), np.array([1, 2, 0, 4]))


@pytest.mark.parametrize("address", [CONFIG.activation_words - 1, CONFIG.activation_words])
def test_probabilities_lie_beside_their_maxima(address: int) -> None:
    with refused("" if address < CONFIG.activation_words else f"address of probabilities must be below {address}, not"):
        matmul(Machine(CONFIG))._check_maxima(np.array([[0, address]]))


def test_as_many_tokens_as_a_queue_holds() -> None:
    """Each of a router's instructions adds its tokens; the scores of the lowest expert are the same."""
    machine, most = Machine(CONFIG), CONFIG.max_tokens
    logits = np.zeros((most - 1, 8), np.int64)
    fields = {"function": Function.ROUTE, "out_count": 8, "top_k": 1, "gate_kind": GateKind.NOISY}
    matmul(machine, 1, token_count=most - 1, **fields)._route(logits)
    matmul(machine, 2, token_base=most - 1, token_count=1, append=1, **fields)._route(logits[:1])
    assert machine.queue_tokens[0].tolist() == list(range(most)) and set(machine.queue_scores[0]) == {65533}
    assert not any(len(queue) for queue in machine.queue_tokens[1:])
    with refused(f"queue 0 must hold at most {most} tokens, not {most + 1}"):
        matmul(machine, token_count=1, append=1, **fields)._route(logits[:1])
    matmul(machine, 4, token_count=2, **fields)._route(logits[:2])
    assert machine.queue_tokens[0].tolist() == [0, 1]


@pytest.mark.parametrize(("stored", "message"), [(2, ""), (3, "hazard: copies what it streams .* waits only for 2")])
def test_a_copy_waits_for_the_write_port(stored: int, message: str) -> None:
    machine = Machine(CONFIG)
    machine.norm = NORM.fields
    machine.residual.words[:8] = np.arange(64).reshape(8, 8)
    whole = machine.residual.words[:8].reshape(4, -1).astype(np.int64)
    machine.sums.words[:4] = np.stack([whole.sum(axis=1), (whole * whole).sum(axis=1)], axis=1)
    machine.stored = stored
    tap = matmul(machine, stream=Stream.NORMALISED, src_stride=2, tap=1, tap_addr=7)
    with refused(message):
        streamed = tap.vectors()
        kept = machine.activation.words[7:15].view(np.int8).reshape(4, -1)
        assert np.array_equal(kept, numerics.norm_stored(ops_int.norm(NORM, whole, Saturation())))
        assert np.array_equal(streamed[0], numerics.norm_streamed(ops_int.norm(NORM, whole, Saturation())))
        assert (machine.activation.writer[7:15] == 3).all() and machine.activation.writer[6] == -1
