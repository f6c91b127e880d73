"""The nearest supported thing to what the accelerator has not."""

__all__ = ["MIXTURE_RECIPE", "nearest"]

MIXTURE_RECIPE = "the mixture of docs/models.md: all experts on all tokens, times a [tokens, experts] table of factors"

_ACTIVATION = "GELU, ReLU, squared ReLU, SiLU or quick GELU between two linear layers, or a gated MLP"
_NORM = "nn.LayerNorm or nn.RMSNorm before attention and before the MLP"
_FLOAT = "the float layer alone: integers are chosen here, with `moesaic quantise`"
_NEAREST = {
    "relu": _ACTIVATION,
    "relu_": _ACTIVATION,
    "relu6": _ACTIVATION,
    "leaky_relu": _ACTIVATION,
    "silu": _ACTIVATION,
    "hardswish": _ACTIVATION,
    "elu": _ACTIVATION,
    "mish": _ACTIVATION,
    "hardtanh": _ACTIVATION,
    "tanh": _ACTIVATION,
    "sigmoid": _ACTIVATION,
    "softplus": _ACTIVATION,
    "batch_norm": _NORM,
    "_native_batch_norm_legit_no_training": _NORM,
    "group_norm": _NORM,
    "rsqrt": _NORM,
    "mean": "nn.LayerNorm or nn.RMSNorm for a norm written out; a mean over tokens after the last block only",
    "max_pool2d": "patch embedding as one convolution whose kernel and stride are the patch",
    "avg_pool2d": "patch embedding as one convolution whose kernel and stride are the patch",
    "pad": "patches cut by one convolution whose kernel and stride are the patch; every token attends to all",
    "nonzero": MIXTURE_RECIPE,
    "nonzero_numpy": MIXTURE_RECIPE,
    "where": MIXTURE_RECIPE,
    "masked_select": MIXTURE_RECIPE,
    "item": MIXTURE_RECIPE,
    "_local_scalar_dense": MIXTURE_RECIPE,
    "index_add": MIXTURE_RECIPE,
    "index_put": MIXTURE_RECIPE,
    "scatter": MIXTURE_RECIPE,
    "fake_quantize_per_tensor_affine": _FLOAT,
    "fake_quantize_per_channel_affine": _FLOAT,
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams": _FLOAT,
    "quantize_per_tensor": _FLOAT,
    "round": _FLOAT,
    "bernoulli": "nn.Dropout, after .eval()",
    "native_dropout": "nn.Dropout, after .eval()",
    "cumsum": "learnt positions, added once to the embedded tokens",
    "cos": "learnt positions, added once to the embedded tokens",
    "sin": "learnt positions, added once to the embedded tokens",
    "neg": "learnt positions, added once to the embedded tokens (rotary positions are not supported)",
}


def nearest(name: str) -> str:
    """The nearest supported thing to an ATen operator."""
    return _NEAREST.get(name, "a pre-norm block: x + attention(norm(x)), then x + MLP(norm(x))")
