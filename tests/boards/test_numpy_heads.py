"""Task heads with numpy equal those with torch; files that are whole, belong to their program, or are refused."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moesaic.boards.numpy_heads import FILE, HeadError, HostHeads, load_heads, save_heads
from moesaic.flow.export_heads import host_heads
from moesaic.golden.config import M3ViTConfig, network_of, preset
from moesaic.golden.heads import build_heads
from moesaic.golden.training.scenes import PALETTE
from moesaic.golden.up_head import UpHead

STEP = 2.0**-9
ODD = M3ViTConfig(name="odd", image_size=(6, 9), patch_size=3, dim=8, heads=2, depth=1, experts=0, class_token=False)
SHA = "0" * 64


def pair(config: M3ViTConfig, seed: int = 3) -> tuple[torch.nn.ModuleDict, HostHeads]:
    heads = build_heads(config, seed)
    for parameter in heads.parameters():  # seeded ones are small; trained ones need not be
        parameter.data *= 3
    qmodel = SimpleNamespace(blocks=[SimpleNamespace(residual_step=STEP)] * config.depth)
    return heads, host_heads(heads, qmodel, blocks=config.depth)


@pytest.mark.parametrize("config", [preset("m3vit-micro"), preset("m3vit-tiny"), ODD], ids=lambda config: config.name)
def test_numpy_heads_equal_torch_heads(config: M3ViTConfig, tmp_path: Path) -> None:
    torch_heads, heads = pair(config)
    save_heads(tmp_path / FILE, heads, program_sha256=SHA)
    heads = load_heads(tmp_path / FILE, program_sha256=SHA)
    rng = np.random.default_rng(1)
    for spread in (100, 4000):
        residual = rng.normal(0, spread, (network_of(config).tokens, config.dim)).clip(-32768, 32767).astype(np.int16)
        tokens = residual.astype(np.float32) * np.float32(STEP)
        with torch.no_grad():
            labels = torch_heads["semseg"](torch.from_numpy(tokens)).numpy()
            depth = torch_heads["depth"](torch.from_numpy(tokens)).numpy()
        scores = heads.heads["semseg"].scores(tokens)
        assert np.abs(scores - labels).max() < 1e-4 * max(1, np.abs(labels).max())
        assert np.abs(heads.map("depth", residual) / depth - 1).max() < 1e-4
        margin = np.sort(labels, axis=0)
        clear = margin[-1] - margin[-2] > 1e-3
        assert clear.mean() > 0.9 and np.array_equal(heads.map("semseg", residual)[clear], labels.argmax(axis=0)[clear])
        assert depth.std() > 0 and labels.std() > 0


@pytest.mark.parametrize("convolutions", [2, 4])
@pytest.mark.parametrize(("task", "channels"), [("semseg", 5), ("depth", 1)])
def test_numpy_up_heads_equal_torch_up_heads(task: str, channels: int, convolutions: int, tmp_path: Path) -> None:
    """M3ViT's own head: batch norms are folded into the convolutions."""
    config = preset("m3vit-micro")
    kernel = 3 if convolutions == 4 else 1
    head = UpHead(network_of(config), task=task, channels=channels, convolutions=convolutions, hidden=16, kernel=kernel)
    rng = np.random.default_rng(2)
    for name, tensor in head.state_dict().items():
        if tensor.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -1.0
            tensor.copy_(torch.from_numpy(rng.uniform(low, 1.0, tensor.shape)))
    qmodel = SimpleNamespace(blocks=[SimpleNamespace(residual_step=STEP)] * config.depth)
    save_heads(
        tmp_path / FILE, host_heads(torch.nn.ModuleDict({task: head}), qmodel, blocks=config.depth), program_sha256=SHA
    )
    heads = load_heads(tmp_path / FILE, program_sha256=SHA)
    residual = rng.normal(0, 800, (network_of(config).tokens, config.dim)).astype(np.int16)
    with torch.no_grad():
        wanted = head(torch.from_numpy(residual.astype(np.float32) * np.float32(STEP))).numpy()
    scores = heads.heads[task].scores(residual.astype(np.float32) * np.float32(STEP))
    assert np.abs(scores - wanted).max() < 1e-4 * np.abs(wanted).max() and wanted.std() > 0
    found, expected = heads.map(task, residual), wanted if task == "depth" else wanted.argmax(axis=0)
    assert found.shape == expected.shape and np.mean(np.abs(found - expected) < 1e-4 * np.abs(wanted).max()) > 0.999


def test_a_head_without_a_numpy_form_is_left_out() -> None:
    heads = build_heads(ODD, 1)
    heads["semseg"] = torch.nn.Linear(8, 3)
    found = host_heads(heads, SimpleNamespace(blocks=[SimpleNamespace(residual_step=STEP)]), blocks=1)
    assert set(found.heads) == {"depth"}
    assert found.map("semseg", np.zeros((6, 8), np.int16)) is None


def test_pictures() -> None:
    _, heads = pair(ODD)
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(heads.picture(labels), PALETTE[labels])
    grey = heads.picture(np.array([[1.0, 80.0**0.5, 80.0, 500.0]], np.float32))
    assert grey.shape == (1, 4, 3) and grey[0, :, 0].tolist() in ([255, 127, 0, 0], [255, 128, 0, 0])


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    _, heads = pair(ODD)
    path = tmp_path / FILE
    save_heads(path, heads, program_sha256=SHA)
    good = path.read_bytes()
    with pytest.raises(HeadError, match="heads must be of the program beside them"):
        load_heads(path, program_sha256="1" * 64)
    changed = bytearray(good)
    at = good.index(b"NUMPY") + 200  # inside the first array
    changed[at] ^= 1
    for name, data in {"cut": good[:-100], "empty": b"", "changed": bytes(changed), "other": b"PK not a file"}.items():
        path.write_bytes(data)
        with pytest.raises(HeadError, match="heads must be a readable .npz file, not"):
            load_heads(path, program_sha256=SHA)
        assert name
    for header in ("{'descr':#'<i2', 'shape':#(65, 64), }", "  {\n {", "(" * 200, "{'descr': '<i2'}"):
        text = header.encode().ljust(117) + b"\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tasks.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        with pytest.raises(HeadError, match="heads must be a readable .npz file, not"):
            load_heads(path, program_sha256=SHA)
    path.unlink()
    with pytest.raises(HeadError, match="No such file"):
        load_heads(path, program_sha256=SHA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format of heads must be 1, not 2"),
        ({"tasks": {"flow": {}}}, "heads must be a readable heads.npz"),
        (
            {
                "tasks": {
                    "x": {
                        "tensors": [],
                        "layers": [],
                        "grid": [1, 1],
                        "prefix": 0,
                        "eps": 0,
                        "output": "sound",
                        "near": 1,
                        "far": 1,
                    }
                }
            },
            "output must be one of classes, value, ratio, not 'sound'",
        ),
        ({"tasks": 3}, "heads must be a readable heads.npz"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    _, heads = pair(ODD)
    path = tmp_path / FILE
    save_heads(path, heads, program_sha256=SHA)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["meta"] = np.array(json.dumps(json.loads(str(arrays["meta"])) | change))
    np.savez(path, **arrays)
    with pytest.raises(HeadError, match=message):
        load_heads(path, program_sha256=SHA)
