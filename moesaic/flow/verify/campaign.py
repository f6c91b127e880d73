"""Campaigns: cases by number, in chunks that know nothing of each other, recorded as they come: a night of them can be
resumed.
"""

import functools
import json
import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import moesaic
from moesaic.errors import InputError
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Job, Need, Runner
from moesaic.flow.verify.covered import Coverage
from moesaic.flow.verify.tried import tried_digest
from moesaic.json_file import read_utf8
from moesaic.records import from_plain, to_plain
from moesaic.schema import Text

__all__ = ["Campaign", "CampaignReport", "Chunk", "Failure", "Origin", "run_campaign"]

TOGETHER = 1000  # cases whose failures are tried again in one task
_MOST = 1 << 30  # bytes of a record


@dataclass(frozen=True)
class Failure:
    """A case that did not end as it must.

    Parameters
    ----------
    case : int
    what : str
        What was done.
    found : str
        What came of it.
    """

    case: int
    what: str
    found: str


@dataclass(frozen=True)
class Chunk:
    """What the cases of one chunk came to.

    Parameters
    ----------
    number : int
    cases : int
    endings : mapping of str to int
        How many ended in each way.
    failures : tuple of Failure
    covered : str
        Of a campaign that measures coverage: the points that were hit, one bit each, in hexadecimal.
    """

    number: int
    cases: int
    endings: Mapping[str, int]
    failures: tuple[Failure, ...]
    covered: Annotated[str, Text(r"[0-9a-f]*", 1 << 20, "a hexadecimal number")] = ""


@dataclass(frozen=True)
class Origin:
    """What results belong to; those of another are not added up.

    Parameters
    ----------
    campaign : str
    seed : int
    chunk_cases : int
    hardware : str
        Digest of what is tried: `tried_digest`, unless the campaign has its own.
    version : str
        Of this package.
    """

    campaign: str
    seed: int
    chunk_cases: int
    hardware: str
    version: str


@dataclass(frozen=True)
class Campaign:
    """A kind of cases.

    Parameters
    ----------
    name, title : str
    chunk_cases : int
        Cases of a chunk: what one simulation runs.
    prepare : callable
        Makes what all chunks share; picklable.
    function : callable of shared, (seed, chunk), Stages
        Runs a chunk, and gives the same wherever it runs.
    need : callable of shared
        What must be built first, or None.
    tolerant : bool
        Failures are results, such as mutants that nothing notices, and no reason to stop.
    measure : callable of int, optional
        The coverage, given what all chunks have hit together.
    digest : callable
        Of what is tried.
    excused : callable of Failure
        The ending as which a recorded failure counts in place of `found`, if it is none after all; empty if it is one.
    again : callable of shared, (seed, cases), Stages, optional
        Tries single cases, and gives the ending of each.
    """

    name: str
    title: str
    chunk_cases: int
    prepare: Callable[[], Any]
    function: Callable[[Any, tuple[int, int], Stages], Chunk]
    need: Callable[[Any], Need | None]
    tolerant: bool = False
    measure: Callable[[int], Coverage] | None = None
    digest: Callable[[], str] = tried_digest
    excused: Callable[[Failure], str] = lambda _: ""
    again: Callable[[Any, tuple[int, tuple[int, ...]], Stages], Mapping[int, str]] | None = None


@dataclass(frozen=True)
class CampaignReport:
    """What a campaign has come to so far.

    Parameters
    ----------
    origin : Origin
    title : str
    cases : int
    endings : mapping of str to int
    failures : tuple of Failure
    tolerant : bool
        As of the campaign.
    coverage : Coverage or None
    asked : int
        Cases to ask for to have these: where chunks are smaller than the campaign says, there are fewer.
    """

    origin: Origin
    title: str
    cases: int
    endings: Mapping[str, int]
    failures: tuple[Failure, ...]
    tolerant: bool = False
    coverage: Coverage | None = None
    asked: int = 0


def _read(path: Path, origin: Origin) -> dict[int, Chunk]:
    """Recorded chunks by number. A last line that was cut short, by a kill or a full disk, is no record."""
    text = read_utf8(path, most=_MOST, what="record of a campaign", kind="a readable record", error=InputError)
    lines = text.split("\n")[:-1]
    try:
        found = from_plain(Origin, json.loads(lines[0]), "origin") if lines else origin
        chunks = [from_plain(Chunk, json.loads(line), "chunk") for line in lines[1:]]
    except ValueError as problem:
        raise InputError(
            f"record of a campaign must be as `moesaic verify` wrote it, not {str(path)!r} ({problem})"
        ) from None
    for name, value in vars(origin).items():
        if getattr(found, name) != value:
            raise InputError(
                f"out must hold results with {name} {value!r}, not {getattr(found, name)!r} ({path}): "
                "name another folder, or remove that file"
            )
    return {chunk.number: chunk for chunk in chunks}


def _start(path: Path, origin: Origin, done: Mapping[int, Chunk]) -> None:
    """The record anew, whole lines only."""
    lines = [to_plain(origin), *(to_plain(chunk) for chunk in done.values())]
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    part.replace(path)


def _hit(chunks: Iterable[Chunk]) -> int:
    return functools.reduce(operator.or_, (int(chunk.covered or "0", 16) for chunk in chunks), 0)


def _missing(count: int, chunk_cases: int, done: Mapping[int, Chunk]) -> Iterator[int]:
    return (number for number in range(-(-count // chunk_cases)) if number not in done)


def _updated(chunk: Chunk, endings: Mapping[int, str]) -> Chunk:
    """A chunk of which some failures have been tried again."""
    counts = Counter(chunk.endings)
    left = []
    for failure in chunk.failures:
        ending = endings.get(failure.case, failure.found)
        counts.update({failure.found: -1})
        counts.update({ending: 1})
        if ending == failure.found:
            left.append(failure)
    return replace(chunk, endings={ending: n for ending, n in sorted(counts.items()) if n}, failures=tuple(left))


def _try_again(
    campaign: Campaign, seed: int, done: dict[int, Chunk], path: Path, stages: Stages, runner: Runner
) -> None:
    """What becomes of recorded failures today, in `done` and in the record."""
    if campaign.again is None:
        raise InputError(f"again must be for a campaign whose cases can be tried one by one, not {campaign.name}")
    failed: dict[int, list[int]] = defaultdict(list)
    for chunk in done.values():
        for failure in chunk.failures:
            if not campaign.excused(failure):
                failed[failure.case // TOGETHER].append(failure.case)
    items = [(seed, tuple(sorted(cases))) for _, cases in sorted(failed.items())]
    if not items:
        return

    def take(number: int, endings: Mapping[int, str]) -> None:
        for place in {case // campaign.chunk_cases for case in endings}:
            done[place] = _updated(done[place], endings)
        _start(path, Origin(campaign.name, seed, campaign.chunk_cases, campaign.digest(), moesaic.__version__), done)

    count = sum(len(cases) for _, cases in items)
    job = Job(
        name=campaign.name,
        title=f"{campaign.title}: {count:,} cases again",
        function=campaign.again,
        common=campaign.prepare(),
        items=items,
    )
    runner.run(job, stages, done=take)


def run_campaign(
    campaign: Campaign,
    *,
    count: int,
    seed: int,
    folder: Path,
    stages: Stages,
    runner: Runner | None = None,
    again: bool = False,
) -> CampaignReport:
    """Run what is missing of a campaign's first `count` cases, rounded up to whole chunks. With `again`, recorded
    failures first.

    Parameters
    ----------
    campaign : Campaign
    count, seed : int
    folder : Path
        For the record, NAME.jsonl: each chunk is added when it is done.
    stages : Stages
    runner : Runner, optional
        Where chunks are run; here if not given.

    Raises
    ------
    InputError
        If the record there is of another seed, hardware or version, or is none; if the campaign's failures cannot be
        tried again.
    """
    origin = Origin(campaign.name, seed, campaign.chunk_cases, campaign.digest(), moesaic.__version__)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{campaign.name}.jsonl"
    done = _read(path, origin) if path.exists() else {}
    _start(path, origin, done)
    if again:
        _try_again(campaign, seed, done, path, stages, runner or InProcess())
    missing = list(_missing(count, campaign.chunk_cases, done))
    total = len(done) + len(missing)
    if missing:
        shared = campaign.prepare()
        need = campaign.need(shared)
        with path.open("a", encoding="utf-8") as record:

            def take(number: int, chunk: Chunk) -> None:
                done[chunk.number] = chunk
                record.write(json.dumps(to_plain(chunk)) + "\n")
                record.flush()
                found = sum(len(c.failures) for c in done.values())
                stages.note(f"{total - len(done)} chunks to go, {found} failures")

            job = Job(
                name=campaign.name,
                title=f"{campaign.title}: {len(missing) * campaign.chunk_cases:,} cases",
                function=campaign.function,
                common=shared,
                items=[(seed, number) for number in missing],
                needs=lambda _: need,
            )
            (runner or InProcess()).run(job, stages, done=take)
    chunks = [done[number] for number in sorted(done)]
    endings: Counter[str] = Counter()
    failures: list[Failure] = []
    for chunk in chunks:
        endings.update(chunk.endings)
        for failure in chunk.failures:
            ending = campaign.excused(failure)
            if ending:
                endings.update({failure.found: -1, ending: 1})
            else:
                failures.append(failure)
    return CampaignReport(
        origin=origin,
        title=campaign.title,
        cases=sum(chunk.cases for chunk in chunks),
        endings={ending: cases for ending, cases in sorted(endings.items()) if cases},
        failures=tuple(failures),
        tolerant=campaign.tolerant,
        coverage=None if campaign.measure is None else campaign.measure(_hit(chunks)),
        asked=len(chunks) * campaign.chunk_cases,
    )
