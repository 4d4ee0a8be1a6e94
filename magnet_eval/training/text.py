"""The tiny text encoder: a byte-level BPE tokenizer and a T5-format encoder that reads attributes from captions.

The encoder learns to name a piece's attributes from paraphrases with synonyms, fillers and dropped words, so that
free text that mentions them works too. The language models then use it frozen, as MAGNeT uses T5.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from magnet_eval.training.tasks import MUSIC, Task

log = logging.getLogger(__name__)
VOCABULARY = 768
MAX_TOKENS = 48

Attributes = Mapping[str, Collection[Any]]  # name -> values


def fit_tokenizer(captions: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (no text is unknown to it) with T5's special tokens: pad 0, end of text 1."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", model_max_length=MAX_TOKENS
    )


def corrupt(text: str, rng: np.random.Generator) -> str:
    """Now and then loses or swaps a word, so that the encoder does not lean on whole templates."""
    words = text.split()
    if rng.random() < 0.15 and len(words) > 4:
        i, j = rng.integers(len(words), size=2)
        words[i], words[j] = words[j], words[i]
    return " ".join(words)


class AttributeReader(nn.Module):
    """Encoder and one linear head per attribute over the mean token."""

    def __init__(self, encoder: T5EncoderModel, attributes: Attributes) -> None:
        """Adds the heads to an encoder."""
        super().__init__()
        self.encoder = encoder
        width = encoder.config.d_model
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in attributes.items()})

    def forward(self, tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Logits of every attribute: name -> [B, values]."""
        hidden = self.encoder(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None]
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return {name: head(pooled) for name, head in self.heads.items()}


@torch.no_grad()
def look_both_ways(encoder: T5EncoderModel) -> None:
    """Lets half of the heads start by looking back and half by looking ahead, so that word order is soon learned."""
    bias = encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight  # [buckets, heads]
    behind, heads = len(bias) // 2, bias.shape[1] // 2
    bias[behind:, :heads] -= 4
    bias[:behind, heads:] -= 4


def _targets(
    attributes: Attributes, pieces: Sequence[Any], named: Sequence[dict[str, bool]]
) -> dict[str, torch.Tensor]:
    """Index of each attribute's value; -100 (ignored by the loss) where the caption does not name it."""
    return {
        name: torch.tensor(
            [list(values).index(getattr(p, name)) if n[name] else -100 for p, n in zip(pieces, named, strict=True)]
        )
        for name, values in attributes.items()
    }


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """Token ids and mask, padded to the longest text: int64 [B, S] each."""
    tokens = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True)
    return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}


def train_text(train: Sequence[Any], valid: Sequence[Any], out: Path, seed: int = 0, task: Task = MUSIC) -> dict:
    """Trains tokenizer and encoder, saves both to ``out`` and returns the card's figures."""
    rng, steps = np.random.default_rng(seed), task.text_steps
    torch.manual_seed(seed)
    tokenizer = fit_tokenizer([task.paraphrase(train[i], rng)[0] for i in rng.integers(len(train), size=20_000)])
    config = T5Config(
        vocab_size=len(tokenizer), d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, dropout_rate=0.1,
        feed_forward_proj="relu", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    model = AttributeReader(T5EncoderModel(config), task.attributes)
    look_both_ways(model.encoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    start = time.perf_counter()
    for step in range(steps):
        pieces = [train[i] for i in rng.integers(len(train), size=64)]
        texts, named = zip(*(task.paraphrase(piece, rng) for piece in pieces), strict=True)
        logits = model(tokenize(tokenizer, [corrupt(text, rng) for text in texts]))
        targets = _targets(task.attributes, pieces, named)
        loss = sum(nn.functional.cross_entropy(logits[name], targets[name]) for name in task.attributes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            log.info("text: step %d loss %.3f, %.0f s", step, loss.item(), time.perf_counter() - start)
    accuracy = _accuracy(model.eval(), tokenizer, valid, rng, task)
    model.encoder.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {"steps": steps, "seconds": time.perf_counter() - start, "held_out_accuracy": accuracy}


@torch.no_grad()
def _accuracy(
    model: AttributeReader, tokenizer: PreTrainedTokenizerFast, pieces: Sequence[Any], rng: np.random.Generator,
    task: Task,
) -> dict[str, float]:  # fmt: skip
    texts, named = zip(*(task.paraphrase(piece, rng) for piece in pieces), strict=True)
    logits, targets = model(tokenize(tokenizer, texts)), _targets(task.attributes, pieces, named)
    result = {}
    for name in task.attributes:
        known = targets[name] >= 0
        result[name] = (logits[name].argmax(-1) == targets[name])[known].double().mean().item()
    return result
