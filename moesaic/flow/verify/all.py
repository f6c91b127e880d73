"""The campaigns that there are, and all of them one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moesaic.errors import InputError
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import Runner
from moesaic.flow.verify.beats import BEATS
from moesaic.flow.verify.campaign import Campaign, CampaignReport, run_campaign
from moesaic.flow.verify.coverage import COVERAGE
from moesaic.flow.verify.legal import LEGAL
from moesaic.flow.verify.mutation import MUTATION
from moesaic.flow.verify.pairs import PAIRS
from moesaic.flow.verify.programs import PROGRAMS
from moesaic.flow.verify.python.mutation import PYTHON_MUTATION
from moesaic.flow.verify.resets import RESETS
from moesaic.flow.verify.slaves import SLAVES

__all__ = ["CAMPAIGNS", "USUAL", "Signoff", "check_names", "run_campaigns"]

CAMPAIGNS: Mapping[str, Campaign] = {
    campaign.name: campaign
    for campaign in (PROGRAMS, SLAVES, BEATS, RESETS, LEGAL, PAIRS, COVERAGE, MUTATION, PYTHON_MUTATION)
}
USUAL = (PROGRAMS.name, SLAVES.name)  # mutants take seconds each


@dataclass(frozen=True)
class Signoff:
    """What all campaigns came to.

    Parameters
    ----------
    campaigns : tuple of CampaignReport
    """

    campaigns: tuple[CampaignReport, ...]

    @property
    def failures(self) -> int:
        """Of all campaigns but the tolerant ones."""
        return sum(len(campaign.failures) for campaign in self.campaigns if not campaign.tolerant)


def check_names(names: Sequence[str]) -> None:
    """`InputError` if one of the names is no campaign's."""
    for name in names:
        if name not in CAMPAIGNS:
            raise InputError(f"campaign must be one of {', '.join(CAMPAIGNS)}, not {name!r}")


def run_campaigns(
    names: Sequence[str],
    *,
    count: int,
    seed: int,
    folder: Path,
    stages: Stages,
    runner: Runner | None = None,
    again: bool = False,
) -> Signoff:
    """Run what is missing of these campaigns, as `run_campaign`; the `USUAL` ones if no name is given.

    Raises
    ------
    InputError
        As `run_campaign` and `check_names`.
    """
    check_names(names)
    return Signoff(
        tuple(
            run_campaign(
                CAMPAIGNS[name], count=count, seed=seed, folder=folder, stages=stages, runner=runner, again=again
            )
            for name in names or USUAL
        )
    )
