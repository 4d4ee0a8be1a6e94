"""What a run was made on and with: hardware, package versions, commit. Imports none of the packages it names."""

import functools
import os
import platform
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("magnet-eval", "torch", "transformers", "numpy", "scipy", "safetensors", "soundfile", "soxr")


@functools.cache
def environment() -> dict[str, Any]:
    """Facts for the manifest: hardware, system, Python, packages, commit of the code ("" outside a checkout)."""
    return {
        "hardware": hardware(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := package_version(name))},
        "commit": commit(Path(__file__).resolve().parent),
    }


def command() -> str:
    """What was typed, for a shell to repeat. Not from sys.argv, which a sweep replaces with Hydra's words."""
    words = sys.orig_argv[1:]
    if words[:2] == ["-m", "magnet_eval"]:
        return shlex.join(["magnet-eval", *words[2:]])
    if words and Path(words[0]).name == "magnet-eval":
        return shlex.join(["magnet-eval", *words[1:]])
    return shlex.join(["python", *words])


def hardware() -> dict[str, Any]:
    """CPU model and usable cores, memory in GB, and the names of the NVIDIA GPUs."""
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e9 if pages else 0.0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = output_of("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return {"cpu": cpu_model(), "cores": cores, "memory_gb": round(memory, 1), "gpus": found.splitlines()}


def cpu_model() -> str:
    """The CPU's marketing name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def package_version(name: str) -> str:
    """The installed version of a package; "" if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def commit(folder: Path) -> str:
    """The commit of the checkout that ``folder`` is in, with ``+changes`` where it is not clean; "" outside one."""
    found = output_of("git", "-C", str(folder), "rev-parse", "HEAD").strip()
    # A wheel installed into a virtual environment inside someone's checkout is not of that checkout.
    if not found or not output_of("git", "-C", str(folder), "ls-files", "environment.py"):
        return ""
    changed = output_of("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no", "--", ".")
    return found + ("+changes" if changed.strip() else "")


def output_of(*command: str) -> str:
    """What a program prints; "" if it is not there, fails, or takes more than 5 s."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
