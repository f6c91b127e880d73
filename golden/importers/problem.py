"""What is wrong with weights that somebody wants to import: all of it, grouped, in one error."""

import re
from collections.abc import Iterable, Mapping, Sequence

from moesaic.errors import InputError

__all__ = ["Findings", "ImportProblem", "as_problem", "folded"]

NUMBER = re.compile(r"\d+")


def _ranges(numbers: Sequence[int], width: int) -> str:
    """Numbers in rising order, runs of three and more shortened, of so many digits: 0..4,7."""
    parts: list[str] = []
    start = 0
    for i in range(1, len(numbers) + 1):
        if i < len(numbers) and numbers[i] == numbers[i - 1] + 1:
            continue
        run = [f"{number:0{width}d}" for number in numbers[start:i]]
        parts += [f"{run[0]}..{run[-1]}"] if len(run) > 2 else run
        start = i
    return ",".join(parts)


def folded(names: Iterable[str]) -> list[str]:
    """Names that differ in their first number only, written as one: `blocks.{1,3}.norm1.weight`."""
    groups: dict[tuple[str, int], list[int]] = {}
    for name in names:
        found = NUMBER.search(name)
        if found is None:
            groups.setdefault((name, 0), [])
            continue
        digits = found.group()
        width = len(digits) if digits.startswith("0") else 1  # 007 and 7 are not the same name
        key = f"{name[: found.start()]}{{}}{name[found.end() :]}"
        groups.setdefault((key, width), []).append(int(digits))
    result = []
    for (key, width), members in groups.items():
        numbers = sorted(set(members))
        ranges = _ranges(numbers, width)
        result.append(key if not numbers else key.replace("{}", ranges if len(numbers) == 1 else f"{{{ranges}}}", 1))
    return result


class ImportProblem(InputError):
    """A model that cannot be imported.

    Parameters
    ----------
    text : str
        One line: what must be what, not what.
    groups : mapping of str to list of str
        Kinds of problem ("missing", "wrong shape"...), and each tensor or file that has it.
    """

    def __init__(self, text: str, groups: Mapping[str, Sequence[str]] = {}) -> None:
        self.text, self.groups = text, {kind: list(entries) for kind, entries in groups.items()}
        lines = [text]
        for kind, entries in self.groups.items():
            lines += [f"  {kind}:", *(f"    {entry}" for entry in entries)]
        super().__init__("\n".join(lines))


def as_problem(error: ValueError, source: str) -> ImportProblem:
    """A size that a configuration refuses, as a problem of the weights it was read from."""
    return error if isinstance(error, ImportProblem) else ImportProblem(f"{error} ({source})")


class Findings:
    """Collects problems, so that one error can list them all.

    Members
    -------
    entries : list of (kind, name, detail)
        `detail` may be empty.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str]] = []

    def add(self, kind: str, name: str, detail: str = "") -> None:
        """One more problem of tensor or file `name`."""
        self.entries.append((kind, name, detail))

    def groups(self) -> dict[str, list[str]]:
        """Lines by kind; names with the same problem share a line."""
        sorted_out: dict[str, dict[str, list[str]]] = {}
        for kind, name, detail in self.entries:
            sorted_out.setdefault(kind, {}).setdefault(detail, []).append(name)
        return {
            kind: [
                f"{name}: {detail}" if detail else name for detail, names in details.items() for name in folded(names)
            ]
            for kind, details in sorted_out.items()
        }

    def check(self, text: str) -> None:
        """Raise if there is anything.

        Raises
        ------
        ImportProblem
            With `text`, a count of each kind, and all entries.
        """
        if not self.entries:
            return
        groups = self.groups()
        counts = ", ".join(f"{sum(k == kind for k, _, _ in self.entries)} {kind}" for kind in groups)
        raise ImportProblem(f"{text}: {counts}", groups)
