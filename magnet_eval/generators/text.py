"""Text conditioning: a T5 encoder (Raffel et al., 2020) through transformers."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from magnet_eval.generators.checkpoints import FAULTS
from magnet_eval.generators.layouts import HINT, content_of, weight_files
from magnet_eval.generators.loading import load_text_encoder
from magnet_eval.lookup import UserError

log = logging.getLogger(__name__)
MAX_TOKENS = 512  # what T5 was trained on, where the tokenizer does not say
MIN_VOCABULARY = 0.9  # of the encoder's: a tokenizer without its files comes out with 1 to 104 tokens and no error
MAX_CACHED = 2**28  # bytes


class StateCache:
    """States of texts by content, shared by all systems of a process; the oldest go first when it is full."""

    def __init__(self) -> None:
        """Empty."""
        self.states: OrderedDict[tuple[str, tuple[int, ...]], Tensor] = OrderedDict()
        self.size = 0

    def put(self, key: tuple[str, tuple[int, ...]], states: Tensor) -> None:
        """Keeps the states [S, width] of a text encoder (its content) and a text (its tokens)."""
        self.states[key] = states
        self.size += states.nbytes
        while self.size > MAX_CACHED:
            self.size -= self.states.popitem(last=False)[1].nbytes


CACHE = StateCache()


class TextEncoder:
    """Texts to T5 states. Its padding is masked, so that a text's states do not depend on its neighbours."""

    def __init__(self, model: Any, tokenizer: Any, content: str) -> None:
        """model: transformers' T5EncoderModel. content: what its states depend on, beside the tokens."""
        self.model, self.tokenizer, self.device = model, tokenizer, model.device
        self.content = f"{self.device} {content}"
        self.max_tokens = min(tokenizer.model_max_length, MAX_TOKENS)

    @classmethod
    def read(cls, folder: Path, device: torch.device) -> Self:
        """From a folder. Raises UserError if it lacks the encoder or the tokenizer."""
        # never a class of a certain tokenizer: offline those come out empty, without an error
        from transformers import AutoTokenizer

        model = load_text_encoder(folder, device)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except FAULTS as error:
            raise UserError(
                f"{folder} has no usable tokenizer: {' '.join(str(error).split())[:300]}. {HINT}"
            ) from error
        expected = model.config.vocab_size
        if not MIN_VOCABULARY * expected <= len(tokenizer) <= expected:
            raise UserError(
                f"the tokenizer in {folder} has {len(tokenizer)} tokens, the encoder {expected}; it is incomplete "
                f"or another model's. {HINT}"
            )
        files = [folder / "config.json", *weight_files(folder)]
        return cls(model, tokenizer, " ".join(content_of(path) for path in files))

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to ``max_tokens`` with a warning."""
        rows = []
        for text in texts:
            ids = self.tokenizer(text, truncation=False, verbose=False)["input_ids"]
            if len(ids) > self.max_tokens:
                log.warning("a prompt of %d tokens is cut to %d: %.40s...", len(ids), self.max_tokens, text)
                ids = self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"]
            rows.append(ids)
        return rows

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, one_by_one: bool) -> tuple[Tensor, Tensor]:
        """States [B, S, width] and mask [B, S] of texts; S is the longest, padding is zero.

        one_by_one: each text on its own, so that not even the last bit depends on its neighbours.
        """
        rows = self.tokenize(texts)
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        if not one_by_one:
            hidden = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
            return hidden * mask[..., None], mask
        hidden = torch.zeros(*ids.shape, self.model.config.d_model, device=self.device)
        for i, row in enumerate(rows):
            hidden[i, : len(row)] = self.alone(row)
        return hidden, mask

    def alone(self, row: list[int]) -> Tensor:
        """States [S, width] of one text, which this process computes once."""
        key = self.content, tuple(row)
        states = CACHE.states.get(key)
        if states is None:
            states = self.model(input_ids=torch.tensor([row], device=self.device)).last_hidden_state[0]
            CACHE.put(key, states)
        return states
