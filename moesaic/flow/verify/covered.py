"""What coverage came to: by module, with the points that were left out and the reason, and those that nothing hit."""

import importlib.resources
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from moesaic.flow.verify.coverage_points import KINDS, Point

__all__ = ["EXCLUSIONS", "Coverage", "Exclusion", "Share", "exclusions", "measured"]

EXCLUSIONS = "coverage_exclusions.toml"


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
        Pattern of what a `Point` reads like; ``*`` stands for anything.
    reason : str
    points : int
        How many there are that nothing hit.
    """

    matches: str
    reason: str
    points: int = 0


@dataclass(frozen=True)
class Coverage:
    """What all cases together have hit.

    Parameters
    ----------
    shares : tuple of Share
    excluded : tuple of Exclusion
    holes : tuple of str
        Points that nothing hit and nothing excludes; those of one port together.
    """

    shares: tuple[Share, ...]
    excluded: tuple[Exclusion, ...]
    holes: tuple[str, ...]

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


def measured(points: Sequence[Point], hit: int) -> Coverage:
    """The coverage of points, of which bit n of `hit` says whether the nth was hit.

    A point that was hit counts, whatever the exclusions say of it.
    """
    excluded = exclusions()
    left_out = [0] * len(excluded)
    holes: Counter[str] = Counter()
    counts: dict[tuple[str, str], list[int]] = {}
    for place, point in enumerate(points):
        count = counts.setdefault((point.module, point.kind), [0, 0])
        if hit >> place & 1:
            count[0] += 1
        else:
            by = next((n for n, e in enumerate(excluded) if fnmatchcase(str(point), e.matches)), None)
            if by is not None:
                left_out[by] += 1
                continue
            holes[str(point).partition("[")[0] if point.kind == "port" else str(point)] += 1
        count[1] += 1
    return Coverage(
        shares=tuple(Share(module, kind, total, done) for (module, kind), (done, total) in sorted(counts.items())),
        excluded=tuple(Exclusion(e.matches, e.reason, n) for e, n in zip(excluded, left_out, strict=True)),
        holes=tuple(f"{hole}, {count} points" if count > 1 else hole for hole, count in holes.items()),
    )
