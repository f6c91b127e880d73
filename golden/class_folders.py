"""Images in a folder for each class, as files with the numbers of their classes."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moesaic.golden.image_io import ImageError

__all__ = ["ClassFolders", "find_classes"]


@dataclass(frozen=True)
class ClassFolders:
    """Files and their classes.

    Parameters
    ----------
    where : str
        What was asked for.
    files : tuple of Path
        In the order of classes, then of names.
    targets : tuple of int
        For each file the number of the model's output that stands for its class.
    names : tuple of str
        Of the folders.
    """

    where: str
    files: tuple[Path, ...]
    targets: tuple[int, ...]
    names: tuple[str, ...]

    def spread(self, count: int) -> "tuple[ClassFolders, ClassFolders]":
        """Up to `count` files, evenly spread, and the others."""
        count = min(count, len(self.files))
        chosen = {i * len(self.files) // count for i in range(count)} if count else set[int]()
        return self._of(sorted(chosen)), self._of([i for i in range(len(self.files)) if i not in chosen])

    def _of(self, places: Sequence[int]) -> "ClassFolders":
        return ClassFolders(
            self.where, tuple(self.files[i] for i in places), tuple(self.targets[i] for i in places), self.names
        )


def _files(where: str) -> list[Path]:
    """Of a folder the files one folder below it; else what a pattern finds."""
    paths = Path(where).glob("*/*") if Path(where).is_dir() else map(Path, glob.glob(where, recursive=True))
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))


def find_classes(where: str, outputs: int) -> ClassFolders:
    """Images of a folder of folders, or of a pattern such as `data/*/*.png`, whose folders are the classes.

    Parameters
    ----------
    where : str
    outputs : int
        Of the model. Folders are those outputs in the order of their names, if there are as many; folders whose names
        are numbers are the outputs of these numbers.

    Raises
    ------
    ImageError
        If there are no files, or folders cannot be told to be outputs.
    """
    files = _files(where)
    if not files:
        raise ImageError(f"data must be a folder with a folder of images for each class, or a pattern, not {where!r}")
    names = sorted({file.parent.name for file in files})
    if all(name.isdecimal() for name in names):
        numbers = {name: int(name) for name in names}
        if beyond := [name for name in names if numbers[name] >= outputs]:
            raise ImageError(f"data must have folders from 0 to {outputs - 1}, the model's outputs, not {beyond[0]!r}")
    elif len(names) == outputs:
        numbers = {name: number for number, name in enumerate(names)}
    else:
        raise ImageError(
            f"data must have a folder for each of the model's {outputs} outputs, or folders that are named by their "
            f"numbers, not {len(names)} folders ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        )
    files.sort(key=lambda file: (numbers[file.parent.name], file))
    return ClassFolders(where, tuple(files), tuple(numbers[file.parent.name] for file in files), tuple(names))
