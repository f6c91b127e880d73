"""Mixtures of experts: written with fixed shapes, or known by M3ViT's names; gates, tasks, and what is refused."""

import mixtures
import pytest
import torch
import zoo

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.frontend.capture import CaptureError, capture
from moesaic.golden.m3vit import build


@pytest.mark.parametrize("name", mixtures.WRITTEN)
def test_fixed_shapes(name):
    make, kind = mixtures.WRITTEN[name]
    captured = capture(zoo.vit(mlp=make), zoo.image())
    found = {block.nodes[1].sizes for block in captured.network.blocks}
    assert {(sizes.experts, sizes.top_k, sizes.gate_kind) for sizes in found} == {(4, 2, kind)}
    assert {sizes.gate_bias for sizes in found} == {name == "renormalised"}
    assert captured.difference < 1e-5


def test_gates_of_tasks_and_one_that_no_task_uses():
    """Four gates, three tasks: each task has its own, the fourth is left out."""
    model = zoo.seeded(mixtures.TaskVit(lambda: mixtures.Published(4)))
    tasks = {"semseg": (0,), "depth": (1,), "edge": (3,)}
    captured = capture(model, zoo.image(), tasks=tasks)
    assert captured.network.tasks == ("semseg", "depth", "edge") and tuple(captured.network.mixtures) == (1,)
    for task, (gate,) in zip(captured.network.tasks, tasks.values(), strict=True):
        name = f"blocks.1.mlp.gate.{captured.network.task_index(task)}.w_gate"
        assert torch.equal(captured.state[name], model.blocks[1].mlp.gate[gate].w_gate)
        assert captured.names[name] == (f"blocks.1.mlp.gate.{gate}.w_gate",)
    x = torch.rand(1, 3, zoo.SIDE, zoo.SIDE)
    outputs = []
    with torch.no_grad():
        for task, (gate,) in tasks.items():
            got = captured.heads[task](captured.model()(x * 0.5 + 0.5, task)[-1][0])[0]
            outputs.append(model(x, gate))
            assert float((got - outputs[-1]).abs().max()) < 2e-5 * float(outputs[-1].abs().max())
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)


def test_gates_that_are_not_called():
    """Their order is then that of the tasks."""
    model = zoo.seeded(mixtures.TaskVit(lambda: mixtures.Direct(2), (True,)))
    captured = capture(model, zoo.image(), tasks={"a": (0,), "b": (1,)})
    assert captured.names["blocks.0.mlp.gate.1.w_gate"] == ("blocks.0.mlp.gate.1.w_gate",)
    assert captured.difference < 1e-5


def test_sixty_four_experts():
    captured = capture(
        zoo.seeded(mixtures.TaskVit(lambda: mixtures.Published(1, experts=64, k=5))), zoo.image(), tasks={"a": (0,)}
    )
    assert (captured.network.most_experts, captured.network.most_top_k) == (64, 5)
    assert captured.difference < 1e-5


@pytest.mark.parametrize("scope", ["multi_gate", "task_conditioned"])
def test_our_own(scope):
    """The model of this package, whose forward has loops with masks, captured like anybody else's."""
    config = M3ViTConfig(
        image_size=(16, 16),
        patch_size=8,
        dim=32,
        heads=2,
        depth=2,
        mlp_ratio=2,
        experts=4,
        expert_hidden=24,
        top_k=3,
        gate_scope=scope,
        gate_task_dim=8,
        gate_kind="noisy",
        pixel_mean=(0.4, 0.5, 0.6),
        pixel_std=(0.2, 0.3, 0.4),
    )
    model = build(config, 3)
    captured = capture(model, zoo.image(), tasks={"semseg": (0,), "depth": (1,)})
    assert captured.network.nodes[4].sizes.gate_bias == (scope == "task_conditioned")
    assert captured.network.image.pixel_mean == pytest.approx(config.pixel_mean)
    assert captured.network.image.pixel_std == pytest.approx(config.pixel_std)
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        for task in (0, 1):
            wanted = model(x, task)
            for mine, other in zip(captured.model()(x, task), wanted, strict=True):
                assert float((mine - other).abs().max()) < 2e-5 * float(other.abs().max())
    assert any(
        "output 0" in note for note in captured.notes
    )  # the first block's, which the accelerator does not return


def refused(model, **options):
    with pytest.raises(CaptureError) as caught:
        capture(model, zoo.image(), **options)
    return str(caught.value)


def test_masks_are_refused_with_the_recipe():
    text = refused(zoo.vit(mlp=mixtures.Masked))
    assert "control flow must not depend on the image" in text or "mask" in text
    assert "mixtures.py:" in text and "docs/models.md" in text


def test_a_mixture_that_computes_something_else():
    text = refused(zoo.seeded(mixtures.TaskVit(lambda: mixtures.Published(1, factor=1.5))), tasks={"a": (0,)})
    assert "mixture 'blocks.1.mlp' must compute the sum" in text and "mixtures.py:" in text


def test_mixtures_in_odd_places():
    model = zoo.seeded(mixtures.TaskVit(lambda: mixtures.Published(1), (True, False, False, True)))
    captured = capture(model, zoo.image(), tasks={"a": (0,)})
    assert tuple(captured.network.mixtures) == (0, 3)


def test_experts_of_another_gate():
    class Two(mixtures.Recipe):
        def __init__(self):
            super().__init__()
            self.other = torch.nn.Linear(zoo.DIM, mixtures.EXPERTS)

        def table(self, x):
            scores, _ = self.gate(x).softmax(-1).topk(self.k, dim=-1)
            _, index = self.other(x).topk(self.k, dim=-1)
            return torch.zeros(*x.shape[:2], self.experts, dtype=x.dtype).scatter(-1, index, scores)

    text = refused(zoo.vit(mlp=Two))
    assert "the gate's factors at the gate's experts" in text and "mixtures.py:" in text


def test_tasks_that_differ_in_more_than_their_gates():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mixtures.TaskVit(lambda: mixtures.Published(2))

        def forward(self, x, task):
            return self.inner(x * (task + 1.0), task)

    text = refused(zoo.seeded(Scaled()), tasks={"a": (0,), "b": (1,)})
    assert "task 'b' must embed the image as task 'a' does" in text
