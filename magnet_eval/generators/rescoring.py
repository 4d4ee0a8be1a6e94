"""The rescorer (Ziv et al., 2024): an autoregressive model judges, in one pass, what MAGNeT drew.

Its probability of each drawn token is mixed into MAGNeT's own, for the scores only: it decides which spans stay, never
what is drawn. The paper prints the mixture with the weight on either side; ``weight_on`` names the side.
"""

import torch
from torch import Tensor

from magnet_eval.decoding import Rescoring
from magnet_eval.generators.autoregressive import delay
from magnet_eval.generators.transformer import Cache, LanguageModel, causal_mask


def mix(own: Tensor, rescorer: Tensor, settings: Rescoring) -> Tensor:
    """The convex mixture of MAGNeT's ``own`` probabilities and the rescorer's."""
    weight = settings.weight if settings.weight_on == "rescorer" else 1 - settings.weight
    return (1 - weight) * own + weight * rescorer


class Rescorer:
    """An autoregressive model over the same codec, with the texts of one batch."""

    def __init__(self, lm: LanguageModel, text: Tensor, text_mask: Tensor | None, settings: Rescoring) -> None:
        """text: conditions [B, S, d] by this model's own ``project``."""
        self.lm, self.text, self.text_mask, self.settings = lm, text, text_mask, settings
        self.cache = Cache(lm, text)

    @torch.inference_mode()
    def probabilities(self, codes: Tensor, codebook: int) -> Tensor:
        """Probability [B, T] of each token of one codebook of ``codes`` [B, K, T], given all that comes before it."""
        sequence = delay(codes, self.lm.config.mask_token)[..., :-1]
        mask = causal_mask(sequence.shape[2], codes.device)
        logits = self.lm(sequence, self.text, self.text_mask, mask, codebook, self.cache)[:, 0].float()
        ahead = logits[:, codebook : codebook + codes.shape[2]]  # step s predicts frame s - codebook
        return ahead.softmax(-1).gather(-1, codes[:, codebook, :, None])[..., 0]

    def __call__(self, codes: Tensor, own: Tensor, codebook: int, frames: Tensor) -> Tensor:
        """MAGNeT's ``own`` probabilities [B, N] of the tokens it drew at frames [B, N], mixed with this model's."""
        return mix(own, self.probabilities(codes, codebook).gather(1, frames), self.settings)
