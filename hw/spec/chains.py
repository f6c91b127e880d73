"""Lanes whose products are added up from slice to slice, what that leaves for probabilities, and the width of sums."""

__all__ = ["chain_length", "most_probability_bits", "sum_bits"]


def chain_length(lanes: int) -> int:
    """Lanes whose products are added up from slice to slice.

    A packed weight has ``8 + field_bits`` bits: 27 with 8 lanes, all that a DSP48E2 multiplies; 25 with 2 lanes, which
    a DSP48E1 (Zynq-7000) multiplies too. Arrays of up to 16 lanes are those that such a device holds.
    """
    return 8 if lanes > 16 else min(2, lanes)


def most_probability_bits(rows: int, lanes: int) -> int:
    """Bits of a streamed probability in one pass: neighbours that weigh 256 each, in the mean, are of one block of keys
    and of one chain.
    """
    return 7 + min(rows, chain_length(lanes)).bit_length()


def sum_bits(lanes: int) -> int:
    """Width of a dot product of int8 with values of -255..255, or of 256 or less in the mean."""
    return 17 + (lanes - 1).bit_length()
