"""What one program computes: items, each an image and a task."""

from collections.abc import Sequence
from dataclasses import dataclass

from moesaic.errors import InputError
from moesaic.names import ALL_TASKS

__all__ = ["MOST_IMAGES", "Batch", "Item"]

MOST_IMAGES = 8


@dataclass(frozen=True, order=True)
class Item:
    """An image, by its number in the batch, and a task."""

    image: int
    task: str

    def label(self, images: int) -> str:
        """Its name, if there are `images` images: that of its task, with its image's number if there are several."""
        return self.task if images == 1 else f"{self.task}-{self.image}"

    def __str__(self) -> str:
        return f"image {self.image}, {self.task}"


@dataclass(frozen=True)
class Batch:
    """Every one of `images` images for every one of `tasks`.

    Tokens of all items lie one after another: item number i has the tokens from i times the tokens of an image on.
    While tasks have done nothing of their own yet, there is one such part for each image only.

    Parameters
    ----------
    tasks : tuple of str
    images : int
    """

    tasks: tuple[str, ...]
    images: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.images <= MOST_IMAGES:
            raise InputError(f"batch must be from 1 to {MOST_IMAGES} images, not {self.images!r}")
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise InputError(f"tasks must be at least one, each once, not {', '.join(self.tasks)!r}")

    @classmethod
    def of(cls, tasks: "str | Sequence[str] | Batch") -> "Batch":
        """The batch itself, or one image for a task or several."""
        if isinstance(tasks, Batch):
            return tasks
        return cls((tasks,) if isinstance(tasks, str) else tuple(tasks))

    @classmethod
    def from_items(cls, items: "Sequence[Item]") -> "Batch":
        """The batch that has these items."""
        return cls(tuple(dict.fromkeys(item.task for item in items)), 1 + max(item.image for item in items))

    @property
    def name(self) -> str:
        """Of its program: the task's, or that of all tasks together."""
        return self.tasks[0] if len(self.tasks) == 1 else ALL_TASKS

    @property
    def items(self) -> tuple[Item, ...]:
        """In the order of their tokens: all images of the first task, then of the next."""
        return tuple(Item(image, task) for task in self.tasks for image in range(self.images))

    def place(self, item: int, *, shared: bool) -> int:
        """Where the tokens of item number `item` lie, in numbers of items; `shared`: tasks have the same ones."""
        return item % self.images if shared else item
