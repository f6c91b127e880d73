"""The trace: documented names and shapes, consistent contents, files."""

import dataclasses

import numpy as np
import pytest
import torch

from moesaic.golden.config import network_of, preset
from moesaic.golden.m3vit import build
from moesaic.golden.trace import SILENT, Trace
from moesaic.golden.training.scenes import render

CONFIG = preset("m3vit-micro")


@pytest.fixture(scope="module")
def traced() -> tuple[Trace, list[np.ndarray]]:
    trace = Trace()
    with torch.no_grad():
        outputs = build(CONFIG, seed=2)(render(4).image, "depth", trace=trace)
    return trace, [output.numpy() for output in outputs]


def test_names_and_shapes(traced):
    trace, _ = traced
    n, dim, k = network_of(CONFIG).tokens, CONFIG.dim, CONFIG.top_k
    expected = {"pixels": (3, 64, 64), "embed": (n, dim)}
    for i in range(CONFIG.depth):
        b = f"blocks.{i}"
        expected |= {
            f"{b}.{x}": (n, dim)
            for x in ("norm1", "attn.q", "attn.k", "attn.v", "attn.context", "attn.proj", "mid", "norm2", "mlp.out")
        }
        expected |= {b: (n, dim), f"{b}.attn.scores": (2, n, n), f"{b}.attn.probs": (2, n, n)}
        if i % 2:
            expected |= {f"{b}.mlp.gate.logits": (n, 8), f"{b}.mlp.gate.scores": (n, k), f"{b}.mlp.gate.index": (n, k)}
            expected |= {f"{b}.mlp.expert_{x}": (n * k,) for x in ("index", "token")}
            expected |= {f"{b}.mlp.expert_{x}": (n * k, 128) for x in ("hidden_pre", "hidden")}
            expected |= {f"{b}.mlp.expert_out": (n * k, dim)}
        else:
            expected |= {f"{b}.mlp.hidden_pre": (n, 256), f"{b}.mlp.hidden": (n, 256)}
    assert {name: array.shape for name, array in trace.items()} == expected


def test_contents_are_consistent(traced):
    trace, outputs = traced
    stream = trace["embed"]
    for i, output in enumerate(outputs):
        b = f"blocks.{i}"
        np.testing.assert_array_equal(trace[b], output)
        np.testing.assert_allclose(trace[f"{b}.mid"], stream + trace[f"{b}.attn.proj"], atol=1e-6)
        np.testing.assert_allclose(output, trace[f"{b}.mid"] + trace[f"{b}.mlp.out"], atol=1e-6)
        np.testing.assert_allclose(trace[f"{b}.attn.probs"].sum(-1), 1, atol=1e-5)
        stream = output


def test_routed_tokens_are_in_the_order_of_experts(traced):
    trace, _ = traced
    b = "blocks.1.mlp"
    order = list(zip(trace[f"{b}.expert_index"].tolist(), trace[f"{b}.expert_token"].tolist(), strict=True))
    chosen = trace[f"{b}.gate.index"]
    assert order == sorted((int(e), n) for n, row in enumerate(chosen) for e in row)
    total = np.zeros_like(trace[f"{b}.out"])
    for (expert, token), out in zip(order, trace[f"{b}.expert_out"], strict=True):
        total[token] += out * trace[f"{b}.gate.scores"][token][chosen[token] == expert]
    np.testing.assert_allclose(total, trace[f"{b}.out"], atol=1e-5)


def test_tracing_changes_nothing_and_silence_records_nothing(traced):
    with torch.no_grad():
        outputs = build(CONFIG, seed=2)(render(4).image, "depth")
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(outputs, traced[1], strict=True))
    assert len(SILENT) == 0


def test_only_some_names():
    trace = Trace(only=("gate.index", "norm1"))
    with torch.no_grad():
        build(dataclasses.replace(CONFIG, depth=2), seed=2)(render(4).image, 0, trace=trace)
    assert list(trace) == ["blocks.0.norm1", "blocks.1.norm1", "blocks.1.mlp.gate.index"]


def test_file_keeps_everything(traced, tmp_path):
    path = tmp_path / "image.npz"
    traced[0].save(path)
    again = Trace.load(path)
    assert list(again) == list(traced[0])
    for name, array in traced[0].items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)
    assert [p.name for p in tmp_path.iterdir()] == ["image.npz"]


def test_bad_use_is_refused(tmp_path):
    trace = Trace()
    trace.record("a", np.zeros(2))
    with pytest.raises(ValueError, match="trace name must be new, not 'a'"):
        trace.record("a", np.zeros(2))
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"not an archive")
    with pytest.raises(ValueError, match="trace must be an .npz file of arrays, not .*bad.npz"):
        Trace.load(bad)
    with pytest.raises(FileNotFoundError):
        Trace.load(tmp_path / "none.npz")
