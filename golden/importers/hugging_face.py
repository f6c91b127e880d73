"""ViT and DeiT of Hugging Face `transformers`: names, old and new, as timm's."""

import re

import torch

from moesaic.golden.importers.files import Tensors

__all__ = ["to_timm"]

_PLAIN = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_QKV = {
    "attention.attention.query": 0,
    "attention.attention.key": 1,
    "attention.attention.value": 2,
    "attention.q_proj": 0,
    "attention.k_proj": 1,
    "attention.v_proj": 2,
}
_LAYER = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)\.(weight|bias)")


def to_timm(tensors: Tensors) -> tuple[Tensors, dict[str, str]]:
    """Tensors under timm's names, query, key and value joined; and for each name that of the file.

    A name that is not known stays as it is. Query, key and value are joined if all three are there and alike; else the
    ones that are there keep their names, and the joined one is missing.
    """
    result: Tensors = {}
    names: dict[str, str] = {}
    parts: dict[str, dict[int, str]] = {}
    for name, tensor in tensors.items():
        layer = _LAYER.fullmatch(name)
        if layer is None:
            for theirs, ours in _PLAIN.items():
                if name == theirs or name.startswith(f"{theirs}."):
                    new = ours + name.removeprefix(theirs)
                    break
            else:
                new = name
        elif layer.group(2) in _QKV:
            joined = f"blocks.{layer.group(1)}.attn.qkv.{layer.group(3)}"
            parts.setdefault(joined, {})[_QKV[layer.group(2)]] = name
            continue
        elif layer.group(2) in _BLOCK:
            new = f"blocks.{layer.group(1)}.{_BLOCK[layer.group(2)]}.{layer.group(3)}"
        else:
            new = name
        result[new], names[new] = tensor, name
    for joined, three in parts.items():
        found = [tensors[three[i]] for i in sorted(three)]
        if len(three) == 3 and len({(t.shape, t.dtype) for t in found}) == 1 and found[0].ndim:
            result[joined] = torch.cat(found)
            names[joined] = " + ".join(three[i] for i in range(3))
        else:
            result |= {name: tensors[name] for name in three.values()}
            query = min(three.values())
            names[joined] = re.sub(r"(query|key|value|[qkv]_proj)(?=\.\w+$)", "query, key and value", query)
    return result, names
