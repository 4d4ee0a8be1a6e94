"""Text conditioning: a T5 encoder from a local folder, through transformers."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from magnet_eval.generators.checkpoints import HINT, check_folder, load_transformers
from magnet_eval.lookup import UserError

log = logging.getLogger(__name__)
MAX_TOKENS = 512  # what T5 was trained on, where the tokenizer does not say
MIN_VOCABULARY = 200  # a tokenizer without its files comes out with 1 to 104 tokens and no error


class TextEncoder:
    """Texts to T5 states. Its padding is masked, so that a text's states do not depend on its neighbours."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Raises UserError if the folder lacks the encoder or the tokenizer."""
        from transformers import AutoTokenizer, T5EncoderModel

        self.device = device
        self.model = load_transformers(T5EncoderModel, folder, device)
        check_folder(folder, "tokenizer_config.json")
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder} has no usable tokenizer: {' '.join(str(error).split())[:300]}. {HINT}"
            ) from error
        if len(self.tokenizer) < MIN_VOCABULARY:
            raise UserError(
                f"the tokenizer in {folder} has {len(self.tokenizer)} tokens only; it is incomplete. {HINT}"
            )
        self.max_tokens = min(self.tokenizer.model_max_length, MAX_TOKENS)

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
            hidden[i, : len(row)] = self.model(input_ids=ids[i : i + 1, : len(row)]).last_hidden_state[0]
        return hidden, mask
