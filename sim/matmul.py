"""MATMUL as the instruction set defines it, on whole tensors at a time."""

from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from moesaic.golden import numerics
from moesaic.hw.spec.functions import FUNCTIONS
from moesaic.hw.spec.isa import Function, GateKind, Memory, Stationary, Stream
from moesaic.hw.spec.packing import packs
from moesaic.hw.spec.tables import FARTHEST, NO_KEY, PLANE_BITS
from moesaic.sim.machine import Array, Machine, ProgramError, Tracked
from moesaic.sim.stationary import key_matrix, value_matrix

__all__ = ["Matmul"]


class Matmul:
    """One MATMUL: `prepare` reads the queue, `run` does the rest.

    Parameters
    ----------
    machine : Machine
    index : int
        Position in the compute stream.
    fields : mapping of str to int
        As decoded; they have a meaning (`hw.spec.legal`).
    loaded, fed : int
        Youngest instruction known to have retired when stationary blocks are loaded, and when vectors are streamed.

    Raises
    ------
    ProgramError
        For addresses out of range, hazards, and sums that leave the accumulator.
    """

    def __init__(self, machine: Machine, index: int, fields: Mapping[str, int], *, loaded: int, fed: int) -> None:
        self.machine, self.config, self.index, self.f, self.loaded, self.fed = (
            machine,
            machine.config,
            index,
            fields,
            loaded,
            fed,
        )
        self.stationary, self.stream, self.function = (
            Stationary(fields["stationary"]),
            Stream(fields["stream"]),
            Function(fields["function"]),
        )
        self.row_outputs = 1 + packs(fields, self.config)  # of a row of a block
        self.rows = self.row_outputs * self.config.rows  # outputs of a block
        self.group = fields["group"] // self.row_outputs * self.row_outputs  # of the first block
        self.blocks = -(-fields["out_count"] // self.rows)
        # Blocks of results, and how many of them count: one for each pair of a gate and values.
        self.places = self.blocks // (1 + fields["gated"])
        self.outputs = fields["out_count"] - (self.blocks - self.places) * self.rows
        # Planes of stream and stationary blocks that meet in each pass over the inputs; before every second one sums
        # shift by 8.
        self.passes = [(s, t) for s in range(1 + fields["wide_stream"]) for t in range(1 + fields["wide_stationary"])]
        self.in_blocks = fields["in_blocks"] // len(self.passes)  # of a pass
        if fields["expert_valid"]:
            expert = fields["expert"]
            for known in (loaded, fed):  # both ask whether, and for how many tokens, the expert runs
                machine.queues.read(np.zeros(1, np.int64), index, known, self.fail)
            self.tokens, self.scores = machine.queue_tokens[expert], machine.queue_scores[expert]
        else:
            self.tokens, self.scores = fields["token_base"] + np.arange(fields["token_count"]), np.zeros(0, np.int64)
        self.count = len(self.tokens)

    def fail(self, reason: str) -> NoReturn:
        raise ProgramError("compute", self.index, reason)

    # Stationary blocks.

    @property
    def weight_words(self) -> int:
        """Weight-stream words that the instruction owns."""
        return self.blocks * (self.config.param_words + self.f["in_blocks"] * self.config.stationary_words(self.bits))

    @property
    def bits(self) -> int:
        """Of a stationary weight."""
        return 4 if self.f["narrow"] else 8

    def weights(self, stream: Array) -> tuple[list[Array], Array, Array]:
        """Stationary matrix [outputs, inputs] of each pass, biases and multipliers from the instruction's part of the
        weight
        stream.
        """
        config, rows, in_blocks = self.config, self.config.rows, self.f["in_blocks"]
        head = config.param_words * config.word_bytes
        data = stream.reshape(self.blocks, -1)
        stored = data[:, head:].view(np.int8)
        if self.bits == 4:  # the low nibbles of a word are load_rows rows, the high nibbles those after them
            words = stored.reshape(self.blocks, -1, config.word_bytes)
            stored = np.stack([words << 4 >> 4, words >> 4], axis=2)
        matrix = stored.reshape(self.blocks, in_blocks, rows, config.lanes).transpose(0, 2, 1, 3)
        parameters = data[:, : 6 * rows].reshape(self.blocks * rows, 6)
        bias = np.ascontiguousarray(parameters[:, :4]).view("<i4").ravel().astype(np.int64)
        mult = np.ascontiguousarray(parameters[:, 4:]).view("<u2").ravel().astype(np.int64)
        whole = matrix.reshape(self.blocks * rows, in_blocks * config.lanes)
        return np.split(whole, len(self.passes), axis=1), bias << PLANE_BITS * self.f["wide_stationary"], mult

    def attention(self, memory: Tracked) -> Array:
        """Stationary matrix of KEYS or VALUES, from a key/value memory."""

        def read(addresses: Array) -> Array:
            return memory.read(addresses, self.index, self.loaded, self.fail)

        if self.stationary is Stationary.KEYS:
            return key_matrix(self.f, outputs=self.blocks * self.rows, in_blocks=self.in_blocks, read=read)
        return value_matrix(self.f, self.config, blocks=self.blocks, in_blocks=self.in_blocks, read=read)

    # Streamed vectors.

    def vectors(self) -> list[Array]:
        """Streamed matrices [vectors, inputs]: one, or those of two planes."""
        f, machine = self.f, self.machine
        row = self.tokens if f["expert_valid"] and f["gather"] else np.arange(self.count)
        addresses = f["src_addr"] + row[:, None] * f["src_stride"] + np.arange(self.in_blocks)
        if self.stream is Stream.NORMALISED:
            return self._normalised(addresses)
        words = machine.activation.read(addresses, self.index, self.fed, self.fail)
        if self.stream is Stream.ACTIVATION:
            planes = [words]
            if f["wide_stream"]:
                planes.append(machine.activation_low.read(addresses, self.index, self.fed, self.fail))
            return [plane.view(np.int8).reshape(self.count, -1).astype(np.int64) for plane in planes]
        level = machine.state.read(self._states(), self.index, self.fed, self.fail)
        self._check_maxima(addresses)
        self._check_probabilities(addresses)
        # Groups of keys that do not exist may hold anything: they must not be added up.
        lag = np.where(self._exist(), level[:, None, None] - 4 * machine.block_max[addresses], FARTHEST)
        grouped = words.reshape(self.count, self.in_blocks, self.config.groups, self.config.rows).astype(np.int64)
        bits = self.config.probability_width
        streamed = numerics.probability(grouped, lag[..., None], bits=bits).reshape(self.count, -1)
        if f["extra"]:
            code, maximum = machine.extra.read(self._states(), self.index, self.fed, self.fail).T
            extra = numerics.probability(code, level - 4 * maximum, bits=bits)
            streamed = np.concatenate([streamed, extra[:, None]], axis=1)
        return [streamed]

    def _exist(self) -> Array:
        """Which groups of keys exist, [words, groups]."""
        first = np.arange(self.in_blocks * self.config.groups) * self.config.rows
        return (first < self.f["key_count"]).reshape(self.in_blocks, -1)

    def _check_maxima(self, addresses: Array) -> None:
        """Probabilities lie where their maxima lie beside them: not in the key/value memory behind."""
        if int(addresses.max()) >= self.config.activation_words:
            limit = self.config.activation_words
            self.fail(f"address of probabilities must be below {limit}, not {int(addresses.max())}")

    def _check_probabilities(self, addresses: Array) -> None:
        """Refuse probabilities [vectors, words] that the softmax state does not belong to: their lag means nothing."""
        machine, states = self.machine, self._states()
        writer = machine.state.writer[states][:, None, None]
        overwritten = machine.activation.writer[addresses][..., None] != writer
        stale = self._exist() & (
            (machine.block_writer[addresses] != writer)
            | (machine.block_state[addresses] != states[:, None, None])
            | overwritten
        )
        if self.f["extra"]:
            stale |= (machine.extra.writer[states] != machine.state.writer[states])[:, None, None]
        if stale.any():
            vector = int(np.nonzero(stale.any(axis=(1, 2)))[0][0])
            self.fail(
                f"hazard: streams probabilities that are not those of softmax state {states[vector]}, "
                f"which instruction {writer[vector, 0, 0]} wrote"
            )

    def _normalised(self, addresses: Array) -> list[Array]:
        machine, norm = self.machine, self.machine.norm
        if norm is None:
            self.fail("NORMALISED must follow a NORM")
        words = (
            machine.residual.read(addresses, self.index, self.fed, self.fail).astype(np.int64).reshape(self.count, -1)
        )
        total, squares = machine.sums.read(self.tokens, self.index, self.fed, self.fail).T
        if np.any(numerics.norm_variance(total, squares, norm) < 1):
            self.fail("LayerNorm sums must be those of the residual: a variance is negative")
        normal = numerics.layernorm(words, total, squares, **norm)
        if self.f["tap"]:
            if machine.stored > self.fed:
                self.fail(
                    f"hazard: copies what it streams into the activation memory, where instruction {machine.stored} "
                    f"writes results, but waits only for {self.fed}"
                )
            tap = self.f["tap_addr"] + np.arange(addresses.size)
            kept = numerics.two_bytes(normal) if self.f["wide_result"] else (numerics.norm_stored(normal),)
            for memory, values in zip((machine.activation, machine.activation_low), kept, strict=False):
                words = values.astype(np.int8).view(memory.words.dtype).reshape(-1, self.config.lanes)
                memory.write_early(tap, words, self.index, self.fed, self.fail, after_reads=True)
        if self.f["wide_stream"]:
            return list(numerics.norm_planes(normal))
        return [numerics.norm_streamed(normal)]

    def _states(self) -> Array:
        return self.f["token_base"] + np.arange(self.count)

    # The product and what happens to it.

    def run(self, stream: Array) -> int:
        """Execute with the instruction's weight-stream bytes (empty for KEYS and VALUES); returns the useful
        products.
        """
        f, lanes = self.f, self.config.lanes
        bias, mult = np.zeros(1, np.int64), np.full(1, f["scalar"], np.int64)
        if self.stationary is Stationary.WEIGHTS:
            matrices, bias, mult = self.weights(stream)
            useful = self.outputs * (1 + f["gated"]) * f["in_blocks"] * lanes
        else:
            memories = (self.machine.kv, self.machine.kv_low)[: 1 + f["wide_stationary"]]
            planes = [self.attention(memory) for memory in memories]
            matrices = [planes[t] for _, t in self.passes]
            useful = (f["out_count"] + f["extra"]) * f["in_blocks"] * f["lane_count"]
            if self.stationary is Stationary.VALUES:
                useful = (f["key_count"] + f["extra"]) * int(self._valid().sum()) * len(self.passes)
        x = self.vectors()
        acc = self._accumulate([x[s] for s, _ in self.passes], matrices)
        if self.function is Function.ATTEND:
            self._attend(acc, x[-1].sum(axis=1))
        else:
            total = acc + bias
            self._check_sums(total[:, : f["out_count"]], "accumulator plus bias")
            v = numerics.requantise(total, mult, f["shift"])
            self._finish(v)
        return self.count * useful

    def _finish(self, v: Array) -> None:
        """What the function does with requantised values."""
        curve = FUNCTIONS[self.function].activation
        if curve is not None and self.f["gated"]:
            return self._gate(curve, v)
        if curve is not None:
            return self._activate(numerics.activation(curve, v))
        functions = {Function.ADD: self._add, Function.SOFTMAX: self._softmax, Function.ROUTE: self._route}
        return functions.get(self.function, self._store)(v)

    def _accumulate(self, x: list[Array], matrices: list[Array]) -> Array:
        def product(a: Array, b: Array) -> Array:
            # BLAS is exact as long as no sum leaves the mantissa: 24 bits, or 53.
            bound = int(np.abs(a).max()) * int(np.abs(b.astype(np.int64)).max()) * a.shape[1]
            if bound < 1 << 24:
                return np.rint(a.astype(np.float32) @ b.astype(np.float32).T).astype(np.int64)
            return np.rint(a.astype(np.float64) @ b.astype(np.float64).T).astype(np.int64)

        acc = np.zeros((self.count, matrices[0].shape[0]), np.int64)
        for number, (a, b) in enumerate(zip(x, matrices, strict=True)):
            acc = (acc << PLANE_BITS * (number % 2)) + product(a, b)
        self._check_sums(acc, "accumulator")
        return acc

    def _check_sums(self, sums: Array, what: str) -> None:
        """Refuse sums that the hardware would wrap."""
        limit = 1 << (self.config.acc_bits - 1)
        if sums.size and (int(sums.max()) >= limit or int(sums.min()) < -limit):
            self.fail(f"{what} must fit acc_bits = {self.config.acc_bits}, not {int(np.abs(sums).max())}")

    def _positions(self) -> Array:
        """Channel of each output, counted from the first lane of the first destination word."""
        return self.group * self.config.rows + np.arange(self.places * self.rows)

    def _valid(self) -> Array:
        if self.stationary is Stationary.VALUES:
            lane = self._positions() % self.config.lanes
            return (lane >= self.f["lane_low"]) & (lane < self.f["lane_low"] + self.f["lane_count"])
        return np.arange(self.places * self.rows) < self.outputs

    def _addresses(self, row: Array) -> Array:
        words = -(-(self.group + self.places * self.row_outputs) // self.config.groups)
        if len(row) > 1 and self.f["dst_stride"] < words:
            self.fail(f"dst_stride must be at least {words} words, not {self.f['dst_stride']}")
        return self.f["dst_addr"] + row[:, None] * self.f["dst_stride"] + np.arange(words)

    def _merge(self, memory: Tracked, addresses: Array, values: Array, valid: Array) -> None:
        """Write `values` [vectors, outputs] into the lanes of their valid channels."""
        memory.check_range(addresses, self.fail)
        if np.any(memory.reader[addresses] == self.index):
            self.fail(f"the result must not overwrite {memory.name} words that the same instruction streams")
        words = memory.words[addresses].reshape(len(addresses), -1)
        words[:, self._positions()[valid]] = values[:, valid].astype(words.dtype)
        memory.write(addresses, words.reshape(*addresses.shape, -1), self.index, self.fail)

    def _store(self, values: Array) -> None:
        """Write int16 `values` as 8 bits, or as two bytes."""
        machine = self.machine
        if self.f["dst_memory"] == Memory.ACTIVATION:
            machine.stored = self.index
        memories = (
            (machine.kv, machine.kv_low)
            if self.f["dst_memory"] == Memory.KV
            else (machine.activation, machine.activation_low)
        )
        kept = numerics.two_bytes(numerics.digits(values)) if self.f["wide_result"] else (numerics.int8(values),)
        for memory, part in zip(memories, kept, strict=False):
            words = part.astype(np.int8).view(memory.words.dtype)
            self._merge(memory, self._addresses(np.arange(self.count)), words, self._valid())

    def _gate(self, curve: str, v: Array) -> None:
        """Blocks of outputs in pairs: a gate, and the values that it multiplies."""
        pairs = v.reshape(self.count, self.places, 2, self.config.rows)
        product = numerics.rescale(pairs[:, :, 1], numerics.activation(curve, pairs[:, :, 0]), self.f["post_shift"])
        self._store(product.reshape(self.count, -1))

    def _activate(self, active: Array) -> None:
        multiplier = active if FUNCTIONS[self.function].squared else self.f["scalar"]
        self._store(numerics.rescale(active, multiplier, self.f["post_shift"]))

    def _attend(self, acc: Array, total: Array) -> None:
        """Requantise by the sums of the probabilities that were streamed."""
        if np.any(total < 1):
            self.fail("the sum of probabilities must be positive")
        r, e = numerics.reciprocal(total)
        multiplier = (r * self.f["scalar"] + (1 << 15)) >> 16
        self._store(numerics.int16(numerics.round_shift(acc * multiplier[:, None], (self.f["shift"] + e)[:, None])))

    def _softmax(self, v: Array) -> None:
        f, rows, machine = self.f, self.rows, self.machine
        addresses = self._addresses(np.arange(self.count))
        machine.activation.check_range(addresses, self.fail)
        self._check_maxima(addresses)
        codes = np.full_like(v, NO_KEY)
        level = None
        for block in range(self.blocks):
            low, high = block * rows, min((block + 1) * rows, f["out_count"])
            codes[:, low:high], maximum, level = numerics.softmax_block(
                v[:, low:high], level, bits=self.config.probability_width
            )
            groups = self.group + block * self.row_outputs + np.arange(self.row_outputs)
            where = addresses[:, groups // self.config.groups], groups % self.config.groups
            machine.block_max[where], machine.block_writer[where] = maximum[:, None], self.index
            machine.block_state[where] = self._states()[:, None]
        if level is None:
            self.fail("SOFTMAX must have keys")
        if f["extra"]:
            extra, maximum, level = numerics.softmax_block(
                v[:, self.blocks * rows :], level, bits=self.config.probability_width
            )
            kept = np.stack([extra[:, 0], maximum], axis=1)
            machine.extra.write(self._states(), kept, self.index, self.fail)
        machine.stored = self.index
        self._merge(machine.activation, addresses, codes[:, : self.blocks * rows], np.ones(self.blocks * rows, bool))
        machine.state.write(self._states(), level, self.index, self.fail)

    def _add(self, v: Array) -> None:
        f, machine, valid = self.f, self.machine, self._valid()
        row = self.tokens if f["expert_valid"] else np.arange(self.count)
        delta = numerics.round_shift(v * self.scores[:, None], f["post_shift"]) if f["expert_valid"] else v
        addresses, columns = self._addresses(row), self._positions()[valid]
        machine.residual.check_range(addresses, self.fail)
        if np.any(machine.residual.reader[addresses] == self.index):
            self.fail("the result must not overwrite residual words that the same instruction streams")
        before = (addresses + f["scalar"]) % (1 << 16)
        if f["scalar"] and np.intersect1d(before, addresses).size:
            self.fail("the old residual, where it lies elsewhere, must not be overwritten by the same instruction")
        old = (
            machine.residual.read(before, self.index, self.fed, self.fail)
            .reshape(self.count, -1)[:, columns]
            .astype(np.int64)
        )
        new = numerics.int16(numerics.round_shift(old, f["residual_shift"]) + numerics.int16(delta[:, valid]))
        words = machine.residual.words[addresses].reshape(self.count, -1)
        words[:, columns] = new
        machine.residual.write(addresses, words.reshape(*addresses.shape, -1), self.index, self.fail)
        sums = np.stack([new.sum(axis=1), (new * new).sum(axis=1)], axis=1)
        if not f["fresh"]:
            kept = machine.sums.read(self.tokens, self.index, self.fed, self.fail)
            sums = kept + sums - np.stack([old.sum(axis=1), (old * old).sum(axis=1)], axis=1)
        machine.sums.write(self.tokens, sums, self.index, self.fail)

    def _route(self, v: Array) -> None:
        f, machine = self.f, self.machine
        where = np.zeros(1, np.int64)
        index, score = numerics.route(
            v[:, : f["out_count"]], f["top_k"], renormalise=f["gate_kind"] == GateKind.NOISY, shift=f["post_shift"]
        )
        machine.queues.write_early(where, where, self.index, self.fed, self.fail, after_reads=False)
        for expert in range(self.config.experts):
            vector, choice = np.nonzero(index == expert)
            tokens, scores = self.tokens[vector], score[vector, choice]
            if f["append"]:
                tokens = np.concatenate([machine.queue_tokens[expert], tokens])
                scores = np.concatenate([machine.queue_scores[expert], scores])
                if len(tokens) > self.config.max_tokens:
                    self.fail(f"queue {expert} must hold at most {self.config.max_tokens} tokens, not {len(tokens)}")
            machine.queue_tokens[expert], machine.queue_scores[expert] = tokens, scores
