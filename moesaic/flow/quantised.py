"""The quantised network of a request, kept in the cache by the content of everything it is made from."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from moesaic.errors import InputError
from moesaic.flow.calibration import Calibration, calibration
from moesaic.flow.finer import choose_finer
from moesaic.flow.request import Request
from moesaic.golden import quantfile, weights
from moesaic.golden.finer import NO_FINER, FinerLayer
from moesaic.golden.importers.imported import Imported
from moesaic.golden.importers.imported_heads import imported_heads
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.memory import kept_memory
from moesaic.golden.prefix import narrow_model, narrow_quantised
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.recentre import check_heads, recentred
from moesaic.store import Store, key_of

__all__ = ["FloatModel", "Quantised", "load_float", "quantised", "source_hash"]

_FILE, _CHOICE = "network.safetensors", "finer.json"


@dataclass(frozen=True)
class FloatModel:
    """A float network with its heads, and where its parameters come from.

    Parameters
    ----------
    model : M3ViT
    heads : mapping of task to Module
        A task without a known head is not in it.
    kind : str
        Where the parameters come from: one of `golden.qmodel.WEIGHTS`.
    digest : str
        SHA-256 over configuration and parameters (hex).
    """

    model: M3ViT
    heads: Mapping[str, nn.Module]
    kind: str
    digest: str

    def narrowed(self, request: Request) -> "FloatModel":
        """With the hidden units that a request uses; `digest` stays that of all."""
        return self if request.hidden is None else replace(self, model=narrow_model(self.model, request.model))


@dataclass(frozen=True)
class Quantised:
    """A quantised network.

    Parameters
    ----------
    model : QuantModel
    found : bool
        It was in the cache.
    key : str
        Of what it is made from.
    finer : tuple of FinerLayer
        Layers that were given more bits.
    """

    model: QuantModel
    found: bool
    key: str
    finer: tuple[FinerLayer, ...] = ()


def _source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a name inside a module
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def source_hash(module: str) -> str:
    """SHA-256 over the sources of a module of this package and of all modules of the package that it imports (hex)."""
    waiting, found = [module], dict[str, bytes]()
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found[name] = path.read_bytes()
        for node in ast.walk(ast.parse(found[name])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("moesaic."):
                waiting += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.startswith("moesaic.")]
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + hashlib.sha256(found[name]).digest())
    return digest.hexdigest()


def _imported(imported: Imported) -> tuple[M3ViT, Mapping[str, nn.Module], str]:
    model = M3ViT(imported.network)
    model.load_state_dict(imported.state)
    return model.eval(), imported_heads(imported), imported.report.kind


def load_float(request: Request) -> FloatModel:
    """The float network of a request.

    Raises
    ------
    WeightError
        If parameters are missing, of the wrong shape, NaN or infinite.
    InputError
        If the file cannot be read, or norms shall subtract no mean and a norm or head needs it.
    """
    model: M3ViT
    heads: Mapping[str, nn.Module]
    kind: str
    try:
        if request.imported is not None:
            model, heads, kind = _imported(request.imported)
        else:
            model, own, kind = weights.load(request.model.name, request.seed, request.weights)
            heads = dict(own.items())
    except OSError as error:
        raise InputError(f"weights must be a readable file, not {str(request.weights)!r} ({error.strerror})") from error
    if request.recentre:
        check_heads(heads, model.network)
        model = recentred(model)
    digest = hashlib.sha256(repr(model.network).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return FloatModel(model, heads, kind, digest.hexdigest())


def quantised(
    network: FloatModel,
    request: Request,
    *,
    cache: Path | None = None,
    seen: Calibration | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Quantised:
    """The quantised network, from the cache if it is there.

    Parameters
    ----------
    network, request
    cache : Path, optional
        Root of the `Store`; `cache_root()` if not given.
    seen : Calibration, optional
        The request's images, if they have been read.
    note : callable of str
        Told how far it is.

    Raises
    ------
    ImageError, CalibrationError
        If there are no images, or the network's values are not finite on them.
    InputError
        If layers shall have so many bits that an SQNR is reached, and it cannot be.
    """
    seen = calibration(request) if seen is None else seen
    made = _quantised(network, request, seen, NO_FINER, cache=cache, note=note)
    if not request.mixed:
        return made
    rows = _chosen(network, request, seen, made, cache=cache, note=note)
    mixed = _quantised(network, request, seen, {row.name: row.finer for row in rows}, cache=cache, note=note)
    return replace(mixed, finer=rows)


def _chosen(
    network: FloatModel,
    request: Request,
    seen: Calibration,
    made: Quantised,
    *,
    cache: Path | None,
    note: Callable[[str], None],
) -> tuple[FinerLayer, ...]:
    """Layers that get more bits, chosen on the images to judge by."""
    model = network.narrowed(request).model
    qmodel = made.model if request.hidden is None else narrow_quantised(made.model, request.model)
    key = key_of(
        made.key,
        np.ascontiguousarray(seen.unseen).tobytes(),
        request.accelerator.hash,
        f"{request.target_db} {request.budget} {request.hidden} {request.tasks} {request.blocks} {request.speculate}",
        source_hash("moesaic.flow.finer"),
    )

    def make(folder: Path) -> None:
        with kept_memory():
            rows = choose_finer(model, request, qmodel, seen, note=note)
        (folder / _CHOICE).write_text(json.dumps([row.to_dict() for row in rows]), encoding="utf-8")

    entry = Store("finer", root=cache).obtain(key, make)
    return tuple(FinerLayer(**row) for row in json.loads((entry.path / _CHOICE).read_text(encoding="utf-8")))


def _quantised(
    network: FloatModel,
    request: Request,
    seen: Calibration,
    finer: Mapping[str, str],
    *,
    cache: Path | None,
    note: Callable[[str], None],
) -> Quantised:
    images = seen.images
    key = key_of(
        network.digest,
        network.kind,
        str(images.shape),
        np.ascontiguousarray(images).tobytes(),
        str(request.accelerator.acc_bits),
        request.widths,
        json.dumps([dict(finer), request.reconstruct]),
        source_hash("moesaic.golden.quantize"),
        torch.__version__,
        np.__version__,
    )

    def make(folder: Path) -> None:
        with kept_memory():
            result = quantize(
                network.model,
                images,
                weights=network.kind,
                acc_bits=request.accelerator.acc_bits,
                expert_bits=request.expert_bits,
                finer=finer,
                reconstruct=request.reconstruct,
                note=note,
            )
        quantfile.save(result, folder / _FILE)

    entry = Store("networks", root=cache).obtain(key, make)
    return Quantised(quantfile.load(entry.path / _FILE), entry.found, key)
