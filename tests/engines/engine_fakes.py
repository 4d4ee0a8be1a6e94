"""Systems that die, and the smallest of work; in a module of its own, since workers import it by its name."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from pipeline_fakes import RATE, Chords

from magnet_eval.generators import Generation


class Fragile(Chords):
    """Chords whose process is killed by the text "deadly", once where decoding.scar names a file, else every time."""

    def generate(self, prompts, seeds):
        scar = self.settings.get("scar")
        if any(prompt.text == "deadly" for prompt in prompts) and not (scar and Path(scar).exists()):
            if scar:
                Path(scar).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(prompts, seeds)


class Doomed(Chords):
    """Chords whose process is killed while it loads."""

    def __init__(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)


class Sleeper:
    """Takes decoding.delay seconds a clip and no CPU; decoding.crowd workers begin together, once all have loaded."""

    sample_rate = RATE

    def __init__(self, model, *args, **kwargs):
        self.delay = model.decoding["delay"]
        Path(f"loaded-{os.getpid()}").touch()
        while len(list(Path().glob("loaded-*"))) < model.decoding["crowd"]:
            time.sleep(0.01)

    def generate(self, prompts, seeds):
        time.sleep(self.delay * len(prompts))
        n_samples = int(prompts[0].seconds * RATE)
        made = [np.full((1, n_samples), seed % 1000 / 1000, dtype=np.float32) for seed in seeds]
        return Generation(made, 0, 0, iterations=1, network_evaluations=1, stage_seconds={})


def square(device):
    """Work: squares after FAKE_SECONDS; "boom" is a bug."""

    def do(number):
        time.sleep(float(os.environ.get("FAKE_SECONDS", 0)))
        if number == "boom":
            raise KeyError("boom")
        return number * number

    return do


def where(device):
    """Work: the process, device, number of CPU threads and folder that a task has."""
    import torch

    def do(task):
        time.sleep(0.2)
        return os.getpid(), device, torch.get_num_threads(), os.getcwd()  # noqa: PTH109

    return do
