"""Modules that audiocraft 1.3.0 imports and that generating on a CPU does not need. Import this before audiocraft.

Nothing on disk is changed. Each stand-in gives the names that audiocraft touches while it is imported, no more:
whatever else is asked of one raises AttributeError.
"""

import importlib.machinery
import sys
import types
from typing import Any

import torch
import torch.nn.functional as F
import transformers.utils
from torch import Tensor


class LowerTriangularMask:
    """xformers' marker of causal attention."""


def memory_efficient_attention(q: Tensor, k: Tensor, v: Tensor, attn_bias: Any = None, p: float = 0.0) -> Tensor:
    """xformers' attention, [B, T, heads, width] in and out, by torch's own."""
    causal = isinstance(attn_bias, LowerTriangularMask)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mask = None if causal else attn_bias
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, is_causal=causal).transpose(1, 2)


def _stand_in(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__path__ = []  # a package: submodules are looked up in sys.modules, then missing
    vars(module).update(members)
    sys.modules[name] = module
    return module


# transformers would take the stand-in for the real thing: let it look, and remember, before there is one.
transformers.utils.is_torchaudio_available()

# xformers: 1.3.0 wants a version built for torch 2.1 with CUDA, and runs MAGNeT through its attention only.
ops = _stand_in(
    "xformers.ops",
    unbind=torch.unbind,
    memory_efficient_attention=memory_efficient_attention,
    LowerTriangularMask=LowerTriangularMask,
)
_stand_in("xformers", ops=ops)
# av: reads audio files, and needs FFmpeg's headers to be built.
_stand_in("av")
# spacy: splits words for a conditioner that no published text-to-audio model has.
_stand_in("spacy")
# torchaudio: spectrograms of losses, metrics and the melody conditioner; PyPI's build needs CUDA's libraries.
transforms = _stand_in("torchaudio.transforms", MelSpectrogram=None)
_stand_in("torchaudio", transforms=transforms)
