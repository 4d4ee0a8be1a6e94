"""Operations and bytes of every stage: against torch's own counter on real networks, and against closed forms."""

from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from magnet_eval import config, generators
from magnet_eval.generators.transformer import Cache, LanguageModel, LMConfig, causal_mask
from magnet_eval.generators.wholeclip import Blocks
from magnet_eval.records import Prompt
from magnet_eval.speed import cost, describe

PROMPTS = [
    Prompt("a", "slow waltz for strings", 4.0),
    Prompt("b", "a fast rock song with electric guitars, drums and bass", 4.0),
]
TINY = {
    "dim": 24,
    "num_heads": 2,
    "num_layers": 3,
    "hidden_scale": 4,
    "n_q": 4,
    "card": 30,
    "text_dim": 10,
    "subcodes_context": 5,
}
SMALL = {"dim": 1024, "num_heads": 16, "num_layers": 24, "hidden_scale": 4, "n_q": 4, "card": 2048, "text_dim": 768,
         "subcodes_context": 5, "dtype": "float16"}  # fmt: skip
MEDIUM = {**SMALL, "dim": 1536, "num_heads": 24, "num_layers": 48}
LARGE = {**SMALL, "dim": 2048, "num_heads": 32, "num_layers": 48}


@pytest.fixture
def counted():
    """torch's counter around the test; attention and LSTM in plain matrix products, which are what it can count."""
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        stack.enter_context(torch.no_grad())
        in_place = {torch.ops.aten.addmm_: lambda _, a, b, *args, **kwargs: 2 * a[0] * a[1] * b[1]}  # it knows addmm
        yield stack.enter_context(FlopCounterMode(display=False, custom_mapping=in_place))


class Traffic(TorchDispatchMode):
    """Numbers that products, convolutions and attention read and write."""

    OPS = {"mm": (0, 1), "addmm": (1, 2), "convolution": (0, 1), "_scaled_dot_product_flash_attention_for_cpu": (0, 2)}

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if (operands := self.OPS.get(func._schema.name.removeprefix("aten::"))) is not None:
            first, last = operands
            result = out[0] if isinstance(out, tuple) else out
            self.numbers += sum(tensor.numel() for tensor in [*args[first : last + 1], result])
        return out


def network(**changes):
    torch.manual_seed(0)
    return LanguageModel(LMConfig(**{**TINY, **changes})).eval()


def forward(lm, told, untold, frames, text, mask=None):
    """One pass as the decoders make it: the text's keys and values are there, one head is asked for."""
    codes = torch.randint(0, 30, (told + untold, 4, frames))
    states = torch.randn(told, text, 24)
    with torch.no_grad():
        cache = Cache(lm, states)
    return lambda: lm(codes, states, None, mask, 1, cache)


@pytest.mark.parametrize("untold", [0, 3])
def test_a_pass_has_the_flops_that_torch_counts(counted, untold):
    run = forward(network(), 3, untold, 17, 6)
    before = counted.get_total_flops()
    run()
    work = cost.layers(TINY, 3, untold, 17, 17 * 17, 17, 6) + cost.matmul((3 + untold) * 17, 24, 30)
    assert counted.get_total_flops() - before == work.flops


@pytest.mark.parametrize("untold", [0, 3])
def test_a_pass_moves_what_its_operations_read_and_write(untold):
    run = forward(network(), 3, untold, 17, 6)
    with torch.no_grad(), Traffic() as traffic:
        run()
    work = cost.layers(TINY, 3, untold, 17, 17 * 17, 17, 6) + cost.matmul((3 + untold) * 17, 24, 30)
    assert traffic.numbers == work.moved


def test_steps_with_a_growing_cache_add_up(counted):
    """The closed form of prefill and decode against one pass per step."""
    lm = network(causal=True)
    states, given, frames = torch.randn(2, 6, 24), 4, 12
    cache = Cache(lm, states, batch=4, steps=frames + 4)
    setup = counted.get_total_flops()
    found = {}
    for step in range(given + 1, frames + 4):
        codes = torch.randint(0, 30, (4, 4, step - cache.length))
        before = counted.get_total_flops()
        lm(codes, states, None, causal_mask(codes.shape[2]) if codes.shape[2] > 1 else None, cache=cache)
        name = "prefill" if step == given + 1 else "decode"
        found[name] = found.get(name, 0) + counted.get_total_flops() - before
    expected = {name: work.flops for name, work in cost.autoregressive(TINY, 2, frames, given, 6, guided=True)}
    heads, attention = 2 * 24 * 30 * 4, 4 * 24 * 3  # per row, and per pair in all layers
    unasked = 4 * given * heads  # logits of the given steps, which nobody looks at
    ahead = 4 * (5 * 5 - 15) * attention  # keys behind the causal mask
    projected = 2 * 2 * 6 * 10 * 24  # the text to the model's width: before ``states`` here
    assert found["prefill"] + setup + projected == expected["prefill"] + unasked + ahead
    assert found["decode"] == expected["decode"]


@pytest.fixture(scope="module")
def whole_calls():
    """Name of a tiny model -> (generator, shapes)."""
    made = {}

    def load(name):
        if name not in made:
            model = config.load_model(name)
            if name == "magnet-tiny":
                model.decoding = {**model.decoding, "steps": [4, 3, 2, 2]}  # of 50 passes
            generator = generators.build(model, "cpu", "float32", exact=False)
            made[name] = generator, describe.shapes(generator, [prompt.text for prompt in PROMPTS])
        return made[name]

    return load


def more_by_blocks(shapes, batch, frames, text):
    """What local attention by blocks computes on top: wider windows, and clips filled up to whole blocks."""
    lm, blocks = shapes["lm"], Blocks.of(frames, shapes["lm"]["subcodes_context"], "cpu")
    more = 0
    for codebook, steps in enumerate(shapes["steps"]):
        for share, guided in steps if codebook else []:
            untold = batch if guided else 0
            hidden = max(int(np.float32(share) * (frames // 3)), 1) * 3
            pairs = blocks.frames * blocks.mask.shape[-1]
            done = cost.whole_clip(lm, batch, untold, blocks.frames, pairs, hidden, text)
            needed = cost.pairs_within(frames, lm["subcodes_context"])
            more += done.flops - cost.whole_clip(lm, batch, untold, frames, needed, hidden, text).flops
    return more


def more_by_rescorer(shapes, batch, frames):
    """What the rescorer computes on top: attention to what is ahead, and logits of the first and last steps."""
    lm, length, passes = shapes["rescorer"], frames + 3, sum(len(steps) for steps in shapes["steps"])
    ahead = 4 * lm["dim"] * lm["num_layers"] * length * (length - 1) // 2
    return batch * passes * (ahead + 3 * 2 * lm["dim"] * lm["card"])


@pytest.mark.parametrize(
    "name",
    [
        "magnet-tiny",
        "musicgen-tiny",
        pytest.param("hybrid-magnet-tiny", marks=pytest.mark.slow),
        pytest.param("rescored-magnet-tiny", marks=pytest.mark.slow),
    ],
)
def test_a_whole_call_has_the_flops_that_torch_counts(whole_calls, counted, name):
    generator, shapes = whole_calls(name)
    generator.generate(PROMPTS, [0, 1])  # lays out weights and buffers
    start = counted.get_total_flops()
    generator.generate(PROMPTS, [0, 1])
    executed = counted.get_total_flops() - start
    text, frames = max(shapes["text_tokens"]), 100 // shapes["unit"] * shapes["unit"]
    needed = sum(one.flops for one in cost.of(shapes, 2, 4.0, text).values())
    more = more_by_blocks(shapes, 2, frames, text) if "steps" in shapes else 0
    more += more_by_rescorer(shapes, 2, frames) if "rescorer" in shapes else 0
    listened = 2 * 2 * text * 256 * 512 * 4 * (2 if "hybrid" in name else 1)  # to silence, where buffers are new
    assert executed - needed - more in (0, listened)


def test_text_and_codec_have_the_flops_that_torch_counts(whole_calls, counted):
    generator, shapes = whole_calls("musicgen-tiny")
    marks = [counted.get_total_flops()]
    generator.text.encode([prompt.text for prompt in PROMPTS], one_by_one=False)
    marks.append(counted.get_total_flops())
    generator.codec.decode(torch.randint(0, 256, (2, 4, 100)), one_by_one=False)
    marks.append(counted.get_total_flops())
    costs = cost.of(shapes, 2, 4.0, max(shapes["text_tokens"]))
    assert marks[1] - marks[0] == costs["text"].flops
    assert marks[2] - marks[1] == costs["codec"].flops


def test_codec_of_other_shapes(counted):
    from transformers import EncodecConfig, EncodecModel

    shapes = EncodecConfig(
        num_filters=4, upsampling_ratios=[5, 3, 2], hidden_size=12, codebook_dim=12, num_lstm_layers=2, compress=2,
        num_residual_layers=2, use_conv_shortcut=True, audio_channels=2, use_causal_conv=False, normalize=False,
    )  # fmt: skip
    model = EncodecModel(shapes).eval()
    before = counted.get_total_flops()
    model.decoder(torch.randn(3, 12, 20))
    work = cost.codec_decoder(describe._codec(model), 3, 20)
    assert counted.get_total_flops() - before == work.flops
    with Traffic() as traffic:
        model.decoder(torch.randn(3, 12, 20))
    steps = 2 * 20 * (3 * 32 + 32 * 128 + 3 * 128)  # of the LSTM: weights read once per frame, that is 20 times
    once = 2 * (3 * 20 * 32 + 32 * 128 + 3 * 20 * 128)
    assert 0 <= (traffic.numbers - steps + once) / work.moved - 1 < 0.05  # the rest is padding of convolutions


def test_gated_text_encoder(counted):
    from transformers import T5Config, T5EncoderModel

    shapes = T5Config(vocab_size=50, d_model=16, d_kv=6, d_ff=20, num_layers=3, num_heads=2,
                      feed_forward_proj="gated-gelu")  # fmt: skip
    model = T5EncoderModel(shapes).eval()
    before = counted.get_total_flops()
    model(input_ids=torch.randint(0, 50, (2, 7)))
    assert counted.get_total_flops() - before == cost.text_encoder(describe._t5(model), 2, 7).flops


def published(lm, kind, steps=()):
    """Shapes of a published model of 50 frames a second; guided throughout, and no frame is ever left out."""
    return {
        "kind": kind, "unit": 3 if steps else 1, "span": 3, "segment": 1500, "stride": 900, "lm": lm,
        "ar_guided": True, "steps": [[(1.0, True)] * n for n in steps],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lm", "frames", "steps", "tera"),
    [
        (SMALL, 500, (20, 10, 10, 10), 39), (SMALL, 1500, (60, 10, 10, 10), 236), (MEDIUM, 500, (20, 10, 10, 10), 168),
        (MEDIUM, 1500, (60, 10, 10, 10), 986),
    ],
)  # fmt: skip
def test_magnet_at_its_published_sizes(lm, frames, steps, tera):
    """audiocraft's decoding: dense windows, all heads, a first layer and a text for the other half, on top of ours."""
    made, text, d, depth = frames // 3 * 3, 20, lm["dim"], lm["num_layers"]
    theirs = 2 * sum(steps) * made * (28 * depth * d**2 + 4 * depth * d * (made + text) + 16_384 * d)
    assert theirs == pytest.approx(tera * 1e12, rel=0.015)
    ours = sum(work.flops for _, work in cost.tokens(published(lm, "masked", steps), 1, frames, text))
    windows = sum(steps[1:]) * (2 * depth - 1) * 4 * d * (made**2 - cost.pairs_within(made, 5))
    shared = sum(steps) * cost.look(lm, 1, made, made**2, made).flops
    heads = 2 * sum(steps) * made * 3 * 4096 * d
    silence = sum(steps) * made * depth * (4 * d**2 + 4 * d * text)
    once = cost.conditions(lm, 1, text).flops
    assert ours - once + windows + shared + heads + silence == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    ("lm", "frames", "tera", "weights_tb"),
    [(SMALL, 500, 0.75, None), (SMALL, 1500, 2.4, 1.24), (MEDIUM, 1500, 10.3, 5.5), (LARGE, 1500, 18.0, 9.7)],
)
def test_musicgen_at_its_published_sizes(lm, frames, tera, weights_tb):
    """audiocraft's decoding: a text for the other half, and cross-attention that is not folded, on top of ours."""
    text, d, depth = 20, lm["dim"], lm["num_layers"]
    saved = (frames + 3) * depth * (2 * d**2 + 2 * d * text - 2 * d * lm["num_heads"] * text)  # multiply-adds
    work = {name: part for name, part in cost.tokens(published(lm, "autoregressive"), 1, frames, text)}
    silence = (frames + 3) * depth * (4 * d**2 + 4 * d * text)
    total = sum(part.flops for part in work.values()) - cost.conditions(lm, 1, text).flops + silence
    total += 2 * saved
    assert total == pytest.approx(tera * 1e12, rel=0.01)
    if weights_tb:  # all weights in every step; ours has no use for two of 16 d^2 per layer: keys, values of the text
        cache = 2 * 2 * depth * d * sum(range(2, 1504))
        unused = 2 * depth * d**2 * (frames + 3)
        assert 2 * (work["decode"].moved + saved + unused - cache) == pytest.approx(weights_tb * 1e12, rel=0.03)


def test_windows_are_those_of_the_long_decoder():
    from magnet_eval.generators import long
    from magnet_eval.generators.tokens import Tokens

    lm = LMConfig(**TINY)  # 500 frames
    for frames, unit in ((500, 1), (501, 1), (1520, 1), (1520, 3)):
        seen = []

        def window(length, prompt, seen=seen):
            seen.append((length, 0 if prompt is None else prompt.shape[2]))
            return Tokens(torch.zeros(1, 4, length, dtype=torch.long), 1, 1)

        long.decode(window, frames, lm, None, unit)
        shapes = {"unit": unit, "segment": long.segment_frames(lm, unit), "stride": long.stride_frames(lm, None, unit)}
        assert list(cost.windows(shapes, frames)) == seen


@pytest.mark.parametrize("frames", [1, 4, 5, 6, 11, 40])
@pytest.mark.parametrize("context", [-1, 0, 2, 5])
def test_pairs_of_a_local_window(frames, context):
    counted = sum(context < 0 or abs(i - j) <= context for i in range(frames) for j in range(frames))
    assert cost.pairs_within(frames, context) == counted


def test_musicgen_of_transformers(counted):
    """It does more: a text of silence for the unguided half, the text projected in every step, the first step twice."""
    import transformers as tf

    codec = tf.EncodecConfig(
        sampling_rate=32000, target_bandwidths=[1.2], normalize=False, hidden_size=16, num_filters=4,
        upsampling_ratios=[8, 5, 4, 4], codebook_size=64, codebook_dim=16, num_lstm_layers=1,
    )  # fmt: skip
    text = tf.T5Config(vocab_size=50, d_model=24, d_kv=12, d_ff=32, num_layers=2, num_heads=2)
    decoder = tf.MusicgenDecoderConfig(
        vocab_size=64, num_hidden_layers=2, ffn_dim=64, num_attention_heads=2, hidden_size=16, pad_token_id=64,
        bos_token_id=64,
    )  # fmt: skip
    parts = {"text_encoder": text, "audio_encoder": codec, "decoder": decoder}
    model = tf.MusicgenForConditionalGeneration(
        tf.MusicgenConfig(**{name: part.to_dict() for name, part in parts.items()})
    ).eval()
    tokenizer = lambda texts: {"input_ids": [[1] * 6 for _ in texts]}  # noqa: E731
    shapes = describe.shapes(
        SimpleNamespace(music=True, model=model, settings={"guidance_scale": 3.0},
                        pipeline=SimpleNamespace(tokenizer=tokenizer)), ["a", "b"]
    )  # fmt: skip
    assert shapes["text_tokens"] == [6, 6] and shapes["frame_rate"] == 50
    before = counted.get_total_flops()
    ids = torch.ones(2, 6, dtype=torch.long)
    made = model.generate(
        input_ids=ids, attention_mask=ids, guidance_scale=3.0, max_new_tokens=23, do_sample=False,
        decoder_start_token_id=64, pad_token_id=64,
    )  # fmt: skip
    assert made.shape[-1] == 20 * 640
    executed = counted.get_total_flops() - before
    costs = cost.of(shapes, 2, 0.4, 6)
    needed = sum(one.flops for one in costs.values())
    silence = 2 * 23 * 2 * (4 * 16**2 + 4 * 16 * 6) + cost.conditions(shapes["lm"], 2, 6).flops
    again = 24 * cost.matmul(4 * 6, 24, 16).flops + costs["prefill"].flops + costs["text"].flops
    assert needed + silence <= executed <= needed + silence + again
