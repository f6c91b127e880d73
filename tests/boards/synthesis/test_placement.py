"""The coarse placement: the same each time, no region too full, what is joined lies together."""

import numpy as np
import pytest

from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.blocks import KINDS, Blocks
from moesaic.boards.synthesis.distances import Distances, net_length
from moesaic.boards.synthesis.grid import Grid, grid_of
from moesaic.boards.synthesis.placement import Placement, place
from moesaic.boards.synthesis.refinement import refined, wire_length

GRID = Grid(40, 80, Resources(lut=25_600, ff=51_200, dsp=200, bram36=100))


def a_design(groups: int = 8, size: int = 8, seed: int = 3) -> Blocks:
    """Groups of blocks that are joined closely, the groups in a ring, in random order."""
    random = np.random.default_rng(seed)
    count = groups * size
    weights = np.zeros((count, count))
    for group in range(groups):
        mine = slice(group * size, (group + 1) * size)
        weights[mine, mine] = 20.0
        first, second = group * size, ((group + 1) % groups) * size
        weights[first, second] = weights[second, first] = 10.0
    np.fill_diagonal(weights, 0.0)
    needs = np.zeros((count, len(KINDS)))
    needs[:, 0] = random.integers(20, 400, count)
    needs[:, 1] = random.integers(20, 800, count)
    needs[::4, 2] = random.integers(1, 12, count // 4)
    needs[1, 3] = 60.0  # one block with many memories
    order = random.permutation(count)
    shuffled = weights[np.ix_(order, order)]
    return Blocks({(str(name),): at for at, name in enumerate(order)}, needs[order], shuffled, {}, {})


def used(blocks: Blocks, placement: Placement) -> dict[tuple[float, float], np.ndarray]:
    result: dict = {}
    for block, share, centre in zip(placement.block, placement.share, placement.centre, strict=True):
        region = tuple(np.round(centre, 3))
        result[region] = result.get(region, 0) + blocks.needs[block] * share
    return result


def test_a_design_has_one_placement() -> None:
    blocks = a_design()
    one, other = place(blocks, GRID), place(blocks, GRID)
    assert np.array_equal(one.centre, other.centre) and np.array_equal(one.share, other.share)
    assert np.bincount(one.block, weights=one.share) == pytest.approx(np.ones(len(blocks.needs)))


@pytest.mark.parametrize("seed", range(3))
def test_no_region_holds_more_than_it_has(seed: int) -> None:
    blocks = a_design(seed=seed)
    dense = Grid(40, 80, Resources(lut=16_400, ff=32_800, dsp=130, bram36=72))
    assert blocks.needs.sum(axis=0)[0] > 0.6 * dense.capacity.lut
    placement = place(blocks, dense)
    tiles = placement.size[0].prod()
    room = np.array([dense.capacity.to_dict()[kind] for kind in KINDS]) * tiles / dense.tiles
    assert tiles <= 100
    for amount in used(blocks, placement).values():
        assert (amount <= 1.01 * room + 1e-6).all()
    inside = np.abs(placement.centre - [20, 40]) + placement.size / 2
    assert (inside <= np.array([20, 40]) + 1e-6).all()


def test_what_is_joined_lies_together() -> None:
    blocks = a_design()
    distances = Distances(blocks, place(blocks, GRID), GRID)
    apart = distances.apart[0] + distances.apart[1]
    joined = (apart * blocks.weights).sum() / blocks.weights.sum()
    assert joined < 0.6 * apart[~np.eye(len(apart), dtype=bool)].mean()


def test_a_small_design_uses_a_part_of_the_device() -> None:
    blocks = a_design()
    large = Grid(200, 400, Resources(lut=640_000, ff=1_280_000, dsp=5_000, bram36=2_500))
    across = np.ptp(place(blocks, large).centre, axis=0)
    assert (across < np.array([200, 400]) / 3).all()


def test_a_piece_moves_to_its_nets_and_never_where_there_is_no_room() -> None:
    centre = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    pull = np.zeros((4, 4))
    pull[0, 3] = pull[3, 0] = 5.0
    use = np.full((4, 1), 1.0)
    moved = refined(pull, use, centre, np.array([2.0]))
    assert wire_length(pull, centre) == 10.0
    assert wire_length(pull, moved) == 0.0
    assert np.array_equal(refined(pull, use, centre, np.array([1.0])), centre)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^grid must have \d+ of lut for the design, not 100$"):
        place(a_design(), Grid(4, 4, Resources(lut=100, ff=9e9, dsp=9e9, bram36=9e9)))


def test_the_grid_of_a_part() -> None:
    grid = grid_of("xczu9eg-ffvb1156-2-e", Resources(lut=274_080, ff=548_160, dsp=2_520, bram36=912))
    assert grid is not None
    assert (grid.rows, round(grid.columns, 1)) == (420, 81.6)
    assert grid.columns_per(2_520, 24) * grid.columns == pytest.approx(15)  # whole columns of DSP slices
    assert grid_of("xcu280-fsvh2892-2L-e", Resources(lut=80_000)) is None
    with pytest.raises(ValueError, match="capacity must have LUTs, not 0"):
        grid_of("xc0", Resources())


def test_the_mean_length_of_nets() -> None:
    assert net_length(1) == 0.0
    assert net_length(4) == pytest.approx(4 / 3)  # four sides of 1 and two diagonals of 2
    assert net_length(16) < net_length(100) < net_length(10_000) < 20
