"""Checkpoints as they lie about: the same numbers in any type and container, under any wrapper, are the same model."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published import MICRO, Geometry, dense_state, random_state, save_edge_moe, save_workers, transformers_names
from safetensors.torch import save_file

from moesaic.golden.importers.imported import Imported
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import ImportProblem

State = dict[str, torch.Tensor]
HALVES = (torch.float16, torch.bfloat16)
DRAWS = 12  # of types, containers and wrappers for each importer; 200 take a minute on a free core
HEADS = ImportOptions(heads=2)
SMALL = dataclasses.replace(MICRO, depth=2)
DENSE = Geometry(16, 16, 8, 32, 2, 2, 64)


def plain_state(seed: int = 0) -> State:
    """A ViT's backbone with timm's names."""
    return dense_state(DENSE, seed)


def scaled(state: State) -> State:
    """With LayerScale as small as published ones start, a norm and a head."""
    gammas = {f"blocks.{i}.ls{n}.gamma": torch.full((32,), 10.0 ** -(i + n)) for i in range(2) for n in (1, 2)}
    return state | gammas | {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32), "head.weight": torch.eye(32)}


def distilled(state: State) -> State:
    """With DeiT's second token."""
    generator = torch.Generator().manual_seed(5)
    table = torch.cat((state["pos_embed"], torch.randn(1, 1, 32, generator=generator)), dim=1)
    return state | {"dist_token": torch.randn(1, 1, 32, generator=generator), "pos_embed": table}


def one_gate(seed: int) -> State:
    state = random_state(dataclasses.replace(SMALL, tasks=1), seed=seed)
    return {name.replace(".gate.0.", ".gate."): tensor for name, tensor in state.items()}


KINDS: dict[str, Callable[[int], State]] = {
    "m3vit, gate for each task": lambda seed: random_state(SMALL, seed=seed),
    "m3vit, task-conditioned gate": lambda seed: random_state(SMALL, conditioned=True, seed=seed),
    "m3vit, one gate": one_gate,
    "timm ViT": plain_state,
    "timm ViT with LayerScale": lambda seed: scaled(plain_state(seed)),
    "timm DeiT": lambda seed: distilled(plain_state(seed)),
    "transformers ViT": lambda seed: transformers_names(plain_state(seed)),
    "transformers DeiT": lambda seed: transformers_names(distilled(plain_state(seed))),
}


def same(a: Imported, b: Imported) -> None:
    """Bit for bit one model."""
    assert dataclasses.replace(a.network, name="x") == dataclasses.replace(b.network, name="x")
    for mine, theirs in ((a.state, b.state), (a.heads, b.heads)):
        assert mine.keys() == theirs.keys()
        for name, tensor in mine.items():
            assert tensor.dtype is torch.float32 and torch.equal(tensor, theirs[name]), name


def saved(path: Path, whole: object) -> Imported:
    torch.save(whole, path)
    return open_model(str(path), HEADS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_the_type_of_a_file_changes_nothing(tmp_path, kind, half):
    low = {name: tensor.to(half) for name, tensor in KINDS[kind](0).items()}
    wide = {name: tensor.float() for name, tensor in low.items()}
    reference = saved(tmp_path / "a.pth", wide)
    same(saved(tmp_path / "b.pth", low), reference)
    same(saved(tmp_path / "c.pth", {name: tensor.double() for name, tensor in low.items()}), reference)
    # Types mixed in one file, as where norms were kept in float32.
    mixed = {name: (low if i % 2 else wide)[name] for i, name in enumerate(low)}
    same(saved(tmp_path / "d.pth", mixed), reference)
    save_file(low, tmp_path / "e.safetensors")
    same(open_model(str(tmp_path / "e.safetensors"), HEADS), reference)


def test_eight_bits_are_numbers_too(tmp_path):
    low = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in scaled(plain_state()).items()}
    reference = saved(tmp_path / "a.pth", {name: tensor.float() for name, tensor in low.items()})
    again = {name: tensor.clone() for name, tensor in low.items()}
    same(saved(tmp_path / "b.pth", {"model": low, "again": again}), reference)


@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_the_type_of_workers_files_changes_nothing(tmp_path, half, conditioned):
    low = {name: tensor.to(half) for name, tensor in random_state(SMALL, conditioned=conditioned).items()}
    reference = saved(tmp_path / "a.pth", {name: tensor.float() for name, tensor in low.items()})
    save_workers(tmp_path / "low", low, 3, "module.backbone.")
    same(open_model(str(tmp_path / "low"), HEADS), reference)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_an_edge_moe_folder_gives_its_own_numbers(tmp_path, half):
    state = {name: tensor.to(half).float() for name, tensor in random_state(SMALL).items()}
    state["cls_token"].zero_()  # it is a part of the positions there
    save_edge_moe(tmp_path / "folder", SMALL, state)
    imported = open_model(str(tmp_path / "folder"), HEADS)
    assert imported.state.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in imported.state.items())


def test_layer_scale_is_rounded_once(tmp_path):
    state = scaled(plain_state())
    for name, tensor in state.items():
        if name.endswith("gamma"):
            tensor.copy_(torch.linspace(1e-6, 1e-5, 32))
    half = {name: tensor.half() for name, tensor in state.items()}
    got = saved(tmp_path / "a.pth", half).state["blocks.0.attn.proj.weight"]
    exact = half["blocks.0.attn.proj.weight"].double() * half["blocks.0.ls1.gamma"].double()[:, None]
    assert torch.equal(got, exact.float()) and bool((got != 0).all())


# Containers: what a training run saves around a state dict and a decoy of other numbers, and the label of what counts.

Container = Callable[[State, State], object]
ALONE: dict[str, Container] = {
    "bare": lambda s, d: s,
    "state_dict": lambda s, d: {"epoch": 3, "state_dict": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
    "model": lambda s, d: {"model": s, "n": 1},
    "net": lambda s, d: {"net": s, "acc": 0.9},
    "two deep": lambda s, d: {"checkpoint": {"params": s}},
    "state_dict_ema": lambda s, d: {"state_dict_ema": s},
    "swa": lambda s, d: {f"module.{name}": tensor for name, tensor in s.items()} | {"n_averaged": torch.tensor(5)},
    "twice the same": lambda s, d: {"state_dict": s, "model": s},
    "beside numbers": lambda s, d: {"epoch": 3, **s},
}
TWO: dict[str, tuple[Container, str, str]] = {  # container, what is taken, what is not
    "model_ema": (lambda s, d: {"model": d, "model_ema": s}, "model_ema", "model"),
    "timm": (lambda s, d: {"state_dict": d, "state_dict_ema": s, "arch": "vit"}, "state_dict_ema", "state_dict"),
    "dino": (lambda s, d: {"student": _under("backbone", d), "teacher": _under("backbone", s)}, "teacher", "student"),
    "dinov2": (
        lambda s, d: {"model": _under("student.backbone", d) | _under("teacher.backbone", s)},
        "model.teacher",
        "model.student",
    ),
    "lightning": (
        lambda s, d: {"state_dict": _under("model", d) | _under("ema_model.module", s), "callbacks": {}},
        "state_dict.ema_model",
        "state_dict.model",
    ),
    "moco": (lambda s, d: _under("momentum_encoder", d) | _under("base_encoder", s), "base_encoder", "momentum"),
    "callback": (
        lambda s, d: {"state_dict": d, "callbacks": {"EMA": {"decay": 0.9, "weights": s}}},
        "callbacks.EMA.weights",
        "state_dict",
    ),
    "swa beside": (lambda s, d: d | _under("swa", s), "swa", ""),
}
PREFIXES = ("", "module.", "backbone.", "model.", "_orig_mod.module.", "module.backbone.", "model._orig_mod.vit.")
INNER = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module", "_fpw_module")


def _under(prefix: str, state: State) -> State:
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def wrapped(state: State, rng: random.Random) -> State:
    """Names as a training run's wrappers make them: before the whole, and around blocks or layers, at any depth."""
    prefix, inner, depth = rng.choice(PREFIXES), rng.choice(INNER), rng.randrange(4)
    result = {}
    for name, tensor in state.items():
        parts = name.split(".")
        at = min(depth, len(parts) - 1)
        if depth and not name.startswith(("head", "decoders", "norm", "layernorm")):
            parts.insert(at, inner)
        result[prefix + ".".join(parts)] = tensor
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_types_containers_and_wrappers(tmp_path, kind):
    """Seeded draws of all three for every importer."""
    rng = random.Random(kind)
    plain, decoy = KINDS[kind](0), KINDS[kind](7)
    references = {}
    for half in HALVES:
        plain_half = {name: tensor.to(half).float() for name, tensor in plain.items()}
        references[half] = saved(tmp_path / "reference.pth", plain_half)
    for _ in range(DRAWS):
        half, stored = rng.choice(HALVES), rng.choice((*HALVES, torch.float32))
        state = {name: tensor.to(half).to(half if stored in HALVES else stored) for name, tensor in plain.items()}
        other = {name: tensor.to(half) for name, tensor in decoy.items()}
        draw = rng.getrandbits(32)  # the same wrappers for both sets
        state, other = (wrapped(each, random.Random(draw)) for each in (state, other))
        name = rng.choice((*ALONE, *TWO))
        imported = saved(tmp_path / "a.pth", (ALONE[name] if name in ALONE else TWO[name][0])(state, other))
        same(imported, references[half])
        said = [note for note in imported.report.notes if note.startswith("weights of")]
        if name in TWO:
            _, taken, left = TWO[name]
            assert len(said) == 1 and said[0].startswith(f"weights of {taken}") and f"not those of {left}" in said[0]
            assert "--state-dict" in said[0]
        else:
            assert len(said) == (name == "state_dict_ema")


@pytest.mark.parametrize("name", TWO)
def test_the_other_set_can_be_asked_for(tmp_path, name):
    state, decoy = plain_state(), plain_state(7)
    container, taken, left = TWO[name]
    torch.save(container(state, decoy), tmp_path / "a.pth")
    chosen = open_model(str(tmp_path / "a.pth"), ImportOptions(heads=2, state_dict=taken))
    same(chosen, saved(tmp_path / "b.pth", state))
    if name in ("moco", "swa beside"):
        left = {"moco": "momentum_encoder", "swa beside": "the top"}[name]
    chosen = open_model(str(tmp_path / "a.pth"), ImportOptions(heads=2, state_dict=left))
    same(chosen, saved(tmp_path / "b.pth", decoy))


def test_sets_that_nothing_tells_apart_are_asked_about(tmp_path):
    state, decoy = plain_state(), plain_state(7)
    larger = transformers_names(plain_state())
    for whole in ({"model": state, "best": decoy}, {"student": state, "teacher": larger}):
        torch.save(whole, tmp_path / "a.pth")
        with pytest.raises(ImportProblem, match=r"must be one vision transformer's, .*--state-dict takes") as caught:
            open_model(str(tmp_path / "a.pth"), HEADS)
        assert caught.value.groups == {"sets": list(whole)}
        with pytest.raises(ImportProblem, match="state-dict must name one set of weights in .*, not 'ema'") as caught:
            open_model(str(tmp_path / "a.pth"), ImportOptions(heads=2, state_dict="ema"))
        assert caught.value.groups == {"it holds": list(whole)}
    assert open_model(str(tmp_path / "a.pth"), ImportOptions(heads=2, state_dict="student")).state


def test_what_is_no_tensor_and_counters_are_left_out_and_named(tmp_path):
    state = _under("module", plain_state())
    whole = {"epoch": 3, "n_averaged": torch.tensor(5), "module._extra_state": torch.zeros(0), **state}
    notes = saved(tmp_path / "a.pth", whole).report.notes
    assert "left out, as inference does not use it: epoch (int), no tensor, n_averaged, module._extra_state" in notes


def test_two_tensors_of_one_name_are_named(tmp_path):
    state = plain_state()
    with pytest.raises(ImportProblem) as caught:
        saved(tmp_path / "a.pth", state | {"blocks.0.module.norm1.bias": torch.zeros(32)})
    assert caught.value.groups == {"not in the model": ["blocks.0.module.norm1.bias: [32]"]}


def test_wrapped_names_are_named_as_they_are_in_the_file(tmp_path):
    state = {f"model.{name.replace('blocks.0.', 'blocks.0._orig_mod.')}": t for name, t in plain_state().items()}
    state["model.blocks.0._orig_mod.norm1.bias"][3] = torch.nan
    with pytest.raises(ImportProblem, match="1 not finite") as caught:
        saved(tmp_path / "a.pth", state)
    (line,) = caught.value.groups["not finite"]
    assert line.startswith("model.blocks.0._orig_mod.norm1.bias: 1 values")
