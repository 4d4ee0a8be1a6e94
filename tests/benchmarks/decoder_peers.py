"""A token loop as a process that answers requests: python -P decoder_peers.py WHOSE WORLD.

WHOSE is magnet_eval, transformers, or audiocraft (1.3.0, in its own environment: tests/peer/environment.sh). WORLD is a
folder that decoders.py writes: shape.json, text.safetensors and FAMILY.safetensors, one model for all. A request is one
line of JSON on stdin, {family, dtype, greedy, seed, frames}; the answer is one, {seconds, codes}. Text is given as the
states that attention sees, so that nothing but the token loop runs.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Loop = Callable[[dict[str, Any]], Tensor]  # request -> codes [B, K, T]
SCALE, MAX_SCALE = 3.0, 10.0  # guidance of the autoregressive and, at its first step, of the masked family
STEPS = [20, 10, 10, 10]


def magnet_eval(world: Path) -> dict[str, Loop]:
    """This package's, in the dtype that is asked for."""
    from magnet_eval.decoding import AutoregressiveDecoding, MaskedDecoding
    from magnet_eval.generators import autoregressive, masked
    from magnet_eval.generators.sampling import chooser
    from magnet_eval.generators.transformer import LanguageModel, LMConfig

    shape, text = json.loads((world / "shape.json").read_text()), load_file(world / "text.safetensors")["text"]
    models: dict[tuple[str, str], LanguageModel] = {}

    def model(family: str, dtype: str) -> LanguageModel:
        if (family, dtype) not in models:
            lm = LanguageModel(LMConfig(**{**shape, "causal": family == "autoregressive"}))
            lm.load_state_dict(load_file(world / f"{family}.safetensors"), strict=False)
            models[family, dtype] = lm.to(getattr(torch, dtype)).eval().requires_grad_(False)
        return models[family, dtype]

    def run(request: dict[str, Any]) -> Tensor:
        lm, greedy = model(request["family"], request["dtype"]), request["greedy"]
        choose = chooser("per_clip", [request["seed"] + i for i in range(len(text))])
        if request["family"] == "masked":
            settings = MaskedDecoding(steps=STEPS, cfg_max=MAX_SCALE, greedy=greedy)
            return masked.decode(lm, text.to(lm.dtype), settings, request["frames"], choose).codes
        how = AutoregressiveDecoding(cfg=SCALE, greedy=greedy)
        return autoregressive.decode(lm, text.to(lm.dtype), how, request["frames"], choose).codes

    return {"masked": run, "autoregressive": run}


def audiocraft(world: Path) -> dict[str, Loop]:
    """Its two language models as its own builders make them, with everything else at its defaults."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "peer"))
    import stand_ins  # noqa: F401, audiocraft imports what it puts in place
    import transformers
    from audiocraft.models import builders
    from audiocraft.modules import conditioners, transformer
    from omegaconf import OmegaConf

    shape, text = json.loads((world / "shape.json").read_text()), load_file(world / "text.safetensors")["text"]
    small = {"vocab_size": 8, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}

    class TextEncoder:  # one that is never asked
        from_pretrained = staticmethod(lambda name: transformers.T5EncoderModel(transformers.T5Config(**small)))

    class Tokenizer:
        from_pretrained = staticmethod(lambda name: None)

    class Conditions(nn.Module):
        """The same text for every clip, and nothing for the unguided half."""

        def tokenize(self, conditions: list[Any]) -> list[Any]:
            return conditions

        def forward(self, conditions: list[Any]) -> dict[str, tuple[Tensor, Tensor]]:
            half = text[: len(conditions) // 2]
            both = torch.cat([half, torch.zeros_like(half)])
            return {"description": (both, (both != 0).any(-1).int())}

    conditioners.T5EncoderModel, conditioners.T5Tokenizer = TextEncoder, Tokenizer
    conditioners.T5Conditioner.MODELS_DIMS = {"t5-base": 8}
    base = OmegaConf.load(Path(__file__).parents[1] / "peer" / "language_model.yaml")
    sizes = {name: shape[name] for name in ("dim", "num_heads", "num_layers", "card")}
    masked = {"causal": False, "subcodes_context": 5, "compression_model_framerate": 50, "span_len": 3,
              "segment_duration": 10}  # fmt: skip

    def build(family: str, changes: dict[str, Any]) -> Any:
        lm = builders.get_lm_model(OmegaConf.merge(base, {"device": "cpu"}, changes)).eval()
        lm.load_state_dict(load_file(world / f"{family}.safetensors"), strict=False)
        lm.condition_provider = Conditions()
        return lm

    attributes = [conditioners.ConditioningAttributes(text={"description": "a"}) for _ in text]
    magnet = build("masked", {"lm_model": "transformer_lm_magnet", "codebooks_pattern": {"modeling": "parallel"},
                              "transformer_lm": {**sizes, **masked}})  # fmt: skip
    musicgen = build("autoregressive", {"transformer_lm": sizes})

    def run_masked(request: dict[str, Any]) -> Tensor:
        transformer.set_efficient_attention_backend("xformers")
        return magnet.generate(
            conditions=attributes, max_gen_len=request["frames"], use_sampling=not request["greedy"], temp=3.0,
            top_k=0, top_p=0.9, max_cfg_coef=MAX_SCALE, min_cfg_coef=1.0, decoding_steps=STEPS,
        )  # fmt: skip

    def run_autoregressive(request: dict[str, Any]) -> Tensor:
        transformer.set_efficient_attention_backend("torch")
        return musicgen.generate(
            conditions=attributes, max_gen_len=request["frames"], use_sampling=not request["greedy"], temp=1.0,
            top_k=250, cfg_coef=SCALE,
        )  # fmt: skip

    return {"masked": run_masked, "autoregressive": run_autoregressive}


def transformers(world: Path) -> dict[str, Loop]:
    """MusicGen's decoder with its own generate."""
    from transformers import DynamicCache, EncoderDecoderCache, MusicgenDecoderConfig, MusicgenForCausalLM

    shape, text = json.loads((world / "shape.json").read_text()), load_file(world / "text.safetensors")["text"]
    card = shape["card"]
    model = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=card, num_hidden_layers=shape["num_layers"], ffn_dim=4 * shape["dim"], num_codebooks=4,
            num_attention_heads=shape["num_heads"], hidden_size=shape["dim"], activation_function="gelu", dropout=0.0,
            pad_token_id=card, bos_token_id=card, max_position_embeddings=2048,
        )
    ).eval()  # fmt: skip
    loaded = model.load_state_dict(
        their_names(load_file(world / "autoregressive.safetensors"), shape["dim"]), strict=False
    )
    assert not [name for name in loaded.missing_keys if "embed_positions" not in name], loaded.missing_keys
    both = torch.cat([text, torch.zeros_like(text)])

    def run(request: dict[str, Any]) -> Tensor:
        # Left alone, it would keep the keys of texts and of tokens in one cache.
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        how = {"do_sample": True, "top_k": 250} if not request["greedy"] else {"do_sample": False}
        return model.generate(
            torch.full((4 * len(text), 1), card), attention_mask=torch.ones(len(text), 1, dtype=torch.long),
            encoder_hidden_states=both, encoder_attention_mask=torch.ones(both.shape[:2], dtype=torch.long),
            guidance_scale=SCALE, max_length=request["frames"] + 4, use_cache=True, num_return_sequences=1,
            num_beams=1, pad_token_id=card, bos_token_id=card, decoder_start_token_id=card,
            past_key_values=cache, **how,
        )  # fmt: skip

    return {"autoregressive": run}


def their_names(weights: dict[str, Tensor], dim: int) -> dict[str, Tensor]:
    """The parameters under transformers' names."""
    from magnet_eval.generators.layout_transformers import NAMES

    renamed = {}
    for name, value in weights.items():
        for theirs, ours in NAMES:
            if name.startswith(ours) or ours.startswith("."):
                name = name.replace(ours, theirs)
        if "in_proj_weight" in name:
            for i, part in enumerate("qkv"):
                renamed[name.replace("in_proj_weight", f"{part}_proj.weight")] = value[i * dim : (i + 1) * dim]
        else:
            renamed[name] = value
    return renamed


def main(whose: str, world: Path) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    loops = {"magnet_eval": magnet_eval, "audiocraft": audiocraft, "transformers": transformers}[whose](world)
    for line in sys.stdin:
        request = json.loads(line)
        torch.manual_seed(request["seed"])
        start = time.perf_counter()
        with torch.no_grad():
            codes = loops[request["family"]](request)
        answers.write(json.dumps({"seconds": time.perf_counter() - start, "codes": codes.tolist()}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
