"""How good the embedded zoo is, over three seeds of generation; writes results/measured/zoo.md.

The weights are those that ship, of one training seed. About eight minutes on two cores: python tests/benchmarks/zoo.py
"""

import os
import sys
import tempfile
from pathlib import Path
from statistics import mean

from magnet_eval import cli
from magnet_eval.environment import environment
from magnet_eval.records import Score, read_jsonl

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2)
SYSTEMS = ("magnet-tiny", "hybrid-magnet-tiny", "musicgen-tiny", "codec-tiny", "unigram-tiny")
BAR = 1.5  # FAD-musicnn of a model, of that of the codec's own reconstructions
Runs = list[dict[tuple[str, str], float]]  # by seed: (system, metric) -> value


def run(seed: int, folder: str) -> dict[tuple[str, str], float]:
    """Makes and scores the clips of one seed."""
    words = ["run", "protocol=quickstart", f"seed={seed}", f"systems=[{','.join(SYSTEMS)}]", "~protocol.speed"]
    code = cli.main([*words, f"results={folder}/{seed}", f"reports={folder}/reports"])
    if code:
        raise SystemExit(code)
    rows = read_jsonl(Score, Path(folder, str(seed), "quickstart-v1", "scores.jsonl"))
    return {(row.system, row.metric): row.value for row in rows if not row.versus}


def cell(values: list[float | None], digits: int) -> str:
    """Mean over the seeds, with the least and the most."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    return f"{mean(found):.{digits}f} ({min(found):.{digits}f} to {max(found):.{digits}f})"


def row(runs: Runs, system: str) -> str:
    """One system's line of the table."""

    def of(metric: str) -> list[float | None]:
        return [scores.get((system, metric)) for scores in runs]

    fad = "fad_musicnn_tiny"
    shares = [scores[system, fad] / scores["codec-tiny", fad] for scores in runs]
    cells = [cell(of(fad), 1), cell(shares, 2)]
    for metric, digits in (("clap_tiny", 2), ("attributes_tiny", 2)):
        cells += [cell(of(metric), digits), cell(of(f"{metric}_shuffled"), digits)]
    return f"| {system} | {' | '.join(cells)} |"


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as folder:
        runs = [run(seed, folder) for seed in SEEDS]
    known = environment()
    hardware = known["hardware"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB"
    heads = ["FAD-musicnn", "of the codec's", "CLAP-tiny", "shuffled", "attributes right", "shuffled"]
    lines = [
        "# The embedded zoo, over three seeds of generation",
        "",
        f"`python tests/benchmarks/zoo.py`, Python {known['python']}, torch {known['packages']['torch']}; {machine}.",
        "Tiny models, 32 held-out captions of the quickstart; mean over the seeds (least to most). The weights are",
        f"those that ship, of one training seed. FAD-musicnn of a model is to be at most {BAR:g} times the codec's.",
        "",
        f"| system | {' | '.join(heads)} |",
        f"|---|{'---:|' * len(heads)}",
        *(row(runs, system) for system in SYSTEMS),
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured" / "zoo.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
