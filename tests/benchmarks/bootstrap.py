"""Times the bootstrap and the paired test of set metrics at the size of MusicCaps, with peak memory.

Run it on an otherwise idle machine: OMP_NUM_THREADS=2 python tests/benchmarks/bootstrap.py [clips windows dimensions]
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.kernel import kernel_of_clips
from magnet_eval.metrics.resampling import N_PERMUTATIONS, N_RESAMPLES, bootstrap, paired_difference

BAR = 60.0  # seconds for one bootstrap, on two cores


def system(seed: int, n: int, windows: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((n, 1, d), dtype=np.float32) + rng.standard_normal((n, windows, d), dtype=np.float32)
    return frames.reshape(-1, d), np.repeat(np.arange(n), windows)


def job(of_clips: Callable, test: Callable, size: tuple[int, int, int]) -> str:
    reference, *systems = (system(seed, *size) for seed in range(3))
    start = time.perf_counter()
    scores = of_clips(reference[0])
    rng = np.random.default_rng(0)
    found = test(scores, *systems[0], rng) if test is bootstrap else test(scores, *systems, rng)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return f"{seconds:6.1f} s, {peak:.2f} GB peak; {', '.join(f'{x:.3g}' for x in found)}"


def main(n: int = 5469, windows: int = 19, d: int = 128) -> None:
    sys.stdout.write(f"{n} clips x {windows} windows x {d}; {N_RESAMPLES} resamples, {N_PERMUTATIONS} permutations\n")
    sys.stdout.write(f"a bootstrap may take {BAR:g} s\n")
    for of_clips in (frechet_of_clips, kernel_of_clips):
        for test in (bootstrap, paired_difference):
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # each its own peak memory
                line = pool.apply(job, (of_clips, test, (n, windows, d)))
            sys.stdout.write(f"{of_clips.__name__}, {test.__name__}: {line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
