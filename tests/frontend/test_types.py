"""A module's type changes nothing: the same numbers in half precision are captured as the same float32 model."""

import copy

import pytest
import torch
import zoo

from moesaic.golden.frontend.capture import capture


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_type_of_a_module_changes_nothing(kind):
    # Joined queries, keys and values, a scale that goes into the queries, positions on a map, and LayerScale so small
    # that products vanish in half precision.
    module = zoo.vit(lambda: zoo.KeysFirst(zoo.DIM, zoo.HEADS), embed=zoo.MapPositions(), scale=True)
    gamma, down = module.get_parameter("blocks.0.gamma"), module.get_parameter("blocks.0.mlp.down.weight")
    with torch.no_grad():
        gamma.fill_(1e-6)
    module = module.to(kind)
    low, wide = capture(module, zoo.image()), capture(copy.deepcopy(module).float(), zoo.image())
    assert low.network == wide.network and low.state.keys() == wide.state.keys()
    for name, tensor in low.state.items():
        assert tensor.dtype is torch.float32 and torch.equal(tensor, wide.state[name]), name
    folded = low.state["blocks.0.mlp.fc2.weight"]
    assert torch.equal(folded, (down.double() * gamma[1].double()[:, None]).float()) and bool((folded != 0).all())
