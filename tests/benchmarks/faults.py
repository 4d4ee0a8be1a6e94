"""25 kills, more than 40 bad inputs, and memory by number of clips; writes results/measured/faults.md.

    python tests/benchmarks/faults.py [quick]

Each kill is a SIGKILL at a random moment of a run of stub systems, which the same command then resumes; each bad input
is a process of its own. Memory is the peak of a process for each verb. ``quick``: 4,000 clips against 200, in place
of 50,000 against 500.
"""

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from magnet_eval.environment import environment

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "faults"))
import faults_world  # noqa: E402
from bad_inputs import BAD_INPUTS  # noqa: E402

KILLS, N_SYSTEMS, BAR = 25, 10, 1.2
UNIT = 1e6 if sys.platform == "darwin" else 1e3  # of a peak memory in a MB: bytes there, kilobytes elsewhere
STAGES = {"/reports/": "report", "/cache/": "score", "scores.jsonl": "score"}


def kills(top: Path) -> list[tuple[str, bool, bool]]:
    """Stage of each kill, whether the process died of it, and whether the resumed run ends as the whole one."""
    rng, whole, log = random.Random(0), top / "whole", top / "changes.txt"
    faults_world.write(whole, n=6)
    assert faults_world.call(whole, "run", "protocol=stub", FAULT_LOG=str(log))[0] == 0
    state, changed = faults_world.state(whole), log.read_text().splitlines()
    found = []
    for number in range(KILLS):
        # One in each of 25 equal parts of a run's writes, and then up to 20 ms later.
        at = 1 + int((number + rng.random()) * len(changed) / KILLS)
        home = top / f"kill{number}"
        faults_world.write(home, n=6)
        fault = f"kill:{at}:{rng.uniform(0, 0.02):.4f}"
        code = faults_world.call(home, "run", "protocol=stub", FAULT=fault)[0]
        again = faults_world.call(home, "run", "protocol=stub")[0]
        place = changed[at - 1].removeprefix(str(whole))
        stage = next((name for mark, name in STAGES.items() if mark in place), "generate")
        found.append((stage, code == -signal.SIGKILL, again == 0 and faults_world.state(home) == state))
    return found


def refused(top: Path) -> list[str]:
    """The names of the bad inputs that end in one line with what it must hold, exit code 2, and no clip lost."""
    found = []
    for number, bad in enumerate(BAD_INPUTS):
        home = top / f"bad{number}"
        faults_world.write(home, n=2)
        assert faults_world.call(home, "generate", "protocol=stub")[0] == 0
        bad.spoil(home)
        before = faults_world.kept(home)
        code, out, err = faults_world.call(home, *bad.words.split(" "))
        is_one = code == 2 and not out and len(err.splitlines()) == 1 and all(text in err for text in bad.says)
        if is_one and faults_world.kept(home) == before:
            found.append(bad.name)
    return found


def peaks(top: Path, n_clips: int) -> dict[str, float]:
    """Peak memory in MB of each verb, for so many clips of ten systems."""
    home = top / f"memory{n_clips}"
    faults_world.write(home, n=n_clips // N_SYSTEMS, n_systems=N_SYSTEMS)
    found = {}
    for verb in ("generate", "score", "report"):
        process = faults_world.start(home, verb, "protocol=stub", "protocol.generation.batch=16")
        process.stdout.read(), process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, verb
        found[verb] = used.ru_maxrss / UNIT
    return found


def main() -> None:
    few, many = (200, 4_000) if sys.argv[1:] == ["quick"] else (500, 50_000)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        killed, named = kills(top), refused(top)
        small, large = peaks(top, few), peaks(top, many)
    died = [stage for stage, is_dead, _ in killed if is_dead]
    stages = ", ".join(f"{died.count(stage)} in {stage}" for stage in ("generate", "score", "report"))
    same = sum(is_same for *_, is_same in killed)
    known = environment()
    hardware = known["hardware"]
    ratios = {verb: large[verb] / small[verb] for verb in large}
    most, ratio = max(ratios.items(), key=lambda item: item[1])
    lines = [
        "# Faults: kills, bad inputs, memory",
        "",
        f"`python {' '.join(['tests/benchmarks/faults.py', *sys.argv[1:]])}`, Python {known['python']}; "
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB; load before: {load:.1f}",
        "",
        "| what | measured | bar |",
        "|---|--:|--:|",
        f"| kills (SIGKILL) resumed to the same bytes | {same} of {KILLS} | {KILLS} |",
        f"| bad inputs named in one line, nothing lost | {len(named)} of {len(BAD_INPUTS)} | {len(BAD_INPUTS)} |",
        f"| peak memory, {many:,} clips to {few:,}, of the verb that grows most ({most}) | {ratio:.2f} | {BAR} |",
        "",
        f"Of the kills the process died {len(died)} times: {stages}; the others came as it ended. Compared are lists "
        "of clips, audio, cache, scores, report, and the manifest without its history.",
        "",
        f"Peak memory in MB, {N_SYSTEMS} stub systems with a set metric and a text metric, a process for each verb:",
        "",
        f"| clips | {' | '.join(small)} |",
        "|--:|--:|--:|--:|",
        *(
            f"| {n:,} | {' | '.join(f'{peak:.0f}' for peak in row.values())} |"
            for n, row in ((few, small), (many, large))
        ),
        f"| ratio | {' | '.join(f'{ratio:.2f}' for ratio in ratios.values())} |",
        "",
        "What grows with the clips. generate: the prompts, and the keys and records of one system's clips. score: the "
        "prompts, 60 bytes for each clip of all systems (hash and place of its file) and 16 for each of its scores; "
        "for a metric of whole sets the frames of two systems, in float64, and half a byte for each of their clips in "
        "each resampling (a byte where embeddings are so wide that second moments are summed up in blocks, eight for "
        "a kernel distance). report: the records of all clips and of their scores.",
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "results" / "measured" / "faults.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    missing = sorted({bad.name for bad in BAD_INPUTS} - set(named))
    assert same == KILLS and not missing, missing
    assert ratio <= BAR, f"peak memory of {most} grows {ratio:.2f}-fold, bar {BAR}"


if __name__ == "__main__":
    main()
