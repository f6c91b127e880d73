#!/usr/bin/env python3
"""Frames from a video, a camera or a folder through the accelerator; frames per second and the time of every stage.

    python3 video_stream.py program street.mp4 --bitfile zcu102.bit
    python3 video_stream.py program 0 --bitfile zcu102.bit --frames 300       # camera 0
    python3 video_stream.py program street.mp4 --xdma /dev/xdma0              # a PCI Express card
    python3 video_stream.py program frames/                                   # without a board: functional simulator

The stages overlap: while the accelerator works on a frame, the host reads and writes the next one and runs the head of
the last. So the time of a frame is not the sum of its stages.
"""

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from moesaic.boards.frames import frames
from moesaic.boards.runtime import Accelerator


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="folder that `moesaic compile` wrote")
    parser.add_argument("source", help="video, number of a camera, folder of images, or .npy")
    parser.add_argument("--bitfile", type=Path, help=".bit with its .hwh beside it")
    parser.add_argument("--xdma", help="devices of a card, such as /dev/xdma0")
    parser.add_argument("--task", default="all", help="a task of the program, or 'all' for one after the other")
    parser.add_argument("--frames", type=int, default=None, help="stop after so many")
    parser.add_argument("--loop", action="store_true", help="begin again when the source ends (with --frames)")
    parser.add_argument("--retries", type=int, default=1, help="further attempts of a run that failed")
    arguments = parser.parse_args()
    if arguments.loop and arguments.frames is None:
        parser.error("--loop needs --frames")
    stages: dict[str, list[float]] = defaultdict(list)

    with open_accelerator(arguments) as accelerator:
        tasks = accelerator.tasks if arguments.task == "all" else (arguments.task,)

        turns = itertools.cycle(tasks)

        def source() -> Iterator[tuple[np.ndarray, str]]:
            while True:
                images = frames(arguments.source, accelerator.image_size, accelerator.channels)
                while True:
                    begun = time.perf_counter()
                    item = next(images, None)
                    if item is None:
                        break
                    stages["frame"].append(time.perf_counter() - begun)
                    yield item[1], next(turns)
                if not arguments.loop:
                    return

        began, cycles, failures = time.perf_counter(), 0, 0
        for prediction in accelerator.stream(itertools.islice(source(), arguments.frames)):
            for stage, seconds in prediction.seconds.items():
                stages[stage].append(seconds)
            cycles += prediction.counters["cycles"]
            failures += len(prediction.failures)
        total, count = time.perf_counter() - began, len(stages["run"])
        clock = accelerator.program.config.clock_mhz

    print(f"{count} frames in {total:.2f} s: {count / total:.1f} frames per second, {failures} attempts repeated")
    explained = {
        "frame": "read and scale a frame",
        "write": "pack it and write it to memory",
        "run": "start to interrupt seen",
        "read": "result out of memory",
        "head": "task head on the host",
    }
    for stage, meaning in explained.items():
        times = 1e3 * np.array(stages[stage])
        print(f"  {stage:6} {times.mean():8.2f} ms on average, {times.max():8.2f} ms at most   {meaning}")
    if cycles:
        alone = cycles / count / clock / 1e3
        print(
            f"  {'alone':6} {alone:8.2f} ms of the run the accelerator was at work ({cycles // count:,} cycles at "
            f"{clock:g} MHz)"
        )


if __name__ == "__main__":
    try:
        main()
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f"error: {error}") from error
