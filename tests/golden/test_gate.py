"""The router: ties, both kinds of score, both scopes."""

import dataclasses

import numpy as np
import pytest
import torch

from moesaic.golden.config import preset
from moesaic.golden.gate import Gate, choose, top_k
from moesaic.golden.m3vit import build


def reference_top_k(row: list[float], k: int) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]


def test_lowest_index_wins_ties():
    torch.manual_seed(0)
    values = torch.randint(-2, 3, (500, 16)).float()  # many equal values
    best, index = top_k(values, 4)
    assert index.tolist() == [reference_top_k(row, 4) for row in values.tolist()]
    assert torch.equal(best, values.gather(1, index))


def test_all_equal_logits_choose_the_first_experts():
    scores, index = choose(torch.zeros(3, 8), 2, "noisy_vmoe")
    assert index.tolist() == [[0, 1]] * 3
    assert torch.equal(scores, torch.full((3, 2), 1 / 8))


def test_scores_of_both_kinds():
    logits = np.array([0.0, 2.0, -1.0, 1.0])
    exponentials = np.exp(logits)
    published, index = choose(torch.tensor(logits)[None], 2, "noisy_vmoe")
    assert index.tolist() == [[1, 3]]
    np.testing.assert_allclose(published[0], exponentials[[1, 3]] / exponentials.sum())
    among_chosen, index = choose(torch.tensor(logits)[None], 2, "noisy")
    assert index.tolist() == [[1, 3]]
    np.testing.assert_allclose(among_chosen[0], exponentials[[1, 3]] / exponentials[[1, 3]].sum())


def test_ranking_is_by_logit_even_where_probabilities_round_to_a_tie():
    logits = torch.tensor([[-60.0, -59.99, 0.0, 50.0]])  # the first two are 0 beside e^50 in float32
    assert torch.softmax(logits, 1)[0, 0] >= 0
    assert choose(logits, 3, "noisy_vmoe")[1].tolist() == [[3, 2, 1]]


@pytest.mark.parametrize("kind", ["noisy_vmoe", "noisy"])
def test_task_conditioned_gate_is_a_constant_per_expert(kind):
    config = dataclasses.replace(preset("m3vit-micro"), gate_scope="task_conditioned", gate_kind=kind)
    model = build(config, seed=3)
    gate = model.blocks[1].mlp.gate
    assert isinstance(gate, Gate) and gate.w_gate.shape == (64 + 64, 8)
    x = torch.randn(10, 64, generator=torch.Generator().manual_seed(0))
    for task in range(2):
        embedding = model.gate_task_represent(task)
        concatenated = torch.cat([x, embedding.expand(10, -1)], dim=1) @ gate.w_gate
        weight, bias = model.folded_gate(1, task)
        torch.testing.assert_close(x @ weight + bias, concatenated)
        torch.testing.assert_close(gate(x, embedding).logits, concatenated)
    assert not torch.equal(model.folded_gate(1, 0)[1], model.folded_gate(1, 1)[1])


def test_multi_gate_has_a_gate_per_task_and_no_constant():
    model = build(preset("m3vit-micro"), seed=3)
    weight, bias = model.folded_gate(3, "depth")
    assert torch.equal(weight, model.state_dict()["blocks.3.mlp.gate.1.w_gate"]) and not bias.any()
    with pytest.raises(ValueError, match=r"block must be a mixture \(1, 3\), not 2"):
        model.folded_gate(2, "depth")


def test_noise_only_in_training():
    gate = build(preset("m3vit-micro"), seed=3).blocks[1].mlp.gate_of(0)
    x = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)) * 0.2
    quiet = gate(x)
    assert torch.equal(quiet.index, gate(x).index)
    torch.manual_seed(0)
    noisy = gate.train()(x)
    assert not torch.equal(quiet.index, noisy.index)
    assert torch.equal(quiet.logits, noisy.logits)
