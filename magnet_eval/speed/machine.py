"""What a timing hangs on beside the system: torch's switches, and the state of the device at the time."""

import os
from pathlib import Path
from typing import Any

from magnet_eval.speed.nvml import Gpu

CPUINFO = Path("/proc/cpuinfo")


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


def state(gpu: Gpu | None) -> dict[str, Any]:
    """Load, clock of the CPU, and of a GPU what NVML says."""
    found: dict[str, Any] = {"load": round(os.getloadavg()[0], 2)}
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.is_file() else []
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    if clocks:
        found["cpu_mhz"] = round(sum(clocks) / len(clocks))
    return found | ({"gpu": gpu.state()} if gpu else {})
