"""CUDA graphs: work over buffers that keep their places, recorded once and replayed without Python."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from magnet_eval.generators.transformer import LanguageModel


class Graphs:
    """The recordings of one set of buffers. On other devices, all work just runs."""

    def __init__(self, device: torch.device) -> None:
        """Without recordings."""
        self.device = device
        self.pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self.recorded: dict[Hashable, tuple[Any, Tensor]] = {}

    def run(self, key: Hashable, work: Callable[[], Tensor]) -> Tensor:
        """What ``work`` returns, to be read before the next run; ``key`` names all that it depends on beside buffers.

        The first time it runs as it is, which loads kernels and libraries; its recording is for the times after that.
        """
        if self.device.type != "cuda":
            return work()
        if key in self.recorded:
            graph, result = self.recorded[key]
            graph.replay()
            return result
        with torch.cuda.device(self.device):
            here, side = torch.cuda.current_stream(), torch.cuda.Stream()
            side.wait_stream(here)
            with torch.cuda.stream(side):
                first = work()
            here.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                result = work()  # recorded, not run
        self.recorded[key] = graph, result
        return first


@contextmanager
def kept(lm: LanguageModel, kind: Callable[..., Any], *shape: Any) -> Iterator[Any]:
    """``kind(lm, *shape)``; on CUDA the one of an earlier call, whose recordings are good for its buffers alone.

    Those of other shapes stay until ``let_go``; those in use are nobody else's.
    """
    if lm.device.type != "cuda":
        yield kind(lm, *shape)
        return
    buffers: dict[tuple[Any, ...], Any] = lm.kept.setdefault(kept, {})
    mine = buffers.pop((kind, *shape), None) or kind(lm, *shape)
    yield mine
    buffers[kind, *shape] = mine


def let_go(lm: LanguageModel) -> None:
    """Gives up what ``kept`` has of all shapes, as between the batch sizes of a sweep: it would fill the memory."""
    lm.kept.pop(kept, None)
