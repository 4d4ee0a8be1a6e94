"""Token loops side by side on a CPU: this package's, audiocraft's and transformers', with the same random weights.

Writes results/measured/decoders.md. Run it on an otherwise idle machine, half an hour:
OMP_NUM_THREADS=2 python tests/benchmarks/decoders.py peer/bin/python, whose argument is the Python of an environment
with audiocraft (tests/peer/environment.sh); without it audiocraft's rows are absent. Each loop is a process of its own;
they take turns, so that a machine that grows slower does so for all, and a ratio is the median over the turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from magnet_eval.environment import environment
from magnet_eval.generators.transformer import LanguageModel, LMConfig

ROOT = Path(__file__).resolve().parents[2]
SECONDS, TEXT_TOKENS = 10, 20
SHAPE = LMConfig(dim=512, num_heads=8, num_layers=8, text_dim=8)
LOOPS = {  # family -> whose and in which dtype, the one to compare with first
    "masked": (("audiocraft", "float32"), ("magnet_eval", "float32"), ("magnet_eval", "bfloat16")),
    "autoregressive": (
        ("audiocraft", "float32"), ("transformers", "float32"), ("magnet_eval", "float32"), ("magnet_eval", "bfloat16"),
    ),
}  # fmt: skip
BARS = {  # (family, whose, dtype) -> {against: least ratio}
    ("masked", "magnet_eval", "float32"): {"audiocraft": 1.35},
    ("masked", "magnet_eval", "bfloat16"): {"audiocraft": 3.0},
    ("autoregressive", "magnet_eval", "float32"): {"audiocraft": 1.5, "transformers": 1.5},
    ("autoregressive", "magnet_eval", "bfloat16"): {"audiocraft": 2.5},
}
TINY = ("magnet-tiny", "musicgen-tiny")
METRICS = ("fad_musicnn_tiny", "kl_mtt_tiny", "clap_tiny")
TITLES = {"masked": "MAGNeT", "autoregressive": "MusicGen"}


@dataclass
class Loop:
    """One process that answers requests, and its times."""

    whose: str
    dtype: str
    process: subprocess.Popen
    codes: dict[str, torch.Tensor] = field(default_factory=dict)  # of the greedy run, by family
    seconds: list[float] = field(default_factory=list)

    def ask(self, family: str, *, greedy: bool, seed: int) -> float:
        """Seconds of one run."""
        request = {"family": family, "dtype": self.dtype, "greedy": greedy, "seed": seed, "frames": 50 * SECONDS}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the loop of {self.whose} ended; what it said is above.")
        answer = json.loads(line)
        if greedy:
            self.codes[family] = torch.tensor(answer["codes"])
        return answer["seconds"]


def write_world(world: Path) -> None:
    """shape.json, text.safetensors and one file of random weights per family, scaled so that every input tells."""
    for family, seed in (("masked", 0), ("autoregressive", 1)):
        torch.manual_seed(seed)
        lm = LanguageModel(SHAPE)
        with torch.no_grad():
            for name, weight in lm.named_parameters():
                if name.startswith("emb."):
                    weight.mul_(10)
                elif "cross_attention" in name or name.startswith("linears"):
                    weight.mul_(3)
        weights = {name: value for name, value in lm.state_dict().items() if not name.startswith("condition")}
        save_file(weights, world / f"{family}.safetensors")
    (world / "shape.json").write_text(json.dumps(asdict(SHAPE)))
    text = torch.randn(1, TEXT_TOKENS, SHAPE.dim, generator=torch.Generator().manual_seed(2))
    save_file({"text": text}, world / "text.safetensors")


def start(whose: str, dtype: str, world: Path, python: str) -> Loop:
    """A loop's process."""
    # -P: the folder of the script is no place to import from, it has files by the names of packages
    words = [python, "-P", str(Path(__file__).with_name("decoder_peers.py")), whose, str(world)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return Loop(whose, dtype, subprocess.Popen(words, text=True, env=environ, **pipes))


def measure(family: str, world: Path, peer: str | None, rounds: int) -> list[Loop]:
    """The loops of one family, with the seconds of sampled runs in turns and the tokens of a greedy one."""
    loops = []
    for whose, dtype in LOOPS[family]:
        python = peer if whose == "audiocraft" else sys.executable
        if python:
            loops.append(start(whose, dtype, world, python))
    for loop in loops:
        loop.ask(family, greedy=True, seed=0)  # and a warm-up
    for turn in range(rounds):
        for loop in loops:
            loop.seconds.append(loop.ask(family, greedy=False, seed=turn))
    for loop in loops:
        loop.process.communicate()
    return loops


def speed_rows(family: str, loops: list[Loop]) -> list[str]:
    """Table rows of one family."""
    rows = []
    plain = next(loop for loop in loops if (loop.whose, loop.dtype) == ("magnet_eval", "float32"))
    for loop in loops:
        length = min(loop.codes[family].shape[2], plain.codes[family].shape[2])  # MAGNeT makes whole spans only
        equal = (loop.codes[family][..., :length] == plain.codes[family][..., :length]).float().mean()
        ratios = []
        for other in loops:
            bar = BARS.get((family, loop.whose, loop.dtype), {}).get(other.whose)
            if bar:
                ratio = float(np.median(np.array(other.seconds) / np.array(loop.seconds)))
                ratios.append(f"{ratio:.2f} x {other.whose} (bar {bar:g})")
        each = ", ".join(f"{value:.2f}" for value in loop.seconds)
        rows.append(
            f"| {TITLES[family]} | {loop.whose} | {loop.dtype} | {np.median(loop.seconds):.2f} | {each} | "
            f"{'; '.join(ratios)} | {100 * equal:.1f} % |"
        )
    return rows


def call(home: Path, *words: str) -> None:
    """One call of magnet-eval."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "magnet_eval", *words], check=True, cwd=home, env=environ, stdout=subprocess.DEVNULL
    )


def quality_rows(clips: int) -> list[str]:
    """bfloat16 minus float32 on the embedded models: the same prompts and seeds, paired tests of the package itself."""
    prompts = {"source": "tiny", "n": clips, "seconds": 5}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "protocols").mkdir()
        make = {"version": 1, "prompts": prompts, "systems": list(TINY), "metrics": {}, "reference": {"source": "tiny"}}
        (home / "protocols" / "make.yaml").write_text(json.dumps(make))
        for dtype in ("float32", "bfloat16"):
            call(home, "generate", "protocol=make", f"protocol.generation.dtype={dtype}", f"results={dtype}")
        for model in TINY:
            systems = [
                {"model": "files", "label": dtype, "set": {"folder": f"{dtype}/make-v1/{model}/audio"}}
                for dtype in ("float32", "bfloat16")
            ]
            judged = {**make, "systems": systems, "metrics": {metric: {} for metric in METRICS}}
            (home / "protocols" / f"{model}.yaml").write_text(json.dumps(judged))
            for verb in ("generate", "score"):
                call(home, verb, f"protocol={model}")
            lines = (home / "results" / f"{model}-v1" / "scores.jsonl").read_text().splitlines()
            scores = [json.loads(line) for line in lines]
            plain = {row["metric"]: row["value"] for row in scores if row["system"] == "float32" and not row["versus"]}
            for row in scores:
                if row["system"] == "bfloat16" and row["versus"] == "float32":
                    rows.append(
                        f"| {model} | {row['label']} | {plain[row['metric']]:.4g} | {row['value']:+.2g} | "
                        f"{row['low']:+.2g} to {row['high']:+.2g} | {row['p_value']:.2g} |"
                    )
    return rows


def command(options: argparse.Namespace) -> str:
    """What to type to make the same tables."""
    peer = " peer/bin/python" if options.peer else ""
    return f"tests/benchmarks/decoders.py{peer} --rounds {options.rounds} --clips {options.clips}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", nargs="?", help="Python of an environment with audiocraft")
    parser.add_argument("--rounds", type=int, default=5, help="runs of every loop [5]")
    parser.add_argument("--clips", type=int, default=200, help="clips of each model and dtype for the scores [200]")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    speed = []
    with tempfile.TemporaryDirectory() as world:
        write_world(Path(world))
        for family in LOOPS:
            speed += speed_rows(family, measure(family, Path(world), options.peer, options.rounds))
    known = environment()
    hardware = known["hardware"]
    lines = [
        "# Token loops side by side",
        "",
        f"`OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'all')} python {command(options)}`, "
        f"Python {known['python']}, torch {known['packages']['torch']}; {hardware['cpu']}, {hardware['cores']} cores.",
        "",
        f"{SHAPE.num_layers} layers, width {SHAPE.dim}, random weights, the same in all; {SECONDS} s of 4 codebooks at "
        f"50 Hz, one clip, a text of {TEXT_TOKENS} tokens, guidance. MAGNeT with 20, 10, 10, 10 steps and top-p 0.9, "
        "MusicGen with top-k 250. Token loop alone, text encoder and codec left out. Medians of turns, and of the "
        "ratios within a turn. Equal: greedy tokens that are this package's in float32.",
        "",
        "| model | loop | dtype | seconds | each turn | times as fast as | equal |",
        "|---|---|---|---:|---|---|---:|",
        *speed,
        "",
        f"## bfloat16 against float32: scores of {options.clips} clips of 5 s by the embedded models",
        "",
        "The same prompts and seeds; difference with its 95 % interval and p-value, paired by prompt.",
        "",
        "| model | metric | float32 | bfloat16 minus float32 | interval | p |",
        "|---|---|---:|---:|---|---:|",
        *quality_rows(options.clips),
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured").mkdir(parents=True, exist_ok=True)
    (ROOT / "results" / "measured" / "decoders.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
