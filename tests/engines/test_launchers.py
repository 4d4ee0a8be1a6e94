"""Sweeps through Hydra's launchers: each point in a process or job of its own, and the same clips as one by one."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_gives_the_same_clips_as_one_by_one(world, tmp_path, launcher):
    plugin, options = LAUNCHERS[launcher]
    if not find_spec("hydra_plugins") or not find_spec(plugin):
        pytest.skip(f"needs the Hydra launcher {launcher}: pip install 'magnet-eval[joblib,slurm]'")
    (tmp_path / "protocols").mkdir()
    protocol = "{version: 1, systems: [plain], prompts: {source: jsonl, path: captions.jsonl, seconds: 0.25}}"
    (tmp_path / "protocols" / "own.yaml").write_text(protocol)
    sweep("one-by-one")
    sweep("launched", f"hydra/launcher={launcher}", *options)
    clips = {path: path.read_bytes() for path in Path("one-by-one").rglob("*.wav")}
    assert len(clips) == 2 * 11
    launched = {path: path.read_bytes() for path in Path("launched").rglob("*.wav")}
    assert {path.relative_to("launched"): audio for path, audio in launched.items()} == {
        path.relative_to("one-by-one"): audio for path, audio in clips.items()
    }


def sweep(results, *words):
    command = [sys.executable, "-m", "magnet_eval", "generate", "-m", "protocol=own", "seed=1,2", f"results={results}"]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    subprocess.run([*command, *words], check=True, env=environment, stdout=subprocess.DEVNULL)
