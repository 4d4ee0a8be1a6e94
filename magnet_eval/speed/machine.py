"""What a timing hangs on beside the system: torch's switches, and the state of the device at the time."""

import os
import time
from pathlib import Path
from typing import Any

from magnet_eval.speed.nvml import Gpu

CPUINFO, STAT = Path("/proc/cpuinfo"), Path("/proc/stat")


def flags(device: str) -> dict[str, Any]:
    """Torch's version and switches in this process: threads, attention backends, reduced precision, determinism."""
    import torch

    found: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "attention": attention(),
    }
    if device.startswith("cuda"):
        found |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_cudnn": torch.backends.cudnn.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "fp16_reduced_sum": torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction,
        }
    return found


def attention() -> list[str]:
    """The backends that scaled_dot_product_attention may take, CUDA's as well as the CPU's; its choice is per call."""
    from torch.backends import cuda

    enabled = {
        "flash": cuda.flash_sdp_enabled(),
        "efficient": cuda.mem_efficient_sdp_enabled(),
        "cudnn": cuda.cudnn_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }
    return [name for name, is_on in enabled.items() if is_on]


def busy(seconds: float = 0.3) -> float:
    """The share of the processors' time that is in use while this process sleeps; where unknown, by the load average.

    The load average remembers the last minutes, and so what a run itself did before its timing began.
    """
    if not STAT.is_file():
        return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))

    def ticks() -> tuple[int, int]:
        user, nice, system, idle, wait, *rest = map(int, STAT.read_text().splitlines()[0].split()[1:9])
        return idle + wait, user + nice + system + idle + wait + sum(rest)

    idle, total = ticks()
    time.sleep(seconds)
    idle_after, total_after = ticks()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def state(gpu: Gpu | None) -> dict[str, Any]:
    """How busy others keep the machine, clock of the CPU, and of a GPU what NVML says."""
    found: dict[str, Any] = {"busy": round(busy(), 2)}
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.is_file() else []
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    if clocks:
        found["cpu_mhz"] = round(sum(clocks) / len(clocks))
    return found | ({"gpu": gpu.state()} if gpu else {})
