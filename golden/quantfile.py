"""A quantised network as a file: arrays in safetensors, everything else as JSON in its metadata."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from moesaic.golden.layers.kinds import PARTS
from moesaic.golden.layers.sizes import SIZES, NormSizes
from moesaic.golden.network import Network
from moesaic.golden.nodes import Edge, Image, Node, Origin, Sharing, TaskEmbeddingSizes
from moesaic.golden.numerics import IntArray
from moesaic.golden.qmodel import QuantBlock, QuantModel

__all__ = ["decode", "digest", "encode", "load", "save"]

FORMAT = "moesaic-quantised-4"
MOST_BYTES = 1 << 30  # of a file that is read
_NETWORK = (Network, Image, TaskEmbeddingSizes, Node, *SIZES.values(), NormSizes, Edge, Origin, Sharing)
TYPES: dict[str, Any] = {t.__name__: t for t in (*PARTS, QuantBlock, QuantModel, *_NETWORK)}


def encode(value: Any, path: str, arrays: dict[str, IntArray]) -> Any:
    """JSON for a tree of dataclasses, tuples and dictionaries; arrays go to `arrays` under their path, each once."""
    if isinstance(value, np.ndarray):
        path = next((known for known, array in arrays.items() if array is value), path)
        arrays[path] = np.ascontiguousarray(value)
        return {"array": path}
    if dataclasses.is_dataclass(value):
        fields = {
            f.name: encode(getattr(value, f.name), f"{path}.{f.name}".lstrip("."), arrays)
            for f in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, "fields": fields}
    if isinstance(value, tuple):
        return [encode(item, f"{path}.{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {"map": {key: encode(item, f"{path}.{key}", arrays) for key, item in value.items()}}
    return value


def decode(value: Any, arrays: dict[str, IntArray]) -> Any:
    """What `encode` was given."""
    if isinstance(value, list):
        return tuple(decode(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "map" in value:
        return {key: decode(item, arrays) for key, item in value["map"].items()}
    return TYPES[value["type"]](**{key: decode(item, arrays) for key, item in value["fields"].items()})


def save(qmodel: QuantModel, path: str | Path) -> None:
    """Write a network; the file appears whole or not at all."""
    path, arrays = Path(path), dict[str, IntArray]()
    tree = encode(qmodel, "", arrays)
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(arrays, partial, metadata={"format": FORMAT, "model": json.dumps(tree, separators=(",", ":"))})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def digest(qmodel: QuantModel) -> str:
    """SHA-256 over every number of a network, and over what is called what (hex)."""
    arrays = dict[str, IntArray]()
    tree = encode(qmodel, "", arrays)
    total = hashlib.sha256(json.dumps(tree, separators=(",", ":")).encode())
    for name, array in arrays.items():
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return total.hexdigest()


def load(path: str | Path) -> QuantModel:
    """Read what `save` wrote, exactly.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a quantised network of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"quantised model must be a file, not {str(path)!r}")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"quantised model must be at most {MOST_BYTES} bytes, not {path.stat().st_size}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format must be {FORMAT}, not {metadata.get('format')!r}")
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
        model = decode(json.loads(metadata["model"]), arrays)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"quantised model must be a file that save wrote, not {str(path)!r} ({error})") from error
    if not isinstance(model, QuantModel):
        raise ValueError(f"quantised model must hold a network, not {type(model).__name__!r}")
    return model
