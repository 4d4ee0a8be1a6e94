"""Peak memory of the calls made in this process, in MB (1e6 bytes).

``process`` is what the operating system, or on CUDA the driver, has given the process; ``allocated`` and ``reserved``
are tensors, and what torch's allocator holds for them. Where the kernel lets a process reset its own high-water mark
(Linux), the peak is that of the calls; elsewhere it is of the process.
"""

import contextlib
import resource
import sys
from pathlib import Path
from typing import Any

MB = 1e6
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset(device: str) -> None:
    """Starts a new peak where that can be done."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            CLEAR.write_text("5")  # resets VmHWM, see proc(5)


def peaks(device: str, gpu: Any = None) -> dict[str, float]:
    """Peaks since the last ``reset``; on CUDA ``process`` only with the GPU's NVML (nvml.Gpu)."""
    if not device.startswith("cuda"):
        return {"process": process_mb()}
    import torch

    found = {
        "allocated": torch.cuda.max_memory_allocated(device) / MB,
        "reserved": torch.cuda.max_memory_reserved(device) / MB,
    }
    used = gpu.process_bytes() if gpu else None  # of now: the allocator gives little back, so nearly the peak
    return found if used is None else {**found, "process": used / MB}


def process_mb() -> float:
    """Peak resident set of this process since the last ``reset``."""
    if STATUS.is_file():
        fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024 / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak * (1 if sys.platform == "darwin" else 1024) / MB
