"""Published sizes in the official file layout, with random weights: load time, peak memory, one clip.

Writes results/measured/checkpoints.md. Run it on an otherwise idle machine with 10 GB of disk to spare:
python tests/benchmarks/checkpoints.py. What is in the files does not change how they load or how long a clip takes.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

from magnet_eval.environment import environment

ROOT = Path(__file__).resolve().parents[2]
SCALES = {"small": (1024, 24, 16), "medium": (1536, 48, 24)}  # width, layers, heads
# Not ru_maxrss, which a process inherits from the one that started it.
PEAK = """
import re
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024 / 1e9
"""
LOAD = """
import sys, time, torch
from pathlib import Path
from magnet_eval.generators.loading import load_language_model
before = peak()
start = time.perf_counter()
lm = load_language_model(Path(sys.argv[1]), torch.device("cpu"), getattr(torch, sys.argv[2]), family="masked",
                         frame_rate=50.0)
seconds = time.perf_counter() - start
size = sum(p.nbytes for p in lm.parameters())
print(seconds, size / 1e9, peak() - before)
"""
CLIP = """
import sys
from magnet_eval.cli import main
assert main(sys.argv[1:]) == 0
print(peak())
"""


def settings(scale: str) -> str:
    """The xp.cfg of a scale, after the tests' tiny one."""
    tiny = torch.load(ROOT / "tests/data/pipeline/magnet/state_dict.bin", weights_only=True)["xp.cfg"]
    tree = yaml.safe_load(tiny)
    dim, layers, heads = SCALES[scale]
    tree["transformer_lm"] |= {"dim": dim, "num_layers": layers, "num_heads": heads, "card": 2048}
    tree["dataset"]["segment_duration"] = 10
    return yaml.safe_dump(tree)


def write_language_model(folder: Path, scale: str) -> None:
    """state_dict.bin of random weights in float16, as published."""
    from magnet_eval.generators.transformer import LanguageModel, LMConfig

    dim, layers, heads = SCALES[scale]
    with torch.device("meta"):
        shapes = LanguageModel(LMConfig(dim=dim, num_layers=layers, num_heads=heads)).state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in shapes.items():
        scale_of = (
            1.0 if "norm" in name and name.endswith("weight") else 0.02 * torch.randn(value.shape, generator=generator)
        )
        state[name] = (torch.zeros(value.shape) + scale_of).half()
    folder.mkdir(parents=True)
    torch.save({"best_state": state, "xp.cfg": settings(scale), "version": "1.3.0", "exported": True},
               folder / "state_dict.bin")  # fmt: skip


def write_text_and_codec(folder: Path) -> None:
    """A T5 base encoder with a tokenizer of its size, and the 32 kHz codec, both with random weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import EncodecConfig, EncodecModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, **{f"w{i}": i for i in range(3, 32100)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder / "text")
    t5 = T5Config(vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)
    T5EncoderModel(t5).save_pretrained(folder / "text")
    codec = EncodecConfig(
        sampling_rate=32000, upsampling_ratios=[8, 5, 4, 4], num_filters=64, codebook_size=2048, normalize=False,
        use_causal_conv=False, use_conv_shortcut=False, chunk_length_s=None, target_bandwidths=[2.2],
    )  # fmt: skip
    EncodecModel(codec).save_pretrained(folder / "codec")


def load_row(folder: Path, scale: str, dtype: str) -> list[str]:
    """One load in a process of its own, the file in the page cache."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PEAK + LOAD, str(folder), dtype], capture_output=True, text=True, check=True
        )
    seconds, size, peak = map(float, done.stdout.split())
    return [f"load {scale} in {dtype}", f"{seconds:.1f}", f"{size:.2f}", f"{peak:.2f} ({peak / size:.2f} x)"]


def clip_row(folder: Path) -> list[str]:
    """One 10 s clip of the small model by the command line."""
    model = {"family": "masked", "checkpoint": str(folder / "small"), "text": str(folder / "text"),
             "codec": str(folder / "codec"), "preset": "official-eval", "task": "music", "seconds": 10}  # fmt: skip
    (folder / "models").mkdir()
    (folder / "models" / "random.yaml").write_text(yaml.safe_dump(model))
    words = ["generate", "model=random", "prompts=[w7 w8 w9 w10]", "seconds=10", "device=cpu", f"out={folder}/clips"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK + CLIP, *words], capture_output=True, text=True, check=True, cwd=folder
    )
    seconds, peak = time.perf_counter() - start, float(done.stdout.split()[-1])
    return ["magnet-small, one 10 s clip, float32, loading included", f"{seconds:.0f}", "", f"{peak:.2f} (bar 4)"]


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text_and_codec(folder)
        write_language_model(folder / "small", "small")
        rows = [clip_row(folder)]
        rows += [load_row(folder / "small", "small", dtype) for dtype in ("float32", "float16")]
        write_language_model(folder / "medium", "medium")
        rows += [load_row(folder / "medium", "medium", dtype) for dtype in ("float32", "float16")]
    known = environment()
    hardware = known["hardware"]
    lines = [
        "# Published sizes in the official layout, random weights",
        "",
        f"`python tests/benchmarks/checkpoints.py`, Python {known['python']}, torch {known['packages']['torch']}; "
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB. Files hold "
        "float16, as the sizes of the published downloads suggest; times are with the file in the page cache.",
        "",
        "| what | seconds | weights, GB | peak memory, GB |",
        "|---|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured" / "checkpoints.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
