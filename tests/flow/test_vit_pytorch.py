"""lucidrains' `vit_pytorch` ViT, its layers in its order: norms of patches, and of embedded patches, in front."""

import numpy as np
import torch
from torch import nn
from unlike import DIM, PATCH, SIDE, STALLS

from moesaic.compiler.pipeline import compile_model
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.frontend.capture import capture
from moesaic.golden.layers.sizes import NormSizes
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

HEADS, WIDTH, HIDDEN, CLASSES = 2, 8, 48, 10
TOKENS, VALUES = (SIDE // PATCH) ** 2 + 1, 3 * PATCH * PATCH


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(DIM), nn.Softmax(dim=-1)
        self.to_qkv = nn.Linear(DIM, 3 * HEADS * WIDTH, bias=False)
        self.to_out = nn.Sequential(nn.Linear(HEADS * WIDTH, DIM), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for t in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        attention = self.attend(torch.matmul(q, k.transpose(-1, -2)) * WIDTH**-0.5)
        return self.to_out(torch.matmul(attention, v).transpose(1, 2).flatten(2))


def feed_forward() -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(DIM), nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Dropout(0.1), nn.Linear(HIDDEN, DIM), nn.Dropout(0.1)
    )


class ViT(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.to_patch_embedding = nn.Sequential(nn.LayerNorm(VALUES), nn.Linear(VALUES, DIM), nn.LayerNorm(DIM))
        self.pos_embedding, self.cls_token = (nn.Parameter(torch.randn(1, n, DIM)) for n in (TOKENS, 1))
        self.layers = nn.ModuleList(nn.ModuleList([Attention(), feed_forward()]) for _ in range(depth))
        self.norm, self.mlp_head = nn.LayerNorm(DIM), nn.Linear(DIM, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        b, c, h, w = image.shape
        x = image.reshape(b, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, VALUES)
        x = torch.cat((self.cls_token.expand(b, -1, -1), self.to_patch_embedding(x)), dim=1)
        x = x + self.pos_embedding[:, : x.shape[1]]
        for attention, mlp in self.layers:
            x = attention(x) + x
            x = mlp(x) + x
        return self.mlp_head(self.norm(x)[:, 0])


def test_whole_on_the_rtl(rig) -> None:
    torch.manual_seed(0)
    net = ViT(2).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    captured, config = capture(net, torch.zeros(1, 3, SIDE, SIDE)), PRESETS["micro8"]
    network, (task,) = captured.network, captured.network.tasks
    assert captured.difference < 1e-5
    assert network.image.patch_norm == network.nodes[0].norm == NormSizes(eps=1e-5)
    qmodel = quantize(captured.model(), calibration_images(network, 4), weights="imported")
    image = np.random.default_rng(1).integers(0, 256, network.image.shape, dtype=np.uint8)
    program, simulator = compile_model(qmodel, config), FunctionalSimulator(config, seed=1)
    simulator.load(program)
    run = simulator.run(task, image)
    (result,) = rig.run(program, [RtlRun(task, image=image)], seed=3, plusargs=STALLS)
    rig.check(qmodel, result, image, task)
    assert np.array_equal(simulator.tensor(run, network.depth), result.output)
    wanted = captured.model()(image, task)[-1].detach().numpy()
    error = result.output * qmodel.blocks[-1].residual_step - wanted
    assert np.square(error).sum() < 10**-3 * np.square(wanted).sum()  # 30 dB
