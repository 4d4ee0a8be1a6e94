"""Writes tests/data/classifiers_golden.npz: what the published packages compute with the tests' random weights.

PEERS is a folder with torch-vggish-yamnet 0.2.1, hear21passt 0.0.26, panns-inference 0.1.1, audiobox-aesthetics 0.0.4
and what they import, and mel_features.py and vggish_params.py of torchvggish (Google's front end, unchanged):

    PYTHONPATH=PEERS VENV/bin/python tests/peer/write_classifiers.py tests/data/classifiers_golden.npz
"""

import contextlib
import io
import sys
import types
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "embedders"))
from random_weights import random_state, sound

# torchvision's compiled part may be for another torch; hear21passt only needs that its import works.
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    OPERATORS.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")


def vggish() -> dict[str, np.ndarray]:
    """Google's front end in both ways of windowing, and the network without its last ReLU."""
    import mel_features
    import vggish_params as params
    from torch_vggish_yamnet.vggish.model import VGGish

    def log_mel(samples: np.ndarray) -> np.ndarray:
        return mel_features.log_mel_spectrogram(
            samples,
            audio_sample_rate=params.SAMPLE_RATE,
            log_offset=params.LOG_OFFSET,
            window_length_secs=params.STFT_WINDOW_LENGTH_SECONDS,
            hop_length_secs=params.STFT_HOP_LENGTH_SECONDS,
            num_mel_bins=params.NUM_MEL_BINS,
            lower_edge_hertz=params.MEL_MIN_HZ,
            upper_edge_hertz=params.MEL_MAX_HZ,
        )

    network = VGGish()
    network.load_state_dict(random_state(network))
    network.embeddings = network.embeddings[:-1]
    audio = sound(2.99, 16_000).astype(np.float64)
    ported = mel_features.frame(log_mel(audio), 96, 96)
    scaled = audio * 32768
    scaled = scaled / np.maximum(0.1, np.amax(scaled))
    seconds = [scaled[start : start + 16_000] for start in range(0, len(scaled) - 16_000 + 1, 8_000)]
    google = np.concatenate([mel_features.frame(log_mel(second), 96, 96) for second in seconds])
    found = {}
    for name, patches in (("ported", ported), ("google", google)):
        found[f"vggish_{name}_patches"] = patches[:, ::5].astype(np.float32)
        with torch.inference_mode():
            found[f"vggish_{name}"] = network(torch.from_numpy(patches).float()[:, None]).numpy()
    return found


def cnn14() -> dict[str, np.ndarray]:
    """Embedding and logits of whole clips, at both rates."""
    package = types.ModuleType("panns_inference")  # its own __init__ downloads a list of labels
    package.__path__ = [str(Path(folder) / "panns_inference") for folder in sys.path]
    sys.modules["panns_inference"] = package
    from panns_inference.models import Cnn14

    found = {}
    for rate, n_fft in ((16_000, 512), (32_000, 1024)):
        network = Cnn14(rate, n_fft, n_fft * 5 // 16, 64, 50, rate // 2, 527).eval()
        network.load_state_dict(random_state(network))
        logits = []
        network.fc_audioset.register_forward_hook(lambda _, __, output, kept=logits: kept.append(output))
        with torch.inference_mode():
            embedding = network(torch.from_numpy(sound(1.3, rate))[None])["embedding"]
        found[f"cnn14_{rate}"] = torch.cat([embedding, logits[0]], dim=1).numpy()
    return found


def passt() -> dict[str, np.ndarray]:
    """Front end, and embedding and logits, of the networks for 10 and 20 s."""
    from hear21passt.base import AugmentMelSTFT, PasstBasicWrapper, get_model_passt

    front = AugmentMelSTFT(n_mels=128, fmin=0.0, fmin_aug_range=10, fmax_aug_range=2000).eval()
    audio = torch.from_numpy(sound(1.3, 32_000))[None]
    old = torch.stft

    def with_real_pairs(*given: object, **named: object) -> torch.Tensor:
        return torch.view_as_real(old(*given, **{**named, "return_complex": True}))

    torch.stft = with_real_pairs
    found = {}
    with contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
        found["passt_mel"] = front(audio)[0, :, ::4].numpy()
        for seconds, arch, frames in ((10, "passt_s_swa_p16_128_ap476", 998), (20, "passt_20sec", 2000)):
            network = get_model_passt(arch, pretrained=False, input_tdim=frames).eval()
            network.load_state_dict(random_state(network))
            logits, embedding = PasstBasicWrapper(front, network, mode="all").eval()(audio).split([527, 768], dim=1)
            found[f"passt_{seconds}"] = torch.cat([embedding, logits], dim=1).numpy()
    torch.stft = old
    return found


def audiobox() -> dict[str, np.ndarray]:
    """Ratings of a clip of 13 s and a sample, a whole window and one that is mostly padding, by a small network."""
    from audiobox_aesthetics.infer import AesPredictor
    from audiobox_aesthetics.model.aes import AXES_NAME, DEFAULT_AUDIO_CFG, AesMultiOutput, Normalize

    sizes = {"encoder_layers": 2, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 96, "encoder_attention_heads": 4}
    convolutions = "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2"
    DEFAULT_AUDIO_CFG.update({**sizes, "conv_feature_layers": convolutions, "conv_pos_groups": 4})
    network = AesMultiOutput(proj_num_layer=5, proj_ln=True, nth_layer=3).eval()
    network.load_state_dict(random_state(network))
    predictor = AesPredictor.__new__(AesPredictor)
    predictor.sample_rate, predictor.data_col, predictor.device, predictor.model = 16_000, "audio", "cpu", network
    predictor.target_transform = {axis: Normalize(5.0 + n, 1.0 + n) for n, axis in enumerate(AXES_NAME)}
    audio = torch.from_numpy(sound(208_001 / 16_000, 16_000))[None]
    (ratings,) = predictor.forward([{"audio": audio, "sample_rate": 16_000}])
    return {"audiobox": np.array([[ratings[axis] for axis in AXES_NAME]])}


def main(path: Path) -> None:
    """All of them into one file."""
    np.savez_compressed(path, **vggish(), **cnn14(), **passt(), **audiobox())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
