"""Vision transformers as other packages build them, with random weights, and on the functional simulator bit
for bit.
"""

from collections.abc import Callable

import mixtures
import pytest
import torch
import zoo
from canonical import recognised
from whole import MICRO, assert_runs_bit_exact

from moesaic.compiler.ir import CompileError
from moesaic.golden.frontend.capture import CaptureError, capture


def of(config: str, model: str, **changes) -> Callable[[], torch.nn.Module]:
    def make():
        transformers = pytest.importorskip("transformers")
        sizes = {
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 96,
            "initializer_range": 0.2,
        }
        return getattr(transformers, model)(getattr(transformers, config)(**sizes | changes)).eval()

    return make


TRANSFORMERS = {
    "ViTModel": (of("ViTConfig", "ViTModel"), 1),
    "ViT, attention written out, tanh": (
        of("ViTConfig", "ViTForImageClassification", attn_implementation="eager", hidden_act="gelu_pytorch_tanh"),
        1,
    ),
    "DeiTModel": (of("DeiTConfig", "DeiTModel"), 2),
    "DINOv2 with registers": (of("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", num_register_tokens=4), 5),
    "ViT, gelu_new": (of("ViTConfig", "ViTModel", hidden_act="gelu_new"), 1),
    "DeiT with two classifiers": (of("DeiTConfig", "DeiTForImageClassificationWithTeacher", qkv_bias=False), 2),
    "DINOv2": (of("Dinov2Config", "Dinov2Model", mlp_ratio=2, num_hidden_layers=1), 1),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name):
    make, learnt = TRANSFORMERS[name]
    torch.manual_seed(0)
    captured = capture(make(), torch.zeros(1, 3, 32, 32))
    assert captured.network.prefix_tokens == learnt and captured.network.tokens == 16 + learnt
    assert captured.difference < 1e-5
    assert_runs_bit_exact(captured)


RECOGNISED = {
    "DINOv2 with SwiGLU": (
        of("Dinov2Config", "Dinov2Model", use_swiglu_ffn=True, num_hidden_layers=1),
        3,
        "silu",
        True,
    ),
    "SigLIP, pooled by attention": (
        of("SiglipVisionConfig", "SiglipVisionModel", num_hidden_layers=1),
        3,
        "gelu_tanh",
        False,
    ),
    "ViT of grey images, squared ReLU": (
        of("ViTConfig", "ViTModel", num_hidden_layers=1, num_channels=1, hidden_act="relu2"),
        1,
        "relu2",
        False,
    ),
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_recognised(name):
    make, channels, activation, gated = RECOGNISED[name]
    torch.manual_seed(0)
    attention, mlp = (residual.block for residual in recognised(make(), channels, (32, 32)).residuals)
    assert attention.facts == {"heads": 3, "head_dim": 16}
    assert (mlp.kind, mlp.facts["hidden"]) == ("mlp", {"activation": activation, "gated": gated})


def test_rotary_positions_of_dinov3_are_named():
    model = of("DINOv3ViTConfig", "DINOv3ViTModel", num_hidden_layers=1)()
    with pytest.raises(CaptureError, match="not a rotary embedding"):
        capture(model, torch.zeros(1, 3, 32, 32))


def test_swiglu_of_dinov2_is_captured():
    captured = capture(of("Dinov2Config", "Dinov2Model", use_swiglu_ffn=True)(), torch.zeros(1, 3, 32, 32))
    assert captured.difference < 1e-5
    sizes = [node.sizes for node in captured.network.layers if node.kind == "mlp"]
    assert sizes and all(found.gated and found.activation == "silu" for found in sizes)


def test_torchs_encoder():
    assert_runs_bit_exact(capture(zoo.encoder(), zoo.image()))


@pytest.mark.parametrize("name", ["recipe", "loop"])
def test_mixtures(name):
    assert_runs_bit_exact(capture(zoo.vit(mlp=mixtures.WRITTEN[name][0]), zoo.image()))


def test_three_tasks_of_four_gates():
    model = zoo.seeded(mixtures.TaskVit(lambda: mixtures.Published(4)))
    assert_runs_bit_exact(capture(model, zoo.image(), tasks={"a": (0,), "b": (1,), "c": (2,)}))


def test_sixty_four_experts():
    """Refused where the accelerator has fewer; correct on one that has them."""
    model = zoo.seeded(mixtures.TaskVit(lambda: mixtures.Published(1, experts=64, k=2)))
    captured = capture(model, zoo.image(), tasks={"a": (0,)})
    with pytest.raises(CompileError, match="experts must be at most 8"):
        assert_runs_bit_exact(captured)
    assert_runs_bit_exact(captured, MICRO.replace(experts=64))
