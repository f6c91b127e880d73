"""Files of strangers: damaged bytes, odd names, shapes and structures give a model or one clear error."""

import collections
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import MICRO, Geometry, dense_state, random_state, transformers_names
from safetensors.torch import save_file

from moesaic.errors import InputError
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions

DRAWS = 30  # of each kind; 2000 take ten minutes on a free core
DENSE = Geometry(16, 16, 8, 32, 2, 2, 64)
STATES: tuple[Callable[[], dict[str, torch.Tensor]], ...] = (
    lambda: random_state(MICRO),
    lambda: random_state(MICRO, conditioned=True),
    lambda: dense_state(DENSE),
    lambda: transformers_names(dense_state(DENSE)),
)
_WORDS = (
    "module blocks 0 7 00 -1 ² weight bias gate w_gate mlp experts a/b .. heads decoders norm ls1 gamma qkv layers {}"
)
PARTS = (*_WORDS.split(), "", "9" * 30, "\n", "_extra_state")


def attempt(path: Path, rng: random.Random) -> bool:
    """Whether a model comes of it; the error, if not, is the project's own, and says more than nothing."""
    try:
        open_model(str(path), ImportOptions(heads=2, fill_missing=rng.random() < 0.3))
    except InputError as error:
        assert str(error).strip() and len(str(error)) < 100_000
        return False
    return True


def odd_name(name: str, rng: random.Random) -> str:
    parts = name.split(".")
    at = rng.randrange(len(parts) + 1)
    choice = rng.randrange(4)
    if choice == 0:
        parts.insert(at, rng.choice(PARTS))
    elif choice == 1 and len(parts) > 1:
        del parts[min(at, len(parts) - 1)]
    elif choice == 2:
        parts[min(at, len(parts) - 1)] = rng.choice(PARTS)
    else:
        parts = [rng.choice(PARTS) for _ in range(rng.randrange(5))]
    return ".".join(parts)


def odd_tensor(tensor: torch.Tensor, rng: random.Random) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sparse tensors are called experimental
        changes: tuple[Callable[[], Any], ...] = (
            lambda: tensor[..., :0],
            lambda: tensor.flatten(),
            lambda: tensor[None],
            lambda: tensor.sum(),
            lambda: tensor.to(torch.int8),
            lambda: tensor > 0,
            lambda: tensor.to(torch.complex64),
            lambda: tensor.to(torch.float8_e4m3fn),
            lambda: tensor.double() * 1e300,
            lambda: tensor / 0,
            lambda: tensor.to_sparse(),
            lambda: tensor.to("meta"),
            lambda: torch.zeros(()).expand(10**6, 10**6),
            lambda: tensor.transpose(0, -1) if tensor.ndim else tensor,
            lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
            lambda: torch.nn.Parameter(tensor),
            lambda: None,
            lambda: [1.0],
            lambda: {"a": tensor},
        )
        return rng.choice(changes)()


def plain(value: Any) -> bool:
    """Whether it can be changed in every way."""
    whole = isinstance(value, torch.Tensor) and value.layout is torch.strided
    return whole and not value.is_meta and not value.is_quantized and value.numel() < 10**6


def odd_state(rng: random.Random) -> dict[Any, Any]:
    state: dict[Any, Any] = dict(rng.choice(STATES)())
    for _ in range(rng.randrange(4)):
        name = rng.choice([key for key in state if isinstance(key, str)])
        choice = rng.randrange(5)
        if choice == 0:
            del state[name]
        elif choice == 1 and plain(state[name]):
            state[name] = odd_tensor(state[name], rng)
        elif choice == 2:
            state[odd_name(name, rng)] = state[name]
        elif choice == 3:
            state[odd_name(name, rng)] = state.pop(name)
        else:
            state[rng.choice((3, b"x", (1, 2), None, 1.5))] = state[name]
    return state


def odd_whole(rng: random.Random) -> Any:
    whole: Any = odd_state(rng)
    for _ in range(rng.randrange(3)):
        key = rng.choice(("model", "state_dict", "model_ema", "teacher", 3, "student", ""))
        choice = rng.randrange(5)
        if choice == 0:
            whole = {key: whole, "other": odd_state(rng)}
        elif choice == 1:
            whole = collections.OrderedDict([(key, whole), ("n", torch.ones(2))])
        elif choice == 2 and isinstance(whole, dict):
            whole = {**whole, key: whole}
        elif choice == 3 and rng.random() < 0.2:
            whole = [whole]
        else:
            whole = {key: whole}
    if isinstance(whole, dict) and rng.random() < 0.1:
        whole["itself"] = whole
    return whole


def test_odd_tensors_names_and_structures(tmp_path):
    rng, models = random.Random(1), 0
    for _ in range(DRAWS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            torch.save(odd_whole(rng), tmp_path / "a.pth")
            models += attempt(tmp_path / "a.pth", rng)
    assert 0 < models < DRAWS


@pytest.mark.parametrize("form", ["zip", "pickle", "safetensors"])
def test_damaged_bytes(tmp_path, form):
    rng, path = random.Random(form), tmp_path / "a"
    for _ in range(DRAWS):
        state = dense_state(Geometry(16, 16, 8, 8, 1, 1, 8))
        if form == "safetensors":
            save_file(state, path)
        else:
            torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
        data = bytearray(path.read_bytes())
        for _ in range(rng.randrange(1, 5)):
            # Most of a file is numbers: half of the damage goes to its ends, where its structure is.
            near = rng.randrange(min(2000, len(data)))
            at = rng.choice((near, len(data) - 1 - near, rng.randrange(len(data))))
            data[at] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(bytes(data))
        attempt(path, rng)


def test_odd_configurations(tmp_path):
    rng, models = random.Random(2), 0
    save_file(transformers_names(dense_state(DENSE)), tmp_path / "model.safetensors")
    right = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "patch_size": 8,
        "image_size": 16,
        "num_channels": 3,
        "qkv_bias": True,
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
    }
    values = (0, -1, 1, 2, 10**400, 1.5, 1e300, True, None, "", "16", [], [16, 16], [1, [2]], {}, {"a": 1}, "gelu_new")
    for _ in range(DRAWS):
        said: dict[str, Any] = dict(right)
        for _ in range(rng.randrange(3)):
            said[rng.choice([*right, "encoder", "vision_config", "model_args"])] = rng.choice(values)
        (tmp_path / "config.json").write_text(json.dumps(said))
        models += attempt(tmp_path, rng)
    assert 0 < models < DRAWS
