"""Stationary matrices of attention: keys and values as the array holds them."""

from collections.abc import Callable, Mapping

import numpy as np

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.machine import Array

__all__ = ["key_matrix", "value_matrix"]

Fields = Mapping[str, int]
Read = Callable[[Array], Array]  # addresses to words


def key_matrix(f: Fields, *, outputs: int, in_blocks: int, read: Read) -> Array:
    """Keys of a head, [keys padded to whole blocks, and the extra key; inputs].

    Parameters
    ----------
    f : mapping of str to int
        The instruction's.
    outputs : int
        Of all blocks.
    in_blocks : int
        Of inputs.
    read : callable
        Words of the key/value memory.
    """
    keys = f["out_count"] + f["extra"]
    words = read(f["kv_addr"] + np.arange(keys)[:, None] * f["kv_stride"] + np.arange(in_blocks)).copy()
    words[:, :, : f["lane_low"]] = 0
    words[:, :, f["lane_low"] + f["lane_count"] :] = 0
    found = words.reshape(keys, -1)
    matrix = np.zeros((outputs + f["extra"], found.shape[1]), np.int8)
    matrix[: f["out_count"]] = found[: f["out_count"]]
    matrix[outputs:] = found[f["out_count"] :]
    return matrix


def value_matrix(f: Fields, config: AcceleratorConfig, *, blocks: int, in_blocks: int, read: Read) -> Array:
    """Values, [channels; keys padded to lanes, and the extra key]: their words, transposed.

    Parameters
    ----------
    f : mapping of str to int
    config : AcceleratorConfig
    blocks, in_blocks : int
        Of outputs and inputs.
    read : callable
        As above.
    """
    keys, words = f["key_count"] + f["extra"], -(-(f["group"] + blocks) // config.groups)
    data = read(f["kv_addr"] + np.arange(keys)[:, None] * f["kv_stride"] + np.arange(words)).reshape(keys, -1)
    first = f["group"] * config.rows
    found = data[:, first : first + blocks * config.rows].T
    matrix = np.zeros((blocks * config.rows, in_blocks * config.lanes + f["extra"]), np.int8)
    matrix[:, : f["key_count"]] = found[:, : f["key_count"]]
    matrix[:, in_blocks * config.lanes :] = found[:, f["key_count"] :]
    return matrix
