"""From text to waveform as audiocraft 1.3.0 does it, on its own checkpoint files; tests/peer wrote them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from magnet_eval import generators
from magnet_eval.generators.codec import Codec
from magnet_eval.model import Model
from magnet_eval.records import Prompt

DATA = Path(__file__).parents[1] / "data" / "pipeline"
CASES = json.loads((DATA / "cases.json").read_text())
RUNS = CASES["runs"]
TOLERANCE = 1e-4
FAMILIES = {"MAGNeT": "masked", "MusicGen": "autoregressive", "AudioGen": "autoregressive"}
CODECS = {"musicgen": "encodec", "audiogen": "sound"}  # the others' lie beside them
SETTINGS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "decoding_steps": "steps",
    "max_cfg_coef": "cfg_max",
    "min_cfg_coef": "cfg_min",
    "span_arrangement": "span_arrangement",
    "cfg_coef": "cfg",
    "two_step_cfg": "two_step_cfg",
    "extend_stride": "stride_seconds",
}


@pytest.fixture(scope="module")
def vectors() -> dict[str, torch.Tensor]:
    return load_file(DATA / "vectors.safetensors")


def model(name: str, padding: str = "reference") -> Model:
    """The model of a run, set as the run was."""
    run, folder = RUNS[name], name.split("/")[0]
    params = dict(run["params"])
    params.pop("duration", None)
    greedy = not params.pop("use_sampling", True)
    return Model(
        family=FAMILIES[run["class"]],
        checkpoint=str(DATA / folder),
        text=str(DATA / "text"),
        codec=str(DATA / CODECS[folder]) if folder in CODECS else "",
        padding=padding,
        decoding={"greedy": greedy, "sampling": "reference"} | {SETTINGS[key]: params[key] for key in params},
    )


def generate(name: str, texts: list[str] | None = None, padding: str = "reference") -> tuple[torch.Tensor, np.ndarray]:
    """Tokens [B, K, T] and waveforms [B, 1, samples] of a run."""
    run = RUNS[name]
    prompts = [Prompt(str(i), text, run["params"].get("duration", 1)) for i, text in enumerate(texts or run["texts"])]
    generator = generators.build(model(name, padding), device="cpu")
    codes = []
    waveforms = generator.codec.waveforms
    generator.codec.waveforms = lambda rows, **how: (codes.append(rows), waveforms(rows, **how))[1]
    made = generator.generate(prompts, [run["seed"]] * len(prompts))
    return torch.cat(codes), np.stack(made.audio)


@pytest.mark.parametrize("name", RUNS)
def test_text_to_waveform(vectors, name):
    codes, audio = generate(name)
    assert torch.equal(codes, vectors[f"{name}/tokens"].long())
    assert audio.shape[-1] == RUNS[name]["samples"]
    assert np.abs(audio[..., :: CASES["keep"]] - vectors[f"{name}/wav"].numpy()).max() < TOLERANCE


@pytest.mark.parametrize("family", ["magnet", "musicgen"])
def test_padding_of_the_reference_leaks_and_ours_does_not(vectors, family):
    """The shorter text of a batch: another clip than alone by the reference's rule, the same one by ours."""
    alone = vectors[f"{family}/greedy_one_text/tokens"].long()
    assert not torch.equal(vectors[f"{family}/greedy/tokens"][:1].long(), alone)
    codes, _ = generate(f"{family}/greedy", padding="isolated")
    assert torch.equal(codes[:1], alone)


@pytest.mark.parametrize("folder", CASES["codecs"])
def test_codec(vectors, folder):
    codec = Codec.read(DATA / folder, torch.device("cpu"))
    case, signal = CASES["codecs"][folder], vectors["codec/signal"]
    codes, wav = (vectors[f"codec/{folder}/{what}"] for what in ("codes", "wav"))
    assert (codec.sample_rate, codec.frame_rate, codec.card) == (case["sample_rate"], 50, 64)
    (decoded,) = codec.decode(codes.long(), one_by_one=False)
    assert np.abs(decoded - wav[0].numpy()).max() < TOLERANCE
    again = codec.round_trip(signal[0].numpy())
    assert np.abs(again - wav[0, :, : signal.shape[2]].numpy()).max() < TOLERANCE


def test_every_run_of_the_reference_is_held():
    assert len(RUNS) == 16 and set(CASES["codecs"]) == {"magnet", "sound", "encodec"}
    assert CASES["versions"]["audiocraft"] == "1.3.0"
