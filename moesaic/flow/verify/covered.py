"""What coverage came to: by module, with the points that were left out and the reason, and those that nothing hit."""

import importlib.resources
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from types import MappingProxyType

from moesaic.errors import FailedRun
from moesaic.flow.verify.coverage_points import KINDS, Point

__all__ = ["EXCLUSIONS", "Coverage", "Exclusion", "Share", "exclusions", "matcher", "measured"]

EXCLUSIONS = "coverage_exclusions.toml"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Share:
    """Points of one kind in one module, without those that were left out.

    Parameters
    ----------
    module, kind : str
    points, hit : int
    """

    module: str
    kind: str
    points: int
    hit: int


@dataclass(frozen=True)
class Exclusion:
    """Points that need not be hit.

    Parameters
    ----------
    matches : str
        Pattern of what a `Point` reads like; ``*`` stands for anything, ``{a..b}`` for a number from a to b.
    reason : str
    points : int
        How many there are that nothing hit.
    hit : int
        How many match and were hit: then the exclusion is wrong.
    """

    matches: str
    reason: str
    points: int = 0
    hit: int = 0

    @property
    def refused(self) -> bool:
        """It matches nothing that is left, or something that was hit."""
        return not self.points or self.hit > 0


@dataclass(frozen=True)
class Coverage:
    """What all cases together have hit.

    Parameters
    ----------
    shares : tuple of Share
    excluded : tuple of Exclusion
    holes : tuple of str
        Points that nothing hit and nothing excludes; those of one port together.
    proved : mapping of str to int
        Points that nothing can hit, by what proves it. They count neither as hit nor as left.
    """

    shares: tuple[Share, ...]
    excluded: tuple[Exclusion, ...]
    holes: tuple[str, ...]
    proved: Mapping[str, int] = field(default_factory=dict)

    def totals(self) -> Mapping[str, tuple[int, int]]:
        """Hit points and points of each kind."""
        kinds = sorted({share.kind for share in self.shares})
        mine = {kind: [share for share in self.shares if share.kind == kind] for kind in kinds}
        return {kind: (sum(s.hit for s in found), sum(s.points for s in found)) for kind, found in mine.items()}

    def left(self) -> Mapping[str, Mapping[str, int]]:
        """Points that are left, by module and kind; the module with the most comes first."""
        found: dict[str, dict[str, int]] = {}
        for share in self.shares:
            if share.points > share.hit:
                found.setdefault(share.module, dict.fromkeys(KINDS, 0))[share.kind] = share.points - share.hit
        return dict(sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0])))


def exclusions() -> tuple[Exclusion, ...]:
    """Those of the file beside this one."""
    text = (importlib.resources.files("moesaic.flow.verify") / EXCLUSIONS).read_text(encoding="utf-8")
    return tuple(
        Exclusion(pattern, " ".join(entry["reason"].split()))
        for entry in tomllib.loads(text).get("exclude", [])
        for pattern in entry["points"]
    )


def _numbers(matches: str) -> tuple[re.Pattern[str], list[range]]:
    """A pattern with a group for each ``{a..b}``, and the numbers that may stand there."""
    parts = _RANGE.split(matches)
    ranges = [range(int(low), int(high) + 1) for low, high in zip(parts[1::3], parts[2::3], strict=True)]
    texts = [translate(part).removeprefix("(?s:").removesuffix(r")\Z") for part in parts[::3]]
    return re.compile(r"(\d+)".join(texts), re.DOTALL), ranges


def matcher(matches: str) -> Callable[[str], bool]:
    """Whether a text is as a pattern says."""
    pattern, ranges = _numbers(matches)

    def fits(text: str) -> bool:
        found = pattern.fullmatch(text)
        return found is not None and all(int(n) in there for n, there in zip(found.groups(), ranges, strict=True))

    return fits


def measured(points: Sequence[Point], hit: int, *, proved: Mapping[Point, str] = MappingProxyType({})) -> Coverage:
    """The coverage of points, of which bit n of `hit` says whether the nth was hit.

    A point that was hit counts, whatever the exclusions say of it.

    Raises
    ------
    FailedRun
        If a point was hit that nothing can hit.
    """
    excluded = exclusions()
    tests = [matcher(entry.matches) for entry in excluded]
    left_out, wrong = [0] * len(excluded), [0] * len(excluded)
    holes: Counter[str] = Counter()
    never: Counter[str] = Counter()
    counts: dict[tuple[str, str], list[int]] = {}
    for place, point in enumerate(points):
        count, text = counts.setdefault((point.module, point.kind), [0, 0]), str(point)
        done = bool(hit >> place & 1)
        if point in proved:
            if done:
                raise FailedRun(f"point must not be hit, since it is proved to be {proved[point]}: {text}")
            never[proved[point]] += 1
            continue
        by = next((number for number, fits in enumerate(tests) if fits(text)), None)
        if by is not None:
            (wrong if done else left_out)[by] += 1
        if done or by is None:
            count[0] += done
            count[1] += 1
        if not done and by is None:
            holes[text.partition("[")[0] if point.kind == "port" else text] += 1
    return Coverage(
        shares=tuple(Share(module, kind, total, done) for (module, kind), (done, total) in sorted(counts.items())),
        excluded=tuple(
            replace(entry, points=left, hit=done) for entry, left, done in zip(excluded, left_out, wrong, strict=True)
        ),
        holes=tuple(f"{hole}, {count} points" if count > 1 else hole for hole, count in holes.items()),
        proved=dict(sorted(never.items())),
    )
