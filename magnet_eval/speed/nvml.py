"""What NVIDIA's driver knows of a GPU: energy, power, clocks, temperature, throttling, memory of a process.

By pynvml, which is optional: without it a GPU is timed all the same, and its energy is not measured.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

from magnet_eval.environment import package_version

log = logging.getLogger(__name__)
HINT = "energy, clocks and throttling of the GPU are not recorded; pip install 'magnet-eval[energy]'"
REASONS = {  # bits of nvmlDeviceGetCurrentClocksThrottleReasons, those that slow a GPU down
    0x04: "power cap", 0x08: "hardware slowdown", 0x20: "temperature (software)", 0x40: "temperature (hardware)",
    0x80: "power brake",
}  # fmt: skip


class Gpu:
    """One GPU, by its UUID."""

    def __init__(self, uuid: str) -> None:
        """Raises ImportError without pynvml, pynvml.NVMLError without a driver or such a GPU."""
        import pynvml

        self.nvml = pynvml
        pynvml.nvmlInit()
        self.handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)

    @classmethod
    def of(cls, device: str) -> Self | None:
        """The GPU behind torch's ``device``; None for the CPU, and (with a warning) where NVML cannot be asked."""
        if not device.startswith("cuda"):
            return None
        import torch

        try:
            return cls(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        except ImportError:
            log.warning(HINT)
        except Exception as error:  # pynvml's own class of errors, which cannot be named without it
            log.warning("NVML: %s; %s", error, HINT.partition(";")[0])
        return None

    def joules(self) -> float:
        """Energy used since the driver was loaded; updated every 20 to 100 ms."""
        return self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1e3

    def process_bytes(self) -> int | None:
        """Memory that this process holds on the GPU; None where the driver does not tell, as in some containers."""
        found = self.nvml.nvmlDeviceGetComputeRunningProcesses(self.handle)
        return next((one.usedGpuMemory for one in found if one.pid == os.getpid()), None)

    def sample(self) -> dict[str, Any]:
        """What may change from call to call."""
        nvml, gpu = self.nvml, self.handle
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
        return {
            "sm_mhz": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "memory_mhz": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
            "temperature_c": nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            "throttled_by": [name for bit, name in REASONS.items() if reasons & bit],
        }

    def state(self) -> dict[str, Any]:
        """What the noise of a timing hangs on, as it is now."""
        nvml, gpu = self.nvml, self.handle
        return {
            "driver": nvml.nvmlSystemGetDriverVersion(),
            "nvml": package_version("nvidia-ml-py"),
            "power_limit_w": nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3,
            "power_w": nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3,
            **self.sample(),
            "processes": len(nvml.nvmlDeviceGetComputeRunningProcesses(gpu)),
        }


def summary(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lowest and mean clocks, highest temperature, and everything that has throttled, over ``Gpu.sample``s."""
    clocks = {name: [one[name] for one in samples] for name in ("sm_mhz", "memory_mhz")}
    return {
        "calls": len(samples),
        **{f"{name}_min": min(values) for name, values in clocks.items()},
        **{f"{name}_mean": round(sum(values) / len(values)) for name, values in clocks.items()},
        "temperature_c_max": max(one["temperature_c"] for one in samples),
        "throttled_by": sorted({reason for one in samples for reason in one["throttled_by"]}),
    }
