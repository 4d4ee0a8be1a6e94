"""CLAP through the package laion-clap itself (extra ``reference``): the same vectors as clap.py, by its authors' code.

Audio goes in as tensors, so it is not rounded to 16 bit, as in audiocraft's CLAP score. Clips are cut and padded
before the package could cut them at random. Its text tower is built from the hub cache's roberta-base.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from magnet_eval import reference
from magnet_eval.embedders.clap import ClapEmbedder
from magnet_eval.embedders.clap_layout import is_fused, read
from magnet_eval.generators.checkpoints import pick_device
from magnet_eval.lookup import UserError

SIZES = {96: "HTSAT-tiny", 128: "HTSAT-base"}  # by the channels of the first layer
GET_ROBERTA = "hf download roberta-base config.json model.safetensors vocab.json merges.txt tokenizer.json"


class LaionTowers:
    """laion-clap's CLAP_Module with a published checkpoint in it."""

    fused = False

    def __init__(self, place: Path, device: str) -> None:
        """Raises UserError if package, checkpoint or roberta-base are missing, or the checkpoint is a fused one."""
        package = reference.load("laion_clap")
        if place.is_dir():
            raise UserError(
                f"{place} is in transformers' layout; laion-clap reads LAION's .pt files. Set embedder: clap."
            )
        state = read(place)
        channels = len(state.get("audio_branch.patch_embed.proj.weight", ()))
        if is_fused(state) or channels not in SIZES:
            raise UserError(f"{place} is fused, or of a size that laion-clap has not. Set embedder: clap.")
        self.device, self.files = pick_device(device), [place]
        try:
            with reference.offline(), contextlib.redirect_stdout(io.StringIO()):
                self.module = package.CLAP_Module(enable_fusion=False, amodel=SIZES[channels], device=self.device)
        except OSError as error:
            raise UserError(f"laion-clap needs roberta-base in the hub's cache. Get it: {GET_ROBERTA}") from error
        check_vocabulary(self.module, state, place)
        # Not by the package's load_ckpt, which would run code out of the file.
        state.pop("text_branch.embeddings.position_ids", None)  # a constant that newer transformers do not keep
        try:
            self.module.model.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{place} does not fit laion-clap: {' '.join(str(error).split())[:300]}") from error
        self.module.eval().requires_grad_(False)

    def audio(self, windows: Tensor) -> Tensor:
        """Windows of 10 s [B, T] -> unit vectors [B, d]."""
        return self.module.get_audio_embedding_from_data(windows.to(self.device), use_tensor=True)

    def text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors [n, d]."""
        return self.module.get_text_embedding(list(texts), use_tensor=True)


def check_vocabulary(module: Any, state: dict[str, Tensor], place: Path) -> None:
    """Raises UserError if the package got an empty tokenizer, as it does where the hub's cache has none."""
    wanted, got = len(state["text_branch.embeddings.word_embeddings.weight"]), len(module.tokenize)
    if got != wanted:
        raise UserError(
            f"laion-clap's tokenizer has {got} tokens, {place} has {wanted}: roberta-base in the hub's cache is not "
            f"complete. Get it: {GET_ROBERTA}"
        )


class LaionClapEmbedder(ClapEmbedder):
    """laion-clap as an embedder; options as in clap.py, where ``tokenizer`` is not used."""

    name = "clap_laion"

    def load(self, device: str, tokenizer: str | Path) -> LaionTowers:
        """The package's own model."""
        return LaionTowers(self.place, device)
