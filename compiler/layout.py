"""How channels lie in words: the one place that knows how heads are padded to the array's lanes."""

from dataclasses import dataclass

import numpy as np

from moesaic.golden.numerics import IntArray

__all__ = ["HeadLayout", "words_for"]


def words_for(channels: int, lanes: int) -> int:
    """Words that hold a vector of `channels` channels."""
    return -(-channels // lanes)


@dataclass(frozen=True, kw_only=True)
class HeadLayout:
    """Where the channels of each attention head lie in the words of a token.

    A head must not straddle words, so each starts at a multiple of `pitch` channels: the smallest power of two that
    holds the head if that is less than a word, else whole words. With head dimensions of 32 or 64 nothing is padded.

    >>> HeadLayout(heads=3, head_dim=24, lanes=64).pitch
    32
    >>> HeadLayout(heads=2, head_dim=32, lanes=8).words_per_head
    4

    Parameters
    ----------
    heads, head_dim, lanes : int
    """

    heads: int
    head_dim: int
    lanes: int

    @property
    def pitch(self) -> int:
        """Channels from one head to the next."""
        if self.head_dim >= self.lanes:
            return words_for(self.head_dim, self.lanes) * self.lanes
        return 1 << (self.head_dim - 1).bit_length()

    @property
    def channels(self) -> int:
        """Channels of a token, padding included."""
        return self.heads * self.pitch

    @property
    def words(self) -> int:
        """Words of a token."""
        return words_for(self.channels, self.lanes)

    @property
    def words_per_head(self) -> int:
        """Words that are streamed for one head."""
        return max(1, self.pitch // self.lanes)

    def word(self, head: int) -> int:
        """First word of `head` within a token."""
        return head * self.pitch // self.lanes

    def lane(self, head: int) -> int:
        """First lane of `head` within its word."""
        return head * self.pitch % self.lanes

    @property
    def lane_count(self) -> int:
        """Lanes of a word that belong to one head."""
        return min(self.pitch, self.lanes)

    def spread(self, values: IntArray, axis: int) -> IntArray:
        """`values` with axis of heads * head_dim channels widened to `channels`, zeros in the padding."""
        if self.pitch == self.head_dim:
            return values
        moved = np.moveaxis(values, axis, 0)
        wide = np.zeros((self.heads, self.pitch, *moved.shape[1:]), values.dtype)
        wide[:, : self.head_dim] = moved.reshape(self.heads, self.head_dim, *moved.shape[1:])
        return np.moveaxis(wide.reshape(self.channels, *moved.shape[1:]), 0, axis)
