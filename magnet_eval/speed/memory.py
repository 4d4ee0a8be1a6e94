"""Peak memory of calls made inside this process: every system that is loaded counts, the timed one is not alone.

On the CPU it is the resident set of the process, on CUDA what torch's allocator had handed out. Where the kernel
lets a process reset its own high-water mark (Linux), the peak is that of the calls; elsewhere it is of the process.
"""

import contextlib
import resource
import sys
from pathlib import Path

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


def peak_mb(device: str) -> float:
    """Peak since the last ``reset`` in MB (1e6 bytes)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / MB
    if STATUS.is_file():
        fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024 / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak * (1 if sys.platform == "darwin" else 1024) / MB
