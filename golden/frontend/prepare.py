"""A user's module made ready to be traced: unwrapped, copied, on the CPU, in float32; or refused for what it is."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.ao.quantization import FakeQuantizeBase, ObserverBase
from torch.overrides import TorchFunctionMode

from moesaic.golden.frontend.refusal import CaptureError

__all__ = ["copied", "listing", "prepare"]

_LISTED = 6  # names in an error
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao", "bitsandbytes", "auto_gptq")
_QAT = ("torch.ao.nn.qat", "torch.ao.nn.intrinsic.qat")
_PLAIN = (torch.Tensor, nn.Parameter, nn.Buffer)


def listing(names: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


class _Copies(TorchFunctionMode):
    """Copies of tensors that `copy.deepcopy` refuses: results of computations, tensors of inference mode."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.__deepcopy__:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def copied(module: nn.Module, kind: torch.dtype) -> nn.Module:
    """A copy on the CPU whose parameters and buffers, as far as they are floats, are of one type.

    Raises
    ------
    CaptureError
        If something in the module cannot be copied.
    """
    try:
        with _Copies():
            copy_of_it = copy.deepcopy(module).cpu()
        return copy_of_it.double() if kind == torch.float64 else copy_of_it.float()
    except Exception as error:  # of any class that a module may hold
        raise CaptureError(
            f"the module must be one that copy.deepcopy can copy, not one that holds what it cannot "
            f"({type(error).__name__}: {' '.join(str(error).split())})\n"
            "leave out of the module what is no part of the model: locks, files, generators, loggers, processes"
        ) from error


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside torch.compile's, DataParallel's or DistributedDataParallel's."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def _of(module: nn.Module, wanted: Callable[[nn.Module], bool]) -> list[str]:
    """Names of the parts that are wanted, without their own parts."""
    names = list[str]()
    for name, part in module.named_modules():
        if wanted(part) and not any(name.startswith(f"{outer}.") or outer == "" for outer in names):
            names.append(name)
    return [name or type(module).__name__ for name in names]


def _check_kind(module: nn.Module) -> None:
    """What a module must not be, seen without running it."""
    if scripted := _of(module, lambda part: isinstance(part, torch.jit.ScriptModule)):
        raise CaptureError(
            f"model must be an nn.Module in Python, not TorchScript ({listing(scripted)})\n"
            "return the module as it is before torch.jit.script or torch.jit.trace"
        )
    if quantised := _of(module, lambda part: type(part).__module__.startswith(_QUANTISED)):
        raise CaptureError(
            f"model must have float layers, not quantised ones ({listing(quantised)})\n"
            "return the float model: its integers are chosen here, with `moesaic quantise`"
        )
    fakes = (FakeQuantizeBase, ObserverBase)
    if fake := _of(module, lambda part: isinstance(part, fakes) or type(part).__module__.startswith(_QAT)):
        raise CaptureError(
            f"model must have plain float layers, not fake-quantised ones of quantisation-aware training "
            f"({listing(fake)})\n"
            "return the model as it is before prepare_qat, with the trained weights loaded into it: integers are "
            "chosen here, with `moesaic quantise`"
        )
    if training := _of(module, lambda part: part.training):
        raise CaptureError(
            f"model must be in inference mode, not in training mode ({listing(training)})\n"
            "call model.eval() before returning it: dropout and noisy gates would change what it computes"
        )


def _check_tensors(tensors: Mapping[str, torch.Tensor]) -> None:
    """What parameters and buffers must be."""
    is_lazy = torch.nn.parameter.is_lazy
    for what, instead, wrong in (
        ("initialised, not lazy", "run the module once on an image", is_lazy),
        ("in memory, not on the meta device", "load the weights", lambda t: not is_lazy(t) and t.is_meta),
        ("plain tensors, not of another class", "dequantise or gather them", lambda t: type(t) not in _PLAIN),
        ("dense, not sparse or nested", "call .to_dense()", lambda t: t.layout != torch.strided or t.is_nested),
    ):
        if bad := [name for name, tensor in tensors.items() if wrong(tensor)]:
            raise CaptureError(f"parameters must be {what} ({listing(bad)}): {instead}")


def prepare(module: Any) -> tuple[nn.Module, tuple[str, ...]]:
    """A module ready to be traced, a copy if it can be copied, and what the user should know.

    Raises
    ------
    CaptureError
        If it is no module, in training mode, scripted, quantised or fake-quantised, its parameters are not plain
        tensors in memory, or it must be converted and cannot be copied.
    """
    if not isinstance(module, nn.Module):
        raise CaptureError(f"model must be an nn.Module, not {type(module).__name__}")
    module = _unwrapped(module)
    _check_kind(module)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    _check_tensors(tensors)
    kinds = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} - {torch.float32}
    notes = [f"converted to float32: parameters of {', '.join(sorted(str(k) for k in kinds))}"] if kinds else []
    try:
        return copied(module, torch.float32), tuple(notes)
    except CaptureError:
        if kinds or any(tensor.is_inference() or tensor.device.type != "cpu" for tensor in tensors.values()):
            raise
        return module, ()  # it is as it must be already
