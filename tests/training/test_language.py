"""The objectives: which tokens are hidden, which are predicted, and that training goes on where it stopped."""

import numpy as np
import pytest
import torch
from transformers import T5Config, T5EncoderModel

from magnet_eval.generators.autoregressive import delay
from magnet_eval.generators.transformer import LanguageModel, LMConfig, causal_mask
from magnet_eval.training import language, objectives
from magnet_eval.training.captions import plain
from magnet_eval.training.composer import all_pieces
from magnet_eval.training.corpus import Batch, Corpus
from magnet_eval.training.text import fit_tokenizer

CONFIG = LMConfig(dim=32, num_heads=2, num_layers=1, card=16, text_dim=8, span_len=3, subcodes_context=2)


def batch(rows=32, frames=14):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(16, (rows, 4, frames), generator=generator)
    hidden = torch.randn(rows, 5, 8, generator=generator)
    return Batch(codes, hidden, torch.ones(rows, 5, dtype=torch.bool))


def test_whole_spans_are_hidden_at_the_rate():
    masks = objectives.span_masks(torch.tensor([0.0, 0.5, 1.0]), 13, 3, torch.Generator().manual_seed(0))
    assert masks.shape == (3, 12)
    spans = masks.unflatten(1, (4, 3))
    assert torch.equal(spans.all(-1), spans.any(-1))
    assert spans.all(-1).sum(1).tolist() == [1, 2, 4]


@pytest.mark.parametrize("prompts", [False, True])
def test_masked_objective_hides_what_it_predicts(prompts):
    seen = []

    class Spy(LanguageModel):
        def forward(self, codes, *args, codebook=None, **kwargs):
            seen.append((codebook, codes.clone()))
            return super().forward(codes, *args, codebook=codebook, **kwargs)

    loss = objectives.Loss()
    objectives.masked_loss(Spy(CONFIG), batch(), loss, torch.Generator().manual_seed(1), prompts=prompts)
    assert [stage for stage, _ in seen] == [0, 1, 2, 3]
    for stage, codes in seen:
        assert (codes[:, :stage] < 16).all()  # earlier codebooks are given
        hidden = codes[:, stage] == 16
        assert loss.count[stage] == hidden.sum() > 0
        if not prompts:
            assert (codes[:, stage + 1 :] == 16).all()  # later ones are not


@pytest.mark.parametrize("rows", [2, 3, 7, 64])  # parts of a small batch have fewer rows than 1 / drop
def test_the_share_of_rows_without_text_is_the_one_asked_for(rows):
    lm, data, generator = LanguageModel(CONFIG), batch(rows), torch.Generator().manual_seed(0)
    told = [data.conditions(lm, 0.15, generator)[1].any(1).sum().item() for _ in range(2000)]
    assert abs(1 - np.mean(told) / rows - 0.15) < 4 * np.sqrt(0.15 * 0.85 / 2000)
    assert not data.conditions(lm, 1.0, generator)[1].any()
    assert data.conditions(lm, 0.0, generator)[1].all()


def test_autoregressive_objective_cannot_see_ahead():
    torch.manual_seed(0)
    lm, data = LanguageModel(CONFIG), batch(rows=2)
    changed = Batch(data.codes.clone(), data.hidden, data.mask)
    changed.codes[:, :, 8:] = (changed.codes[:, :, 8:] + 1) % 16
    text, mask = data.conditions(lm, 0.0, torch.Generator())
    outputs = [lm(delay(b.codes, 16)[..., :-1], text, mask, attention_mask=causal_mask(17)) for b in (data, changed)]
    assert torch.allclose(outputs[0][:, 0, :9], outputs[1][:, 0, :9], atol=1e-5)
    assert not torch.allclose(outputs[0][:, 0, 9:], outputs[1][:, 0, 9:], atol=1e-3)


def test_every_family_learns_and_goes_on(tmp_path, monkeypatch):
    pieces = list(all_pieces())[:64]
    fit_tokenizer([plain(piece) for piece in pieces]).save_pretrained(tmp_path / "text")
    T5EncoderModel(T5Config(vocab_size=800, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path / "text"
    )
    monkeypatch.setattr(language.TrainConfig, "network", lambda _: CONFIG)
    monkeypatch.setattr(language, "learning_rate", lambda *_: 2e-2)
    codes = torch.zeros(64, 4, 14, dtype=torch.int16)  # trivial: always the same token
    for family in objectives.OBJECTIVES:
        corpus = Corpus(codes, pieces, tmp_path / "text", np.random.default_rng(0))
        config = language.TrainConfig(family, batch=8)
        arguments = (config, corpus, corpus, tmp_path / family, tmp_path / f"{family}.pt")
        first = language.train_language(*arguments, minutes=9, max_steps=15)
        again = language.train_language(*arguments, minutes=9, max_steps=30)
        assert (first["steps"], again["steps"]) == (15, 30)
        assert (tmp_path / family / "model.safetensors").is_file()
        worst = max(max(values) for values in again["held_out"].values())
        assert worst < np.log(16)  # better than guessing


def test_the_average_of_the_weights_lags_and_is_taken_up_again(tmp_path, monkeypatch):
    monkeypatch.setattr(language.TrainConfig, "network", lambda _: CONFIG)
    config = language.TrainConfig("masked", lr=1e-2)
    trainer = language.Trainer(config, tmp_path / "state.pt", "cpu", seed=0)
    weights, averages = [], []
    for _ in range(3):
        trainer.learn(batch(), done=0.0)
        weights.append(next(trainer.lm.parameters()).clone())
        averages.append(next(trainer.average.parameters()).clone())
    decay = 3 / 12
    assert torch.allclose(averages[2], decay * averages[1] + (1 - decay) * weights[2], atol=1e-6)
    assert not torch.equal(averages[2], weights[2])
    trainer.save()
    again = language.Trainer(config, tmp_path / "state.pt", "cpu", seed=0)
    assert torch.equal(next(again.average.parameters()), averages[2])
    assert torch.equal(next(again.lm.parameters()), weights[2])


@pytest.mark.gpu
@pytest.mark.parametrize("family", objectives.OBJECTIVES)
def test_a_gpu_learns_the_same_objective(family, tmp_path, monkeypatch):
    monkeypatch.setattr(language.TrainConfig, "network", lambda _: CONFIG)
    losses = {}
    for device in ("cpu", "cuda"):
        data = batch()
        moved = Batch(data.codes.to(device), data.hidden.to(device), data.mask.to(device))
        trainer = language.Trainer(
            language.TrainConfig(family, lr=1e-3), tmp_path / f"{family}-{device}.pt", device, seed=0
        )
        losses[device] = trainer.learn(moved, done=0.0).mean().item()
    assert losses["cuda"] == pytest.approx(losses["cpu"], abs=0.05)
