"""Whose run an error spoilt: the items of a program that work at a place of it, or at an address, is for."""

from collections.abc import Iterable

from moesaic.boards.place import Slot
from moesaic.compiler.batch import Item
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.layout import words_for
from moesaic.hw.spec.registers import ErrorUnit

__all__ = ["concerned", "in_words"]


def concerned(program: ProgramImage, task: str, slot: Slot, unit: ErrorUnit, index: int, address: int) -> set[Item]:
    """Items of the program `task` that an error is about; all of them where nothing tells them apart.

    Parameters
    ----------
    program : ProgramImage
        With the addresses at which it lies.
    task : str
    slot : Slot
        Where its images and results are.
    unit : ErrorUnit
    index : int
        Of the instruction.
    address : int
        Of the access, or of the burst that it was in; 0 if it was none.
    """
    items = program.items(task)
    if unit is ErrorUnit.COMPUTE:
        return set(program.items_at(task, index))
    found: set[Item] = set()
    if unit is ErrorUnit.LOAD:
        found = {item for item in items if item.image in _images(program, slot, address)}
    elif unit is ErrorUnit.STORE:
        hit = _results(program, slot, address)
        found = {item for item, place in zip(items, program.places(task), strict=True) if place in hit}
    return found or set(items)


def _images(program: ProgramImage, slot: Slot, address: int) -> range:
    """Numbers of the images of which the stream's word at an address holds something; none if it is no image's."""
    config, network = program.config, program.network
    for port, first in enumerate(slot.images):
        if first <= address < first + program.region(f"image.{port}").bytes:
            size = network.tokens * words_for(network.image.patch_values, config.lanes) * config.lanes
            word = (address - first) * config.ports // config.word_bytes * config.word_bytes
            return range(word // size, (word + config.word_bytes - 1) // size + 1)
    return range(0)


def _results(program: ProgramImage, slot: Slot, address: int) -> range:
    """Places of the results in a burst that begins at an address; none if it is not in the result region."""
    config, size = program.config, program.item_bytes
    offset, region = address - slot.result, program.region("result").bytes
    if not 0 <= offset < region:
        return range(0)
    end = min(offset + config.max_burst * config.port_bits // 8, region)
    return range(offset // size, (end - 1) // size + 1)


def in_words(items: Iterable[Item], program: ProgramImage, task: str) -> str:
    """The items, for a message: nothing if the program has one, `all items` if they are all."""
    named, every = sorted(items), program.items(task)
    if len(every) == 1:
        return ""
    return "all items" if len(named) == len(every) else "; ".join(map(str, named))
