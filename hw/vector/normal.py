"""Leading one of a word, and the word shifted to bring it to the top."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

__all__ = ["leading_one", "top_bits"]


def leading_one(m: Module, value: Value, *, name: str) -> Signal:
    """Position of the highest one, combinational, 0 if there is none: both halves are searched at once."""
    width = 1 << max(len(value) - 1, 1).bit_length()
    padded = [value[k] if k < len(value) else Value.cast(0) for k in range(width)]
    found: list[tuple[Value, Value | None]] = [(bit, None) for bit in padded]
    level = 0
    while len(found) > 1:
        merged: list[tuple[Value, Value | None]] = []
        for k in range(0, len(found), 2):
            (low_any, low), (high_any, high) = found[k], found[k + 1]
            any_ = Signal(name=f"{name}_any_{level}_{k // 2}")
            position = Signal(level + 1, name=f"{name}_position_{level}_{k // 2}")
            m.d.comb += any_.eq(low_any | high_any)
            if low is None or high is None:
                m.d.comb += position.eq(high_any)
            else:
                m.d.comb += position.eq(Mux(high_any, high | (1 << level), low))
            merged.append((any_, position))
        found, level = merged, level + 1
    result = Signal(range(max(len(value), 2)), name=name)
    m.d.comb += result.eq(position)
    return result


def top_bits(value: Value, position: Value, *, bits: int) -> Value:
    """`value` shifted so that bit `position`, its highest one, becomes the highest of `bits`; the rest is cut off."""
    # In a power of two of bits, the distance to the highest one is the position inverted.
    width = 1 << len(position)
    wide = Cat(value, Const(0, width - len(value)))
    shifted = (wide << ~position)[:width]
    return shifted[width - bits :] if width >= bits else shifted.shift_left(bits - width)
