"""What campaigns of verification came to, as a page with its data beside it."""

import importlib.resources
import json
from dataclasses import replace
from pathlib import Path

import jinja2
from rich.table import Table

from moesaic.errors import InputError
from moesaic.flow.verify.all import CAMPAIGNS, Signoff
from moesaic.json_file import read_json
from moesaic.records import from_plain, to_plain
from moesaic.terminal import result_console

__all__ = ["page", "print_signoff", "read_signoff", "write_signoff"]

_MOST_BYTES = 1 << 26


def page(signoff: Signoff) -> str:
    """The page in Markdown."""
    source = (importlib.resources.files("moesaic.report") / "signoff.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(campaigns=signoff.campaigns).rstrip("\n") + "\n"


def _data(path: Path) -> Path:
    return path.with_name("signoff.json")


def write_signoff(signoff: Signoff, path: Path) -> None:
    """Write the page, and its data beside it. Campaigns that are there already and are not among these stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _data(path).exists():
        names = {campaign.origin.campaign for campaign in signoff.campaigns}
        kept = [campaign for campaign in read_signoff(path).campaigns if campaign.origin.campaign not in names]
        order = list(CAMPAIGNS)
        both = sorted([*kept, *signoff.campaigns], key=lambda campaign: order.index(campaign.origin.campaign))
        signoff = replace(signoff, campaigns=tuple(both))
    _data(path).write_text(json.dumps(to_plain(signoff), indent=1) + "\n", encoding="utf-8")
    path.write_text(page(signoff), encoding="utf-8")


def read_signoff(path: Path) -> Signoff:
    """The data beside a page.

    Raises
    ------
    InputError
        If they cannot be read.
    """
    data = read_json(_data(path), most=_MOST_BYTES, what="sign-off data", error=InputError)
    return from_plain(Signoff, data, "signoff")


def print_signoff(signoff: Signoff) -> None:
    """The table for a terminal, then the failures."""
    console = result_console()
    for campaign in signoff.campaigns:
        console.print(f"{campaign.title}: {campaign.cases:,} cases")
        table = Table("ending", "cases")
        for ending, cases in campaign.endings.items():
            table.add_row(ending, f"{cases:,}")
        console.print(table)
        if campaign.coverage is not None:
            for kind, (hit, points) in campaign.coverage.totals().items():
                console.print(f"{kind}: {hit:,} of {points:,} ({100 * hit / points:.2f} %)")
    for campaign in signoff.campaigns:
        for failure in campaign.failures:
            console.print(f"{campaign.origin.campaign} {failure.case}, {failure.what}: {failure.found}", markup=False)
    console.print(f"{signoff.failures:,} failures", style="bold red" if signoff.failures else "bold green")
