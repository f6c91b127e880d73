"""The command line: each command is a module of `moesaic.commands`."""

import signal
from types import FrameType
from typing import Annotated, NoReturn

import typer

import moesaic
from moesaic.commands import (
    ablate,
    baseline,
    evaluate,
    explore,
    generate,
    models,
    quantise,
    registers,
    report,
    route,
    run,
    runtime,
    scenes,
    simulate,
    sweep_rows,
    synth,
    train,
    verify,
)
from moesaic.commands import boards as boards_module
from moesaic.commands import compile as compile_module
from moesaic.commands.command import PlainFlags
from moesaic.terminal import end_of_results, settle_streams

__all__ = ["app", "main"]

app = typer.Typer(
    name="moesaic",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From a mixture-of-experts vision transformer in PyTorch to an accelerator: RTL, program, proof and report.",
)
# In the order of `moesaic --help`.
app.command(cls=PlainFlags, epilog=run.EXAMPLES)(run.run)
app.command(cls=PlainFlags, name="compile", epilog=compile_module.EXAMPLES)(compile_module.compile_)
app.command(cls=PlainFlags, epilog=quantise.EXAMPLES)(quantise.quantise)
app.command(cls=PlainFlags, epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(cls=PlainFlags, epilog=simulate.EXAMPLES)(simulate.simulate)
app.command(cls=PlainFlags, epilog=models.EXAMPLES)(models.models)
app.command(cls=PlainFlags, epilog=boards_module.EXAMPLES)(boards_module.boards)
app.command(cls=PlainFlags, epilog=generate.EXAMPLES)(generate.generate)
app.command(cls=PlainFlags, epilog=synth.EXAMPLES)(synth.synth)
app.command(cls=PlainFlags, epilog=route.EXAMPLES)(route.route)
app.command(cls=PlainFlags, epilog=explore.EXAMPLES)(explore.explore)
app.command(cls=PlainFlags, epilog=runtime.EXAMPLES)(runtime.runtime)
app.command(cls=PlainFlags, epilog=registers.EXAMPLES)(registers.registers)
app.command(cls=PlainFlags, epilog=scenes.EXAMPLES)(scenes.scenes)
app.command(cls=PlainFlags, epilog=report.EXAMPLES)(report.report)
app.command(cls=PlainFlags, epilog=ablate.EXAMPLES)(ablate.ablate)
app.command(cls=PlainFlags, epilog=baseline.EXAMPLES)(baseline.baseline)
app.command(cls=PlainFlags, epilog=train.EXAMPLES)(train.train)
app.command(cls=PlainFlags, name="sweep-rows", epilog=sweep_rows.EXAMPLES)(sweep_rows.sweep_rows)
app.command(cls=PlainFlags, epilog=verify.EXAMPLES)(verify.verify)


def _version(show: bool) -> None:
    if show:
        print(f"moesaic {moesaic.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that temporary folders go


def main() -> None:
    """Entry point of the `moesaic` command."""
    settle_streams()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app(prog_name="moesaic")
    finally:
        end_of_results()
