"""Two keys in a row: what goes to which half of the lanes."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from moesaic.hw.vector.pipeline import copies

__all__ = ["head_twice", "pair_of_keys"]


def head_twice(m: Module, word: Value, from_upper: Value, from_lower: Value) -> Value:
    """A streamed word, a cycle later, with its head in both halves of the lanes.

    Parameters
    ----------
    word : Value, [lanes] bytes
    from_upper, from_lower : Value, 1 bit
        A cycle ahead of the word: its head lies in the upper half, or in the lower one; neither: it stays as it is.
    """
    half = len(word) // 16
    stored = Signal(len(word), name="stored_last", reset_less=True)
    raised, lowered = copies(m, from_lower, half, name="from_lower"), copies(m, from_upper, half, name="from_upper")
    for lane in range(half):
        lower, upper = word.word_select(lane, 8), word.word_select(half + lane, 8)
        m.d.sync += [
            stored.word_select(lane, 8).eq(Mux(lowered[lane], upper, lower)),
            stored.word_select(half + lane, 8).eq(Mux(raised[lane], lower, upper)),
        ]
    return stored


def pair_of_keys(
    m: Module, lanes: list[Value], *, packs: Value, upper: Value, early_second: Value, comes_first: Value
) -> list[Value]:
    """Lanes of the row that a key fills: of packed ones, the key before it in the lower half and itself in the upper
    one; of the first of a pair, itself and zeros, as a block's last key needs it.

    Parameters
    ----------
    lanes : list of Value, bytes
        The key as its word holds it, 0 where the head is not.
    packs, upper : Value, 1 bit
        Keys are packed; their head lies in the upper half. For some cycles before the first key.
    early_second : Value, 1 bit
        A cycle ahead of the key: it is the second of a pair.
    comes_first : Value, 1 bit
        This key is there, and the first of a pair.
    """
    half = len(lanes) // 2
    pack, above, second = (
        copies(m, early, half, name=name)
        for early, name in ((packs, "packs_keys"), (upper, "head_in_upper"), (early_second, "second_key"))
    )
    head = [Mux(above[k], lanes[half + k], lanes[k]) for k in range(half)]
    first = Signal(8 * half, name="first_key", reset_less=True)
    with m.If(comes_first):
        m.d.sync += first.eq(Cat(*head))
    lower = [Mux(pack[k], Mux(second[k], first.word_select(k, 8), head[k]), lanes[k]) for k in range(half)]
    return lower + [Mux(pack[k], Mux(second[k], head[k], 0), lanes[half + k]) for k in range(half)]
