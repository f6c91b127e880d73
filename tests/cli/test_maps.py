"""Outputs of heads as pictures."""

import numpy as np
import torch

from moesaic.golden.training.scenes import CLASSES, PALETTE
from moesaic.report.maps import picture

SIZE = (4, 6)


def test_scores_are_classes_in_their_colours():
    own = torch.zeros(len(CLASSES), *SIZE)
    own[2, 1, 3] = 1
    drawn = picture("semseg", own, SIZE)
    assert drawn.shape == (3, *SIZE)
    assert drawn[:, 1, 3].tolist() == PALETTE[2].tolist() and drawn[:, 0, 0].tolist() == PALETTE[0].tolist()
    many = torch.zeros(40, *SIZE)
    many[39, 0, 0], many[19, 0, 1], many[7, 0, 2] = 1, 1, 1
    drawn = picture("semseg", many, SIZE)
    assert drawn[:, 0, 0].tolist() == drawn[:, 0, 1].tolist() != drawn[:, 0, 2].tolist()


def test_depth_normals_and_logits():
    depth = picture("depth", torch.tensor([[1.0, 80.0]]), (1, 2))
    assert depth.shape == (3, 1, 2) and depth[:, 0, 0].sum() > depth[:, 0, 1].sum()
    normals = picture("normals", torch.tensor([[[2.0]], [[0.0]], [[0.0]]]), (1, 1))
    assert normals[:, 0, 0].tolist() == [255, 128, 128]
    edges = picture("edge", torch.tensor([[[-100.0, 0.0, 100.0]]]), (1, 3))
    assert edges.tolist() == [[0, 128, 255]]


def test_what_is_no_map_of_the_image():
    assert picture("x", torch.zeros(5, 3, 3), SIZE) is None
    assert picture("x", torch.zeros(10), SIZE) is None
    assert picture("x", [torch.zeros(3, *SIZE)], SIZE) is None
    assert picture("x", np.zeros((3, *SIZE)), SIZE) is None
