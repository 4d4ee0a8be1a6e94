"""What a worker does for the clips of a system: it loads the model once, then makes batch after batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from magnet_eval import config, generators
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt


@dataclass(frozen=True)
class Batch:
    """Prompts of one length and their seeds."""

    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]

    def apart(self) -> Iterator["Batch"]:
        """Batches of one prompt each."""
        return (Batch((prompt,), (seed,)) for prompt, seed in zip(self.prompts, self.seeds, strict=True))


@dataclass(frozen=True)
class Made:
    """What came of a batch: its audio, or the reason why there is none."""

    batch: Batch
    generation: generators.Generation | None
    sample_rate: int  # Hz
    reason: str = ""


@dataclass(frozen=True)
class Making:
    """The work of an engine: device -> what makes a batch."""

    model: config.Model
    dtype: str
    whole_batches: bool  # a clip depends on its batch, which is never made in parts

    def __call__(self, device: str) -> Callable[[Batch], Sequence[Made]]:
        """Loads the model. Raises UserError on missing or damaged weights."""
        generator = generators.build(self.model, device, self.dtype)
        return lambda batch: list(self.make(generator, batch))

    def make(self, generator: generators.Generator, batch: Batch) -> Iterator[Made]:
        """Makes one batch; one that fails is made clip by clip, so that one clip cannot take the others along."""
        try:
            made = generator.generate(batch.prompts, batch.seeds)
        except (UserError, RuntimeError) as error:
            if len(batch.prompts) > 1 and not self.whole_batches:
                for single in batch.apart():
                    yield from self.make(generator, single)
            else:
                reason = str(error) or type(error).__name__
                yield Made(batch, None, generator.sample_rate, reason)
            return
        yield Made(batch, made, generator.sample_rate)
