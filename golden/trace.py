"""Named intermediate tensors of a model: record, save, load.

Names, for an image of N tokens (h heads, k experts per token, R = N * k routed tokens):

=============================================  =============  ==================================================
name                                           shape          what
=============================================  =============  ==================================================
``pixels``                                     [3, H, W]      normalised image
``embed``                                      [N, dim]       patch embedding, class token, positions added
``blocks.i.norm1``, ``blocks.i.norm2``         [N, dim]       output of LayerNorm
``blocks.i.attn.q``, ``.k``, ``.v``            [N, dim]       with bias, head-major
``blocks.i.attn.scores``                       [h, N, N]      q.k / sqrt(head_dim), before softmax
``blocks.i.attn.probs``                        [h, N, N]      after softmax over the last axis
``blocks.i.attn.context``                      [N, dim]       probs.v, heads side by side, before proj
``blocks.i.attn.proj``                         [N, dim]       output of proj, before the residual
``blocks.i.mid``                               [N, dim]       residual stream after attention
``blocks.i.mlp.hidden_pre``, ``.hidden``       [N, hidden]    dense: fc1, before and after its activation
``blocks.i.mlp.hidden_gate``, ``_value``       [N, hidden]    gated, in place of ``hidden_pre``: as fc1 gives them
``blocks.i.mlp.gate.logits``                   [N, experts]   mixture: with the task's constant, if conditioned
``blocks.i.mlp.gate.scores``, ``.index``       [N, k]         chosen experts and their scores, best first
``blocks.i.mlp.expert_index``, ``_token``      [R]            expert and token of each routed token
``blocks.i.mlp.expert_hidden_pre``, ``_hidden``  [R, hidden]  fc1 of the expert, before and after its activation
``blocks.i.mlp.expert_hidden_gate``, ``_value``  [R, hidden]  of a gated expert
``blocks.i.mlp.expert_out``                    [R, dim]       output of the expert, before the gate's score
``blocks.i.mlp.out``                           [N, dim]       output of the MLP or mixture, before the residual
``blocks.i``                                   [N, dim]       output of the block
=============================================  =============  ==================================================

Routed tokens are ordered by expert, then by token: the order in which experts work.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # integers are traced too, without torch
    import torch

__all__ = ["SILENT", "Trace"]


class Trace(Mapping[str, np.ndarray]):
    """Intermediate tensors by name, in the order they were made.

    Pass one to a model's `forward`; it records a copy of every tensor of the table above. One trace holds one image.

    Parameters
    ----------
    only : tuple of str, optional
        Record only names that end with one of these.
    """

    def __init__(self, only: tuple[str, ...] | None = None) -> None:
        self.only = only
        self._tensors: dict[str, np.ndarray] = {}

    def wants(self, name: str) -> bool:
        return self.only is None or name.endswith(self.only)

    def record(self, name: str, tensor: "torch.Tensor | np.ndarray") -> None:
        """Keep a copy of `tensor` as `name`; `ValueError` if the name was recorded before."""
        if not self.wants(name):
            return
        if name in self._tensors:
            raise ValueError(f"trace name must be new, not {name!r}")
        array = np.asarray(tensor) if isinstance(tensor, np.ndarray) else tensor.detach().cpu().numpy()
        self._tensors[name] = array.copy()

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def save(self, path: str | Path) -> None:
        """Write all tensors to `path` (.npz); the file appears whole or not at all."""
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                # A list and not keywords: tensors may have any name.
                with zipfile.ZipFile(file, "w") as archive:
                    for name, array in self._tensors.items():
                        with archive.open(name + ".npy", "w", force_zip64=True) as member:
                            np.lib.format.write_array(member, array, allow_pickle=False)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "Trace":
        """Read what `save` wrote; `ValueError` if it is not such a file."""
        trace = cls()
        try:
            with np.load(path, allow_pickle=False) as archive:
                for name in archive.files:
                    trace.record(name, archive[name])
        except (zipfile.BadZipFile, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"trace must be an .npz file of arrays, not {str(path)!r} ({error})") from error
        return trace


class _Silent(Trace):
    """Records nothing."""

    def wants(self, name: str) -> bool:
        return False


SILENT = _Silent()
