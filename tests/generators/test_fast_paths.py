"""The fast decoders against the plain network: the same logits, and the same tokens from the same noise."""

import pytest
import torch

from magnet_eval.decoding import AutoregressiveDecoding, MaskedDecoding
from magnet_eval.generators import autoregressive, masked
from magnet_eval.generators.autoregressive import delay, undelay
from magnet_eval.generators.graphs import Graphs, kept
from magnet_eval.generators.products import PackedProduct, Product, product_of
from magnet_eval.generators.sampling import chooser
from magnet_eval.generators.stepper import Stepper
from magnet_eval.generators.tokens import guide
from magnet_eval.generators.transformer import LanguageModel, LMConfig, causal_mask, local_mask
from magnet_eval.generators.wholeclip import Blocks, WholeClip

FRAMES, TEXT_LENGTH, BATCH = 75, 5, 2
MASK = torch.tensor([[True] * 5, [True, True, True, False, False]])


def model(**changes) -> LanguageModel:
    torch.manual_seed(3)
    lm = LanguageModel(LMConfig(**{"dim": 32, "num_heads": 4, "num_layers": 3, "card": 64, **changes})).eval()
    for weight in lm.requires_grad_(False).emb.parameters():
        weight.mul_(10)  # so that tokens move the argmax
    return lm


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return model()


@pytest.fixture(scope="module")
def text() -> torch.Tensor:
    return torch.randn(BATCH, TEXT_LENGTH, 32, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("frames", [7, 22, 23, 75])
@pytest.mark.parametrize("context", [0, 2, 5, 40])
def test_local_attention_by_blocks_is_that_of_a_dense_mask(frames, context):
    generator = torch.Generator().manual_seed(frames)
    blocks = Blocks.of(frames, context, torch.device("cpu"))
    clips = torch.randn(3, blocks.frames, 3, 4, 8, generator=generator)
    edge = torch.full((context, 96), 1e9)  # what is there is never looked at
    rows = torch.cat([edge, clips.flatten(2).flatten(0, 1), edge])
    got = blocks.attend(rows, 3, 4).view(3, blocks.frames, 4, 8)[:, :frames]
    q, k, v = clips[:, :frames].permute(2, 0, 3, 1, 4)
    mask = local_mask(frames, context)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    assert torch.allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("text_mask", [None, MASK])
@pytest.mark.parametrize("context", [5, -1])
@torch.inference_mode()
def test_logits_of_some_frames_are_those_of_the_whole_network(text, context, text_mask, guided):
    lm = model(subcodes_context=context)
    whole = WholeClip(lm, BATCH, FRAMES, TEXT_LENGTH)
    whole.cache.listen(text, text_mask)
    generator = torch.Generator().manual_seed(0)
    for codebook in (0, 1, 3, 0):  # and again, over what the others left in the buffers
        codes = torch.randint(0, 65, (BATCH, 4, FRAMES), generator=generator)
        frames = torch.rand(BATCH, FRAMES, generator=generator).argsort(1)[:, :9]
        whole.codes.copy_(codes)
        got = whole.logits(codebook, frames, guided=guided)
        both = torch.cat([codes, codes]) if guided else codes
        mask = local_mask(FRAMES, context) if codebook else None
        expected = lm(both, text, text_mask, mask)[:, codebook]
        rows = torch.arange(len(both))[:, None]
        assert torch.allclose(got, expected[rows, frames.repeat(1 + guided, 1)], atol=2e-5)


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("text_mask", [None, MASK])
@torch.inference_mode()
def test_logits_step_by_step_are_those_of_the_whole_network(text, clips, text_mask):
    """One clip, whose text is folded into the products, and two."""
    lm = model(causal=True)
    text, text_mask = text[-clips:], None if text_mask is None else text_mask[-clips:]
    codes = torch.randint(0, 65, (clips, 4, 12), generator=torch.Generator().manual_seed(0))
    expected = lm(codes.repeat(2, 1, 1), text, text_mask)
    stepper = Stepper(lm, clips, clips, 12, TEXT_LENGTH)
    assert (stepper.folded is not None) == (clips == 1)
    for other in (torch.randn_like(text), text):  # the second text takes the first one's place
        stepper.listen(other, text_mask)
        got = [stepper.logits(codes[..., step], torch.tensor([step]), step + 1) for step in range(12)]
    assert torch.allclose(torch.stack(got, 2), expected, atol=5e-5)


def plain_masked(lm, text, settings, frames, seeds, text_mask=None) -> torch.Tensor:
    """MAGNeT with every frame, head and mask in full."""
    choose, spans = chooser("per_clip", seeds), frames // 3
    codes = torch.full((len(text), 4, frames), 64)
    for codebook, n_steps in enumerate(settings.steps):
        scores = torch.zeros(len(text), spans)
        for step in masked.schedule(n_steps, spans, settings):
            chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(step.n_hidden).indices, True)
            hidden = chosen.repeat_interleave(3, 1)
            codes[:, codebook][hidden] = 64
            mask = local_mask(frames, 5) if codebook else None
            logits = guide(lm(codes.repeat(2, 1, 1), text, text_mask, mask)[:, codebook], step.cfg)
            probs = (logits / max(step.temperature, 0.01)).softmax(-1)
            ordered, index = probs.sort(dim=-1, descending=True, stable=True)
            ordered = ordered * (ordered.cumsum(-1) - ordered <= settings.top_p)
            noise = choose.draw(len(text), frames, 64)
            rank = choose.pick(ordered / ordered.sum(-1, keepdim=True), noise)[..., None]
            drawn = logits.argmax(-1, keepdim=True) if settings.greedy else index.gather(-1, rank)
            codes[:, codebook] = torch.where(hidden, drawn[..., 0], codes[:, codebook])
            of_drawn = probs.gather(-1, drawn)[..., 0].unflatten(1, (-1, 3))
            scores = (1 - of_drawn.amax(-1)).masked_fill(~chosen, -1e4)
    return codes


@pytest.mark.parametrize("text_mask", [None, MASK])
@pytest.mark.parametrize("greedy", [True, False])
@torch.inference_mode()
def test_masked_tokens_are_those_of_the_plain_path(lm, text, greedy, text_mask):
    settings = MaskedDecoding(steps=[8, 4, 4, 4], cfg_max=4.0, greedy=greedy)
    made = masked.decode(lm, text, settings, FRAMES, chooser("per_clip", [1, 2]), text_mask=text_mask)
    assert torch.equal(made.codes, plain_masked(lm, text, settings, FRAMES, [1, 2], text_mask))


@pytest.mark.parametrize("two_step_cfg", [True, False])
@pytest.mark.parametrize("given", [0, 9])
@pytest.mark.parametrize("greedy", [True, False])
@torch.inference_mode()
def test_autoregressive_tokens_are_those_of_the_plain_path(text, greedy, given, two_step_cfg):
    """All of the sequence through the network in every step; more steps than noise is drawn for at once."""
    lm, frames = model(causal=True), autoregressive.TOGETHER + 12
    settings = AutoregressiveDecoding(top_k=20, greedy=greedy, two_step_cfg=two_step_cfg)
    prompt = torch.randint(0, 64, (BATCH, 4, given), generator=torch.Generator().manual_seed(6))
    choose = chooser("per_clip", [1, 2])
    sequence = delay(torch.cat([prompt, torch.full((BATCH, 4, frames - given), -1)], 2), 64)
    for step in range(given + 1, sequence.shape[2]):
        known = sequence[..., :step].repeat(2, 1, 1)
        logits = guide(lm(known, text, None, causal_mask(step))[:, :, -1], settings.cfg)
        probs = logits.softmax(-1)
        probs = probs * (probs >= probs.topk(20).values[..., -1:])
        noise = choose.draw(BATCH, 4, 64)
        tokens = logits.argmax(-1) if greedy else choose.pick(probs / probs.sum(-1, keepdim=True), noise)
        sequence[..., step] = torch.where(sequence[..., step] < 0, tokens, sequence[..., step])
    again = chooser("per_clip", [1, 2])
    made = autoregressive.decode(lm, text, settings, frames, again, prompt=prompt if given else None)
    assert torch.equal(made.codes, undelay(sequence))
    if not greedy:  # no more was drawn than is needed: what comes next gets the same
        assert torch.equal(again.draw(BATCH, 1, 1), choose.draw(BATCH, 1, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_packed_products_are_the_plain_ones(dtype):
    weight, x, to = (torch.randn(shape).to(dtype) for shape in ((96, 64), (2, 64), (2, 96)))
    packed, plain = product_of(weight), Product(weight)
    if not isinstance(packed, PackedProduct):
        pytest.skip("torch was built without oneDNN")
    for got, expected in (
        (packed(x), plain(x)), (packed.gelu(x), plain.gelu(x)), (packed.added(x, to), plain.added(x, to)),
    ):  # fmt: skip
        assert torch.allclose(got.float(), expected.float(), atol=0.1, rtol=0.02)
    assert not isinstance(product_of(weight.float()), PackedProduct)


@torch.inference_mode()
def test_steps_in_16_bits_follow_those_in_32(text):
    lm = model(causal=True)
    codes = torch.randint(0, 65, (1, 4, 6), generator=torch.Generator().manual_seed(0))
    expected = lm(codes, text[:1])
    half = model(causal=True).to(torch.bfloat16)
    stepper = Stepper(half, 1, 0, 6, TEXT_LENGTH)
    stepper.listen(text[:1].bfloat16(), None)
    got = torch.stack([stepper.logits(codes[..., s], torch.tensor([s]), s + 1) for s in range(6)], 2)
    assert (got.float() - expected).std() < 0.05 * expected.std()


def test_without_a_gpu_nothing_is_recorded_or_kept(lm):
    runs = []
    graphs = Graphs(torch.device("cpu"))
    for _ in range(2):
        graphs.run("key", lambda: runs.append(1))
    assert len(runs) == 2 and not graphs.recorded
    with kept(lm, WholeClip, 1, 12, 5) as first:
        pass
    with kept(lm, WholeClip, 1, 12, 5) as second:
        assert second is not first and kept not in lm.kept


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("greedy", [True, False])
@torch.inference_mode()
def test_recordings_give_what_the_first_call_gave(text, greedy, dtype):
    """On CUDA the first call runs and records, later ones replay; the CPU's tokens are the same up to rounding."""
    runs = {"masked": (masked, MaskedDecoding(steps=[8, 4, 4, 4], cfg_max=4.0, greedy=greedy), False),
            "autoregressive": (autoregressive, AutoregressiveDecoding(top_k=20, greedy=greedy), True)}  # fmt: skip
    for family, settings, causal in runs.values():
        on_cpu = family.decode(model(causal=causal), text, settings, FRAMES, chooser("per_clip", [1, 2])).codes
        lm = model(causal=causal).to("cuda", dtype)
        made = [
            family.decode(lm, text.to("cuda", dtype), settings, FRAMES, chooser("per_clip", [1, 2])) for _ in range(3)
        ]
        assert torch.equal(made[0].codes, made[1].codes) and torch.equal(made[0].codes, made[2].codes)
        if dtype == torch.float32:
            assert (made[0].codes.cpu() == on_cpu).float().mean() > 0.9
        assert set(made[0].event_seconds) == set(made[0].seconds)
