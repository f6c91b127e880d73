"""What config.json states about a model's sizes, read and held against its tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moesaic.golden.importers.imported import Notes
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import ImportProblem
from moesaic.json_file import read_json

__all__ = ["CONFIG", "Fact", "Stated", "read_stated"]

CONFIG = "config.json"
_MOST = 16 << 20  # bytes: far more than any configuration has
_GELU = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh"}


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a positive whole number")
    return value


def _pair(value: Any) -> tuple[int, int]:
    both = value if isinstance(value, (list, tuple)) else (value, value)
    try:
        height, width = both
        return _count(height), _count(width)
    except (TypeError, ValueError) as error:
        raise ValueError("a positive whole number, or two") from error


def _side(value: Any) -> int:
    height, width = _pair(value)
    if height != width:
        raise ValueError("one size, or twice the same")
    return height


def _eps(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError("a number from 0 to 1")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _activation(value: Any) -> str:
    if not isinstance(value, str) or value not in _GELU:
        raise ValueError(f"one of {', '.join(_GELU)}")
    return _GELU[value]


# Keys of `transformers`, and of timm at the top and under `model_args`: the fact, and how its value is read.
_TRANSFORMERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "hidden_size": ("channels of a token", _count),
    "num_hidden_layers": ("blocks", _count),
    "num_attention_heads": ("heads", _count),
    "intermediate_size": ("hidden units of an MLP", _count),
    "patch_size": ("side of a patch", _side),
    "image_size": ("image", _pair),
    "num_channels": ("channels of the image", _count),
    "qkv_bias": ("biases of queries, keys and values", _flag),
    "layer_norm_eps": ("epsilon", _eps),
    "hidden_act": ("gelu", _activation),
}
_TIMM: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "num_features": ("channels of a token", _count),
    "embed_dim": ("channels of a token", _count),
    "depth": ("blocks", _count),
    "num_heads": ("heads", _count),
    "patch_size": ("side of a patch", _side),
    "img_size": ("image", _pair),
    "in_chans": ("channels of the image", _count),
    "qkv_bias": ("biases of queries, keys and values", _flag),
}
_PARTS = ("encoder", "vision_config", "model_args")  # where a configuration of more than one model keeps this one's


@dataclass(frozen=True)
class Fact:
    """A value that config.json states.

    Parameters
    ----------
    key : str
        What it is called there.
    value : int, (int, int), float, bool or str
    """

    key: str
    value: Any


@dataclass(frozen=True)
class Stated:
    """What a config.json states, by what it is about; nothing where there is no such file.

    Parameters
    ----------
    path : Path
        The file.
    facts : mapping of str to Fact
    """

    path: Path
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def get(self, what: str) -> Any:
        """The value stated; None if there is none."""
        fact = self.facts.get(what)
        return None if fact is None else fact.value

    def over(self, options: ImportOptions, notes: Notes) -> ImportOptions:
        """Options, and what is stated where they say nothing; where they say something else, that is noted."""
        heads, size = self.get("heads"), self.get("image")
        for option, given, stated in (("--heads", options.heads, heads), ("--image-size", options.image_size, size)):
            if given is not None and stated is not None and given != stated:
                notes.notes.append(f"{option} {_words(given)} taken, not the {_words(stated)} of {CONFIG}")
        return replace(options, heads=options.heads or heads, image_size=options.image_size or size)

    def check(self, found: Mapping[str, tuple[Any, str]], options: ImportOptions) -> None:
        """Hold what is stated against the tensors.

        Parameters
        ----------
        found : mapping of str to (value, str)
            What the tensors say about each fact they tell, and which tensor does. Of an image they tell `patches`.
        options : ImportOptions
            As typed: `--image-size` and `--heads` go before what is stated.

        Raises
        ------
        ImportProblem
            Lists every fact that differs, with both values and the tensor.
        """
        differ = []
        for what, fact in self.facts.items():
            value, where = found.get(what, (fact.value, ""))
            if value != fact.value:
                differ.append(f"{fact.key} ({what}): {_words(fact.value)} in {CONFIG}, {_words(value)} in {where}")
        image, side = self.facts.get("image"), self.get("side of a patch") or found["side of a patch"][0]
        patches, where = found["patches"]
        if image is not None and options.image_size is None:
            stated = (image.value[0] // side) * (image.value[1] // side)
            if stated != patches:
                size = _words(image.value)
                differ.append(f"{image.key} (patches): {size}, {stated}, in {CONFIG}, {patches} in {where}")
        heads, (dim, where) = self.facts.get("heads"), found["channels of a token"]
        if heads is not None and options.heads is None and dim % heads.value:
            differ.append(f"{heads.key} (heads): {heads.value} in {CONFIG} must divide the {dim} channels of {where}")
        if differ:
            raise ImportProblem(
                f"weights must be those that {str(self.path)!r} describes, all of them, not others or a part",
                {"differ": differ},
            )


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "there" if value else "none"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def read_stated(folder: Path, *, transformers: bool) -> Stated:
    """What the config.json in `folder` states in the words of `transformers`, or of timm.

    Raises
    ------
    ImportProblem
        If it is no JSON, or a value is not of its kind: all are listed.
    """
    path = folder / CONFIG
    if not path.is_file():
        return Stated(path)
    data = read_json(path, most=_MOST, what=CONFIG, error=ImportProblem)
    if not isinstance(data, dict):
        raise ImportProblem(f"{CONFIG} must be an object in braces, not {type(data).__name__} ({str(path)!r})")
    if not transformers and "architecture" not in data:
        return Stated(path)  # of some other program: timm names the architecture always
    parts = [data, *(data[part] for part in _PARTS if isinstance(data.get(part), dict))]
    facts: dict[str, Fact] = {}
    wrong = []
    for part in parts:
        for key, (what, read) in (_TRANSFORMERS if transformers else _TIMM).items():
            if part.get(key) is None or what in facts:
                continue
            try:
                facts[what] = Fact(key, read(part[key]))
            except ValueError as error:
                wrong.append(f"{key} must be {error}, not {part[key]!r}")
    if wrong:
        raise ImportProblem(f"{CONFIG} must describe a vision transformer, not {str(path)!r}", {"in it": wrong})
    return Stated(path, facts)
