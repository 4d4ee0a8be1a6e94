"""Parity vectors of audiocraft, and a model zoo of random weights in the real file formats."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from magnet_eval import generators
from magnet_eval.generators.transformer import LanguageModel, LMConfig
from magnet_eval.lookup import UserError
from magnet_eval.model import Model

DATA = Path(__file__).parents[1] / "data"


class Vectors:
    """Tensors and cases of one parity file."""

    def __init__(self, family: str) -> None:
        with safe_open(DATA / f"parity_{family}.safetensors", "pt") as file:
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            cases = json.loads(file.metadata()["cases"])
        self.models: dict[str, dict] = cases["models"]
        self.runs: dict[str, dict] = cases["runs"]

    def tokens(self, name: str) -> torch.Tensor | None:
        """Integer tensors were stored as int16."""
        return self.tensors[name].long() if name in self.tensors else None

    def model(self, name: str) -> LanguageModel:
        lm = LanguageModel(LMConfig(**self.models[name]))
        prefix = f"{name}/weights/"
        weights = {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}
        lm.load_state_dict(weights, strict=True)
        return lm.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def magnet_vectors() -> Vectors:
    return Vectors("magnet")


@pytest.fixture(scope="session")
def musicgen_vectors() -> Vectors:
    return Vectors("musicgen")


def save_lm(folder: Path, lm: LanguageModel) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(lm.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"family": "masked", **asdict(lm.config)}))
    return folder


def lively(lm: LanguageModel) -> LanguageModel:
    """Weights scaled up, so that tokens, text and position all move the argmax."""
    with torch.no_grad():
        for name, weight in lm.named_parameters():
            if name.startswith("emb."):
                weight.mul_(10)
            elif "cross_attention" in name or name.startswith("linears"):
                weight.mul_(3)
    return lm.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders text, codec, lm (hybrid-capable), other: random, tiny, at 16 kHz and 25 Hz."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import EncodecConfig, EncodecModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

    root = tmp_path_factory.mktemp("zoo")
    torch.manual_seed(1)
    alphabet = ["<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", model_max_length=48)
    fast.save_pretrained(root / "text")
    t5 = T5Config(
        vocab_size=len(alphabet), d_model=24, d_kv=6, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0
    )  # fmt: skip
    T5EncoderModel(t5).save_pretrained(root / "text")
    codec = EncodecConfig(
        sampling_rate=16000, audio_channels=1, upsampling_ratios=[8, 5, 4, 4], num_filters=4, hidden_size=16,
        codebook_size=64, codebook_dim=16, num_lstm_layers=1, normalize=False, chunk_length_s=None,
        target_bandwidths=[0.6], use_causal_conv=False,
    )  # fmt: skip
    encodec = EncodecModel(codec)
    for layer in encodec.quantizer.layers:  # a new codebook is all zeros: every token would sound alike
        layer.codebook.embed.normal_()
    encodec.save_pretrained(root / "codec")
    shape = LMConfig(dim=32, num_heads=4, num_layers=2, card=64, text_dim=24, frame_rate=25.0, segment_seconds=5.0)
    save_lm(root / "lm", lively(LanguageModel(shape)))
    save_lm(root / "other", lively(LanguageModel(shape)))
    (root / "unigram").mkdir()
    counts = torch.zeros(4, 64)
    counts[:, 10:20] = torch.rand(4, 10) + 0.1
    save_file({"counts": counts}, root / "unigram" / "counts.safetensors")
    return root


@pytest.fixture
def refusal() -> Callable[..., str]:
    """What building a model of a checkpoint says, in one line."""

    def said(checkpoint: Path, family: str = "masked", **changes) -> str:
        text = str(DATA / "pipeline" / "text")
        model = Model(family, str(checkpoint), name="m", **{"text": text, **changes})
        with pytest.raises(UserError) as caught:
            generators.build(model, "cpu")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
        return str(caught.value)

    return said
