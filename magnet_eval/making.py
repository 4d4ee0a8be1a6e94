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
    is_mistake: bool = False  # the reason is the clip's own (a file that is not there), and says nothing of others


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
            if len(made.audio) != len(batch.prompts):
                raise ValueError(f"{len(made.audio)} clips were made of {len(batch.prompts)} prompts")
        except Exception as error:  # of whatever kind: the model may be the user's own
            if len(batch.prompts) > 1 and not self.whole_batches:
                for single in batch.apart():
                    yield from self.make(generator, single)
            else:
                yield Made(batch, None, generator.sample_rate, reason_of(error), isinstance(error, UserError))
            return
        yield Made(batch, made, generator.sample_rate)


def reason_of(error: Exception) -> str:
    """What went wrong, with the error's kind where its text alone says too little."""
    kind, text = type(error).__name__, str(error)
    return text if text and isinstance(error, UserError | RuntimeError) else f"{kind}: {text}".removesuffix(": ")
