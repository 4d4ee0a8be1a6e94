"""Writes tests/data/clap_golden.npz: what laion-clap 1.1.7 computes with the tests' random weights.

VENV has magnet_eval with its extra ``reference`` and torchaudio, which laion-clap's fused models use for their mel
filters; where torchaudio's library does not fit torch, delete torchaudio/lib, and it works without.

    HF_HUB_OFFLINE=1 VENV/bin/python tests/peer/write_clap.py tests/data/clap_golden.npz
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "embedders"))
from clap_files import TEXTS, TINY, clap_state, save_roberta
from random_weights import sound

from magnet_eval import reference


@torch.inference_mode()
def vectors(fused: bool) -> dict[str, np.ndarray]:
    """Unit vectors of two sounds and of the texts by HTSAT-tiny."""
    module = reference.load("laion_clap").CLAP_Module(enable_fusion=fused, amodel="HTSAT-tiny", device="cpu")
    module.model.load_state_dict({**module.model.state_dict(), **clap_state(**TINY, fused=fused)})
    sounds = [torch.from_numpy(sound(seconds, 48_000))[None] for seconds in (10, 3)]
    audio = torch.cat([module.get_audio_embedding_from_data(x, use_tensor=True) for x in sounds]).numpy()
    return {"fused": audio} if fused else {"audio": audio, "text": module.get_text_embedding(TEXTS)}


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(save_roberta(Path(folder) / "roberta-base").parent)  # a folder of that name stands for the hub's
        np.savez_compressed(target, **vectors(fused=False), **vectors(fused=True))
        os.chdir(target.parent)
