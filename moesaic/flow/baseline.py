"""The same network on the user's own machine, by PyTorch: time and energy of an image."""

import datetime
import itertools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from moesaic.energy.baselines import Baseline, BaselineRow
from moesaic.errors import InputError
from moesaic.flow.power import gpu_reader, package_reader, watching
from moesaic.flow.stages import Stages
from moesaic.golden.layers.quick import FORMS, quick_layer
from moesaic.golden.m3vit import M3ViT

__all__ = ["MODES", "Ways", "find_device", "measure"]

MODES = ("eager", "compile", "graph")
_NO_FORM = "none"  # of a network without mixtures
_WARM = 3  # calls before the clock starts
_PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
METHOD = (
    "patch embedding to last block, no head; 'loop': experts one by one, sizes read back to the host; 'dense': every "
    "expert on every token, scores select; 'grouped': tokens sorted by expert, one grouped product; 'compile': "
    "torch.compile; 'graph': CUDA graph. Times: mean of back-to-back calls. Watts: mean over those calls, first third "
    "of the readings dropped; energy = watts x time"
)


@dataclass(frozen=True, kw_only=True)
class Ways:
    """Which ways to run a network are measured.

    Parameters
    ----------
    batches : sequence of int
    forms, modes : sequence of str
    seconds : float
        Of back-to-back calls for each way.
    precision : str
        Empty: bfloat16 on a GPU, else float32.

    Raises
    ------
    InputError
    """

    batches: Sequence[int] = (1, 8)
    forms: Sequence[str] = tuple(FORMS)
    modes: Sequence[str] = MODES
    seconds: float = 1.0
    precision: str = ""

    def __post_init__(self) -> None:
        for what, given, known in (("experts", self.forms, tuple(FORMS)), ("modes", self.modes, MODES)):
            for name in given:
                if name not in known:
                    raise InputError(f"{what} must be some of {', '.join(known)}, not {name!r}")
        if not self.batches or not all(1 <= batch <= 4096 for batch in self.batches):
            raise InputError(f"batch must be from 1 to 4096 images, not {self.batches!r}")
        if self.precision and self.precision not in _PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(_PRECISIONS)}, not {self.precision!r}")


def find_device(name: str) -> torch.device:
    """The device of that name: `cpu`, `cuda` or `cuda:1`.

    Raises
    ------
    InputError
        If this machine, or this torch, has none such.
    """
    if re.fullmatch(r"cpu|cuda(:\d+)?", name) is None:
        raise InputError(f"device must be cpu or cuda, not {name!r}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device must be cpu here, not {name!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices (a torch with CUDA is at pytorch.org)"
        )
    return device


class _Timed(nn.Module):
    """Normalised images to tokens behind the last block, mixtures in one form."""

    def __init__(self, model: M3ViT, form: str) -> None:
        super().__init__()
        self.model, self.form = model, form

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        run = self.model.run_of(0)
        x = self.model.embed(images)
        for step in self.model.steps():
            x = x + quick_layer(step.layer, step.norm(x), run, self.form)
        return x


def _graphed(call: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> Callable[[], Any]:
    """A CUDA graph of a call."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(_WARM):
            call(images)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(images)
    return graph.replay


def _prepared(network: _Timed, images: torch.Tensor, mode: str) -> Callable[[], Any]:
    """What is called back to back."""
    if mode == "graph":
        return _graphed(network, images)
    call = torch.compile(network) if mode == "compile" else network
    return lambda: call(images)


def _timed(call: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Seconds of a call, of as many as fill the time."""

    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    settle()
    begin, calls = time.perf_counter(), 0
    while True:
        call()
        calls += 1
        if calls % 8 == 0 or device.type == "cpu":
            settle()
            if time.perf_counter() - begin >= seconds:
                return (time.perf_counter() - begin) / calls


def _impossible(device: torch.device, form: str, mode: str) -> str:
    """Why a way cannot be; empty if it can."""
    if mode == "graph" and device.type != "cuda":
        return "a CUDA graph needs a GPU"
    return "the loop reads sizes back to the host" if form == "loop" and mode != "eager" else ""


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = found[1].strip() if found else "processor"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


@torch.inference_mode()
def measure(model: M3ViT, device: torch.device, ways: Ways, stages: Stages) -> Baseline:
    """Time a network on a device, in every way that is possible there; what is not is said.

    Parameters
    ----------
    model : M3ViT
        Moved to the device; not to be used for anything else afterwards.
    """
    sizes = model.network
    precision = ways.precision or ("bfloat16" if device.type == "cuda" else "float32")
    model = model.to(device=device, dtype=_PRECISIONS[precision]).eval()
    reader, said = gpu_reader(device.index or 0) if device.type == "cuda" else package_reader()
    stages.say(f"           {said}")
    net, rows = f"{sizes.name} {sizes.image.height}x{sizes.image.width}", []
    for batch, form, mode in itertools.product(
        ways.batches, ways.forms if sizes.mixtures else (_NO_FORM,), dict.fromkeys(ways.modes)
    ):
        title = f"batch {batch}, experts {form}, {mode}" if sizes.mixtures else f"batch {batch}, {mode}"
        if why := _impossible(device, form, mode):
            stages.say(f"           {title}: not measured, {why}")
            continue
        made = torch.Generator().manual_seed(batch)
        images = torch.randn(batch, *sizes.image.shape, generator=made).to(device, _PRECISIONS[precision])
        with stages.stage("measure", title):
            try:
                call = _prepared(_Timed(model, form), images, mode)
                for _ in range(_WARM):
                    call()
                with watching(reader) as watts:
                    seconds = _timed(call, device, ways.seconds)
            except (RuntimeError, NotImplementedError) as error:  # no compiler, no such product, no memory
                stages.warn(f"{title}: not measured, {str(error).strip().partition(chr(10))[0]}")
                continue
        ms, mean = 1e3 * seconds, watts.mean
        energy = None if mean is None else mean * ms / batch
        rows.append(
            BaselineRow(
                net=net,
                batch=batch,
                moe=form,
                mode=mode,
                ms_call=ms,
                ms_image=ms / batch,
                watts=mean,
                mj_image=energy,
            )
        )
    if not rows:
        raise InputError(f"modes must be some that {device} can do, not {', '.join(ways.modes)}")
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return Baseline(device=_named(device), date=today, precision=precision, method=METHOD, rows=tuple(rows))
