"""Long campaigns on RTL, which can be resumed."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Cluster, Json, Quiet, SharedCache
from moesaic.errors import FAILED
from moesaic.flow.stages import Stages
from moesaic.terminal import print_json, print_result

__all__ = ["EXAMPLES", "verify"]

EXAMPLES = examples(
    "verify",
    "verify programs --count 100000",
    "verify slaves --seed 7 --json",
    "verify coverage --count 2000",
    "verify mutation --count 200",
    "verify python-mutation --count 300",
    "verify python-mutation --count 300 --again",
    "verify pairs --count 1000",
    "verify legal --count 600",
    "verify --count 1000000 --cluster local:8",
)


@guarded
def verify(
    campaigns: Annotated[
        list[str] | None,
        typer.Argument(
            help="programs, slaves, beats, resets, legal, pairs, coverage, mutation, python-mutation.",
            show_default="programs, slaves",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Cases of each campaign, rounded up to whole simulations.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the cases.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the records. Cases that are there are not run again.")] = Path(
        "out/verify"
    ),
    again: Annotated[
        bool, typer.Option("--again", help="First try recorded mutants again that nothing noticed.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option(help="Markdown page to write, with signoff.json beside it.", show_default="none")
    ] = None,
    cluster: Cluster = None,
    shared_cache: SharedCache = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Try the accelerator with thousands of changed programs, bad memories and interfering hosts, on RTL."""
    from moesaic.flow.runner import open_runner
    from moesaic.flow.verify.all import check_names, run_campaigns
    from moesaic.records import to_plain
    from moesaic.report.signoff import print_signoff, write_signoff

    names = list(dict.fromkeys(campaigns or ()))
    check_names(names)
    stages = Stages(quiet=quiet)
    with open_runner(cluster, stages, shared_cache=shared_cache) as runner:
        result = run_campaigns(names, count=count, seed=seed, folder=out, stages=stages, runner=runner, again=again)
    if page is not None:
        write_signoff(result, page)
    if as_json:
        print_json(to_plain(result))
    else:
        print_signoff(result)
        if page is not None:
            print_result(f"page: {page}")
    if result.failures:
        raise typer.Exit(FAILED)
