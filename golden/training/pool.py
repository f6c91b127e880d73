"""Training scenes: rendered when first used, then kept."""

import threading

import numpy as np
import torch

from moesaic.golden.training.scenes import CLASSES, render

__all__ = ["FIRST_TRAINING_SEED", "ScenePool"]

FIRST_TRAINING_SEED = 100_000  # scenes below are never trained on: tests and reports draw theirs from there


class ScenePool:
    """The scenes of seeds `FIRST_TRAINING_SEED` to `FIRST_TRAINING_SEED + scenes`, in an order that `seed` decides.

    Depth is kept as float16, whose steps (1/2000) are finer than any prediction.

    Parameters
    ----------
    scenes : int
        How many there are.
    size : (int, int)
        Height and width, pixels.
    seed : int
        Of the order.
    """

    def __init__(self, scenes: int, size: tuple[int, int], seed: int) -> None:
        self.scenes, self.size, self.seed = scenes, size, seed
        # Pages are taken from the system when they are written.
        self._images = np.empty((scenes, 3, *size), dtype=np.uint8)
        self._labels = np.empty((scenes, *size), dtype=np.uint8)
        self._depth = np.empty((scenes, *size), dtype=np.float16)
        self._there = np.zeros(scenes, dtype=bool)
        self._orders: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def _scene(self, place: int) -> int:
        """Number of the scene at `place` of an endless sequence of shuffled rounds."""
        turn, rest = divmod(place, self.scenes)
        with self._lock:
            if turn not in self._orders:
                self._orders = {turn: np.random.default_rng([self.seed, turn]).permutation(self.scenes)}
            return int(self._orders[turn][rest])

    def _fill(self, scene: int) -> None:
        if not self._there[scene]:
            made = render(FIRST_TRAINING_SEED + scene, self.size)
            self._images[scene], self._labels[scene], self._depth[scene] = made.image, made.labels, made.depth
            self._there[scene] = True

    def batch(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scenes `first` to `first + count` of the sequence, every other one mirrored at random.

        Returns
        -------
        uint8 [count, 3, H, W], uint8 [count, H, W], float32 [count, H, W]
            Images, labels, depth.
        """
        numbers = [self._scene(first + i) for i in range(count)]
        for number in numbers:
            self._fill(number)
        images, labels, depth = self._images[numbers], self._labels[numbers], self._depth[numbers].astype(np.float32)
        for i in range(count):
            if np.random.default_rng([self.seed, first + i, 1]).random() < 0.5:  # a street in a mirror is a street
                images[i], labels[i], depth[i] = images[i, ..., ::-1], labels[i, :, ::-1], depth[i, :, ::-1]
        return torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(depth)

    def class_weight(self, scenes: int = 200) -> torch.Tensor:
        """Weight of each class in the loss, mean 1 over pixels: rare classes count for more, but not all the way."""
        chosen = range(min(scenes, self.scenes))
        for number in chosen:
            self._fill(number)
        labels = self._labels[: len(chosen)]
        frequency = torch.from_numpy(np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size).float()
        weight = frequency.clamp(min=1e-3) ** -0.35
        return weight / (weight * frequency).sum()
