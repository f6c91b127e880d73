#!/usr/bin/env python3
"""Run images on a board: bitstream and program folder in, segmentation or depth maps out.

On a board with PYNQ (as root, as PYNQ wants it):

    python3 run_image.py program street.png --bitfile zcu102.bit --task all --out maps

Beside a PCI Express card whose bitstream is loaded, with AMD's XDMA driver:

    python3 run_image.py program street.png --xdma /dev/xdma0 --task all --out maps

Without --bitfile and --xdma the functional simulator takes the board's place (that needs the whole of moesaic, not only
its runtime).
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.boards.frames import frames, write_picture
from moesaic.boards.runtime import Accelerator, Prediction


def open_accelerator(arguments: argparse.Namespace) -> Accelerator:
    """The card, the board, or the functional simulator if neither is given."""
    if arguments.xdma is not None:
        return Accelerator.open_card(arguments.program, device=arguments.xdma, retries=arguments.retries)
    if arguments.bitfile is None:
        try:
            from moesaic.sim.device import open_simulated
        except ImportError as error:
            raise RuntimeError("--bitfile or --xdma must be given: the host runtime has no simulator") from error
        return open_simulated(arguments.program, retries=arguments.retries)
    return Accelerator.open(arguments.bitfile, arguments.program, retries=arguments.retries)


def show(accelerator: Accelerator, prediction: Prediction, name: str, folder: Path) -> None:
    """Print how long the run of a prediction took, and write its map."""
    cycles, task = prediction.counters["cycles"], prediction.task
    print(f"{name} {task}: {1e3 * prediction.seconds['run']:.2f} ms to the interrupt", end="")
    print(f", {cycles:,} cycles in the accelerator" if cycles else " (cycles are not simulated)", end="")
    if prediction.map is None or accelerator.heads is None:
        print("; the program has no head for this task")
        return
    print(f" -> {write_picture(folder / f'{name}-{task}', accelerator.heads.picture(prediction.map))}")


def measure(accelerator: Accelerator, image: np.ndarray[Any, Any], seconds: float, folder: Path) -> None:
    """Print what the board takes while it runs an image, and write it."""
    power = accelerator.measure(image, seconds=seconds).power
    assert power is not None
    for name, rail in power.rails.items():
        added = 1e3 * power.joules_an_image(name)
        print(f"rail {name}: {rail.idle_w:.2f} W idle, {rail.busy_w:.2f} W busy, {added:.2f} mJ an image more")
    (folder / "power.json").write_text(json.dumps(power.to_dict(), indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="folder that `moesaic compile` wrote")
    parser.add_argument("source", help="image, folder of images, .npy, video, or number of a camera")
    parser.add_argument("--bitfile", type=Path, help=".bit with its .hwh beside it")
    parser.add_argument("--xdma", help="devices of a card, such as /dev/xdma0")
    parser.add_argument("--task", default="all", help="a task of the program, or 'all'")
    parser.add_argument("--out", type=Path, default=Path("maps"), help="folder for the maps")
    parser.add_argument("--retries", type=int, default=1, help="further attempts of a run that failed")
    parser.add_argument("--power", type=float, metavar="SECONDS", help="measure power with the first image, that long")
    arguments = parser.parse_args()
    with open_accelerator(arguments) as accelerator:
        # One program for all tasks, if the folder has one, and as many images at once as it was compiled for.
        apart = accelerator.tasks if arguments.task == "all" and not accelerator.together else (arguments.task,)
        arguments.out.mkdir(parents=True, exist_ok=True)
        source = iter(frames(arguments.source, accelerator.image_size, accelerator.channels))
        while group := list(itertools.islice(source, accelerator.batch)):
            names, images = [name for name, _ in group], [image for _, image in group]
            if arguments.power is not None:
                measure(accelerator, images[0], arguments.power, arguments.out)
                arguments.power = None
            for prediction in itertools.chain.from_iterable(accelerator.run_many(images, task) for task in apart):
                show(accelerator, prediction, names[prediction.image], arguments.out)


if __name__ == "__main__":
    try:
        main()
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
