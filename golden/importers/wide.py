"""Types that nothing is lost in when tensors are folded, merged, scaled or compared, whatever a file holds."""

import torch

__all__ = ["for_host", "wide"]

# Types of fewer bits than float32, all of whose numbers are float32's too.
_NARROW = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in float32, if they were in fewer bits; else the tensor itself."""
    return tensor.to(torch.float32) if tensor.dtype in _NARROW else tensor


def for_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a head's tensor, as what a file maps into memory would go with the file; numbers as float32."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
