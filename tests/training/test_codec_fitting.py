"""Fitting the codec: what is saved goes on, the critic tells made from real, the decoder learns in every phase."""

import numpy as np
import pytest
import torch

from magnet_eval.training import codec, codec_fitting
from magnet_eval.training.codec_fitting import CodecFit
from magnet_eval.training.critic import SpectrogramCritic, critic_loss, decoder_losses
from magnet_eval.training.fitting import adamw, fit
from magnet_eval.training.states import save

MOMENT = 0.5 / 60  # minutes


def test_a_fit_that_is_stopped_goes_on(tmp_path):
    target = torch.tensor([[1.0, -2.0]])

    def go(minutes: float) -> tuple[int, torch.nn.Linear]:
        torch.manual_seed(0)
        module = torch.nn.Linear(2, 1)
        loss = lambda rng: (module.weight - target).square().sum()  # noqa: E731
        return fit(module, loss, tmp_path / "toy.pt", minutes, lr=0.1, seed=0), module

    half, module = go(MOMENT / 2)
    assert half > 0
    same, again = go(MOMENT / 2)
    assert same == half  # its time is spent
    assert torch.equal(again.weight, module.weight)
    whole, learned = go(MOMENT)
    assert whole > half
    assert (learned.weight - target).abs().max() < 0.1


def test_the_critic_learns_to_tell_made_from_real():
    torch.manual_seed(0)
    critic, time = SpectrogramCritic(channels=4), torch.arange(8000) / 16000
    optimizer = adamw(critic, 3e-3)
    losses = []
    for _ in range(40):
        real = torch.sin(2 * torch.pi * (200 + 400 * torch.rand(4, 1)) * time)
        loss = critic_loss(critic(real), critic(0.5 * torch.randn(4, 8000)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_what_equals_the_real_has_its_features():
    torch.manual_seed(0)
    critic, audio = SpectrogramCritic(channels=4), torch.randn(2, 8000)
    assert decoder_losses(critic(audio), critic(audio))[1] == 0
    assert decoder_losses(critic(audio), critic(0.1 * audio))[1] > 0.3


@pytest.mark.parametrize(
    "phase", [pytest.param("rough", marks=pytest.mark.slow), pytest.param("fine", marks=pytest.mark.slow), "polish"]
)
def test_every_phase_of_the_decoder_lowers_its_loss(phase, tmp_path):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    audio = (3000 * np.sin(np.arange(80_000) * rng.uniform(0.05, 0.3, (4, 1)))).astype(np.int16)
    codes = torch.randint(0, 256, (4, 4, 125), dtype=torch.int16)
    books = torch.randn(4, 256, 64)
    model = codec.empty_codec(filters=4)

    def loss() -> float:
        rows, starts = np.arange(4), np.zeros(4, int)
        made = codec.decoded(model, codes, books, rows, starts, 40).detach()
        return codec.spectral_loss(made, torch.from_numpy(audio[:, : 40 * codec.HOP] / 32768).float()).item()

    before = loss()
    assert getattr(CodecFit(model, audio, codes, books, tmp_path), phase)(8 * MOMENT) > 0
    assert loss() < before
    assert (tmp_path / f"codec-{phase}.pt").is_file()


def test_more_time_for_a_phase_begins_the_later_ones_anew(tmp_path, monkeypatch):
    phases = (*codec_fitting.PHASES, "encoder")
    for phase in phases:
        save(tmp_path / f"codec-{phase}.pt", {"seconds": 60.0, "seed": 0})
    monkeypatch.setattr(codec_fitting, "fit", lambda *args, **kwargs: 0)
    fitting = CodecFit(codec.empty_codec(filters=4), np.zeros((1, 80_000), np.int16), *torch.zeros(2, 1), tmp_path)

    def there() -> list[str]:
        return [phase for phase in phases if (tmp_path / f"codec-{phase}.pt").is_file()]

    fitting.rough(minutes=1)
    assert there() == list(phases)  # it was done: they go on
    fitting.fine(minutes=2)
    assert there() == ["rough", "fine", "encoder"]
