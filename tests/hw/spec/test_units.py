"""The list of units against an accelerator's hierarchy, and the estimates that go by it."""

from amaranth.hdl import Fragment

from moesaic.boards.estimate import _features, counted
from moesaic.energy.activity import Activity
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.units import UNITS, Work, unit_called, unit_of
from moesaic.hw.top import Accelerator


def instances(fragment: Fragment, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = {path}
    for child, name, _ in fragment.subfragments:
        if name is not None and len(path) < 4:
            found |= instances(child, (*path, name))
    return found


def test_every_path_is_an_instance() -> None:
    found = {".".join(path) for path in instances(Fragment.get(Accelerator(PRESETS["micro8"]), None))}
    paths = [path for unit in UNITS for path in unit.paths]
    assert set(paths) <= found
    assert len(set(paths)) == len(paths)


def test_titles_are_found_and_unknown_instances_belong_to_what_is_around_them() -> None:
    assert len({unit.title for unit in UNITS}) == len(UNITS)
    for unit in UNITS:
        assert unit_called(unit.title) is unit
        for path in unit.paths:
            parts = tuple(path.split(".")) if path else ()
            assert unit_of(parts) is unit and unit_of((*parts, "something_new")) is unit


def test_what_units_grow_with_and_what_makes_them_work_has_a_meaning() -> None:
    known = _features(PRESETS["micro8"], "zynqmp")
    assert all(name in known for unit in UNITS for name in unit.grows)
    counts = {Work.VECTORS, Work.RESULTS, Work.NORMALISED, Work.ROUTED}
    assert all(hasattr(Activity(), work.value) for work in counts)
    assert counts | {Work.BEATS, Work.STORED, Work.NOTHING} == set(Work)
    assert {title for sample in counted() for title in sample.units} <= {unit.title for unit in UNITS}
