"""Masked decoding: schedules, spans, the length rule, prompts, faults."""

import pytest
import torch

from magnet_eval.decoding import MaskedDecoding, Rescoring
from magnet_eval.generators import masked, rescoring
from magnet_eval.generators.masked import made_frames, schedule
from magnet_eval.generators.sampling import chooser, sample
from magnet_eval.generators.spans import FIXED, OverlappingSpans, WholeSpans, n_spans
from magnet_eval.generators.transformer import LanguageModel, LMConfig, causal_mask, local_mask
from magnet_eval.lookup import UserError


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    torch.manual_seed(3)
    config = LMConfig(dim=32, num_heads=4, num_layers=2, card=64, text_dim=24)
    return LanguageModel(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def text() -> torch.Tensor:
    return torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(4))


SHORT = {"steps": [6, 3, 3, 3], "cfg_max": 3.0}


def test_schedule_of_the_code_is_the_golden_one():
    steps = schedule(20, 166, MaskedDecoding())
    assert [s.n_hidden for s in steps] == [
        166, 165, 163, 160, 157, 152, 145, 138, 130, 122, 112, 101, 90, 79, 66, 53, 40, 27, 13, 1,
    ]  # fmt: skip
    expected = [10.0, 9.969, 9.877, 9.725, 9.512, 9.242, 8.915, 8.534, 8.102, 7.622,
                7.096, 6.528, 5.923, 5.284, 4.615, 3.922, 3.209, 2.481, 1.743, 1.0]  # fmt: skip
    assert [round(s.cfg, 3) for s in steps] == expected
    assert [s.temperature for s in steps[:2]] == pytest.approx([2.85, 2.7])
    assert [s.temperature for s in steps[-2:]] == pytest.approx([0.15, 0.0])


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (166, [166, 163, 155, 143, 127, 106, 82, 56, 28, 1]),
        (500, [500, 492, 469, 433, 383, 321, 249, 171, 86, 1]),
    ],
)
def test_schedule_of_ten_steps(units, expected):
    assert [s.n_hidden for s in schedule(10, units, MaskedDecoding())] == expected


def test_schedule_of_the_paper_ends_with_spans_left_to_hide():
    """cos(pi i / 2n): the last of 20 iterations still hides 8 % of the spans, where the code hides one."""
    steps = schedule(20, 166, MaskedDecoding(schedule="paper"))
    assert (steps[0].n_hidden, steps[10].n_hidden, steps[-1].n_hidden) == (166, 117, 13)
    assert steps[-1].cfg == pytest.approx(1 + 9 * 0.0785, abs=1e-3)


def test_constant_temperature():
    assert {s.temperature for s in schedule(7, 9, MaskedDecoding(anneal_temperature=False))} == {3.0}


def test_length_rule():
    """Whole spans only: 498 of 500 frames, unless spans may overlap or are single tokens."""
    assert made_frames(500, 3, MaskedDecoding()) == 498
    assert made_frames(125, 3, MaskedDecoding()) == 123
    assert made_frames(1500, 3, MaskedDecoding()) == 1500
    assert made_frames(500, 3, MaskedDecoding(span_arrangement="stride1")) == 500
    assert made_frames(500, 1, MaskedDecoding()) == 500


def test_whole_spans_hide_the_least_certain():
    spans = WholeSpans(frames=12, prompt=0, span_len=3, scoring="max")
    probs = torch.tensor([[0.9, 0.1, 0.1, 0.2, 0.3, 0.2, 0.5, 0.1, 0.1, 0.8, 0.8, 0.8]])
    yes = torch.ones(1, 12, dtype=torch.bool)
    everything = torch.arange(12)[None], yes
    scores = spans.score(probs, everything, yes)
    assert scores[0].tolist() == pytest.approx([0.1, 0.7, 0.5, 0.2])
    hidden = frames, really = spans.hide(scores, 2)
    assert frames[0].tolist() == [3, 4, 5, 6, 7, 8] and really.all()
    # what was not hidden this round is never hidden again
    again = spans.score(probs[:, 3:9], hidden, really)
    assert (again[0, [0, 3]] == FIXED).all() and again[0, 1:3].tolist() == pytest.approx([0.7, 0.5])
    product = WholeSpans(12, 0, 3, "prod").score(probs, everything, yes)
    assert product[0].tolist() == pytest.approx([-torch.tensor(p).log().item() for p in (0.009, 0.012, 0.005, 0.512)])


@pytest.mark.parametrize("target", [1, 5, 15, 29, 40, 47])
def test_overlapping_spans_hide_about_as_many_frames_as_asked(target):
    generator = torch.Generator().manual_seed(target)
    spans = OverlappingSpans(frames=50, prompt=0, span_len=3)
    scores = torch.rand(3, 50, generator=generator)
    frames, really = spans.hide(scores, target)
    assert all(len(row.unique()) == len(row) == min(max(target, 3) + 3, 50) for row in frames)
    assert ((really.sum(1) - max(target, 3)).abs() <= 3).all()  # one span more or less
    worst = scores.unfold(1, 3, 1).sum(-1).argmax(1)
    hidden = torch.zeros(3, 50, dtype=torch.bool).scatter_(1, frames, really)
    assert all(hidden[b, worst[b] : worst[b] + 3].all() for b in range(3))


def test_spans_are_counted_as_a_bisection_in_python_counts_them():
    """All clips at once, in as many steps as the worst case needs, against one clip after the other."""
    generator = torch.Generator().manual_seed(0)
    for target in range(3, 120):
        covered = (3 + torch.randint(0, 4, (5, 130), generator=generator).cumsum(1)).clamp(max=130)
        expected = []
        for row in covered.tolist():
            low, high = target // 3, target - 2
            middle = chosen = round((low + high) / 2)
            while low < middle < high:
                chosen = middle
                low, high = (low, chosen) if row[chosen - 1] > target else (chosen, high)
                middle = round((low + high) / 2)
            expected.append(chosen)
        assert n_spans(covered, target, 3)[:, 0].tolist() == expected


def test_local_mask_is_eleven_frames_wide():
    mask = local_mask(40, 5)
    assert mask[20].nonzero().flatten().tolist() == list(range(15, 26))
    assert local_mask(40, -1) is None


def test_later_codebooks_see_only_their_neighbourhood(lm):
    """One layer of context 5: a change at frame 30 moves the logits of frames 25 to 35 and of no other."""
    torch.manual_seed(0)
    one = LanguageModel(LMConfig(dim=32, num_heads=4, num_layers=1, card=64, text_dim=24)).eval()
    codes = torch.randint(0, 64, (1, 4, 60))
    changed = codes.clone()
    changed[0, :, 30] = 64
    empty = torch.zeros(1, 1, 32)
    with torch.no_grad():
        difference = one(codes, empty, attention_mask=local_mask(60, 5)) - one(
            changed, empty, attention_mask=local_mask(60, 5)
        )
    moved = (difference.abs().amax((0, 1, 3)) > 1e-6).nonzero().flatten().tolist()
    assert moved == list(range(25, 36))
    with torch.no_grad():
        difference = one(codes, empty, attention_mask=causal_mask(60)) - one(
            changed, empty, attention_mask=causal_mask(60)
        )
    assert (difference.abs().amax((0, 1, 3)) > 1e-6).nonzero().flatten().tolist() == list(range(30, 60))


@pytest.mark.parametrize("arrangement", ["nonoverlap", "stride1"])
@pytest.mark.parametrize("schedule_name", ["code", "paper"])
def test_everything_is_filled_and_prompts_are_kept(lm, text, arrangement, schedule_name):
    settings = MaskedDecoding(**SHORT, span_arrangement=arrangement, schedule=schedule_name)
    prompt = torch.randint(0, 64, (2, 4, 13), generator=torch.Generator().manual_seed(5))
    made = masked.decode(lm, text, settings, 50, chooser("per_clip", [1, 2]), prompt=prompt)
    assert made.codes.shape == (2, 4, 48 if arrangement == "nonoverlap" else 50)
    assert made.codes.max() < lm.config.mask_token
    assert torch.equal(made.codes[..., :13], prompt)
    assert all(made.seconds[f"codebook {k}"] > 0 for k in (1, 2, 3, 4))


@pytest.mark.parametrize("given", [0, 13])
def test_the_order_of_decoding_follows_the_schedule(lm, text, given):
    """What is fixed after an iteration has not been hidden since: whole spans, as many as the next ones hide."""
    settings = MaskedDecoding(**SHORT)
    prompt = torch.zeros(2, 4, given, dtype=torch.long)
    made = masked.decode(lm, text, settings, 48, chooser("per_clip", [1, 2]), prompt=prompt)
    assert torch.equal(made.fixed_at == 0, torch.arange(48).expand(2, 4, 48) < given)
    for k, n_steps in enumerate(settings.steps):
        row = made.fixed_at[:, k]
        for i, step in enumerate(masked.schedule(n_steps, 16 - given // 3, settings)):
            in_part = (row[:, given:] > i).sum(1)  # a span that is given in part may be among those hidden
            assert ((3 * step.n_hidden - given % 3 <= in_part) & (in_part <= 3 * step.n_hidden)).all()
        spans = row[:, given + -given % 3 :].unflatten(1, (-1, 3))
        assert (spans == spans[..., :1]).all()


def test_unguided_half_is_left_out_where_it_has_no_weight(lm, text):
    """The last step of each stage has scale 1; and a scale of 1 throughout needs no unguided half at all."""
    choose = chooser("per_clip", [1, 2])
    guided = masked.decode(lm, text, MaskedDecoding(**SHORT), 30, choose)
    assert guided.network_evaluations == 2 * 15 - 4
    unguided = masked.decode(lm, text, MaskedDecoding(steps=[6, 3, 3, 3], cfg_max=1.0), 30, choose)
    assert unguided.network_evaluations == unguided.iterations == 15


def test_a_clip_depends_on_its_own_seed_and_text(lm, text):
    def run(seeds, texts):
        return masked.decode(lm, texts, MaskedDecoding(**SHORT), 30, chooser("per_clip", seeds)).codes

    base = run([1, 2], text)
    assert torch.equal(run([1, 2], text), base)
    assert not torch.equal(run([3, 2], text)[0], base[0])
    assert not torch.equal(run([1, 2], text.flip(0))[0], base[0])


def test_sampling_draws_the_given_distribution():
    """Inverse-CDF draws against the probabilities themselves, at 5 standard errors; truncation leaves nothing else."""
    probs = torch.tensor([0.5, 0.25, 0.15, 0.06, 0.04])
    n = 20_000
    logits = probs.log().expand(1, n, 5)
    for settings, allowed in (
        (MaskedDecoding(top_p=0.0), [0.5, 0.25, 0.15, 0.06, 0.04]),
        (MaskedDecoding(top_p=0.0, top_k=2), [2 / 3, 1 / 3, 0, 0, 0]),
        (MaskedDecoding(top_p=0.8), [5 / 9, 2.5 / 9, 1.5 / 9, 0, 0]),
    ):
        choose = chooser("per_clip", [7])
        tokens, confidence = sample(logits, 1.0, settings, choose, choose.draw(1, n, 5))
        share = torch.bincount(tokens[0], minlength=5) / n
        error = 5 * (torch.tensor(allowed) * (1 - torch.tensor(allowed)) / n).sqrt()
        assert ((share - torch.tensor(allowed)).abs() <= error).all()
        # top-p scores with the whole distribution, top-k with the cut one
        whole = torch.tensor(allowed) if settings.top_k else probs
        assert torch.allclose(confidence, whole[tokens], atol=1e-6)


def test_rescorer_of_weight_nothing_changes_nothing_and_of_weight_one_decides(lm, text):
    torch.manual_seed(8)
    judge = LanguageModel(LMConfig(dim=32, num_heads=4, num_layers=2, card=64, text_dim=24, causal=True)).eval()

    def run(rescore):
        settings = MaskedDecoding(steps=[10, 3, 3, 3], temperature=1.0)
        return masked.decode(lm, text, settings, 48, chooser("per_clip", [1, 2]), rescore=rescore)

    def rescorer(weight, on):
        return rescoring.Rescorer(judge, text, None, Rescoring("x", weight, on))

    plain = run(None)
    for weight, on in ((0.0, "rescorer"), (1.0, "magnet")):
        assert torch.equal(run(rescorer(weight, on)).codes, plain.codes)
    full = run(rescorer(1.0, "rescorer"))
    assert not torch.equal(full.codes, plain.codes)
    assert torch.equal(full.codes, run(rescorer(0.0, "magnet")).codes)
    assert full.network_evaluations == plain.network_evaluations + full.iterations


def test_rescorer_probabilities_are_the_teacher_forced_ones(musicgen_vectors):
    lm = musicgen_vectors.model("musicgen")
    codes, logits = musicgen_vectors.tokens("forward/codes"), musicgen_vectors.tensors["forward/logits"]
    condition = musicgen_vectors.tensors["forward/condition"]
    judge = rescoring.Rescorer(lm, condition, None, Rescoring("x"))
    valid = musicgen_vectors.tensors["forward/mask"]
    for k in range(4):
        expected = logits[:, k].softmax(-1).gather(-1, codes[:, k, :, None])[..., 0]
        assert torch.allclose(judge.probabilities(codes, k)[valid[:, k]], expected[valid[:, k]], atol=1e-5)
    own, frames = torch.full((4, 20), 0.5), torch.arange(20).repeat(4, 1)
    assert torch.allclose(judge(codes, own, 1, frames), 0.25 + judge.probabilities(codes, 1) / 2)


@pytest.mark.parametrize(
    ("settings", "frames", "words"),
    [
        ({"steps": [5, 5, 5]}, 30, "3 entries; the model has 4 codebooks"),
        ({"steps": [2, 2, 2, 2]}, 2, "nothing to generate"),
    ],
)
def test_faults(lm, text, settings, frames, words):
    with pytest.raises(UserError, match=words):
        masked.decode(lm, text, MaskedDecoding(**settings), frames, chooser("per_clip", [1, 2]))


def test_prompt_as_long_as_the_clip_is_an_error(lm, text):
    with pytest.raises(UserError, match="nothing to generate"):
        prompt = torch.zeros(2, 4, 30, dtype=torch.long)
        masked.decode(lm, text, MaskedDecoding(**SHORT), 30, chooser("per_clip", [1, 2]), prompt=prompt)


def test_empty_text_is_no_text(lm):
    """A text without a token, masked or not, is the same as a row that has none."""
    codes = torch.randint(0, 64, (2, 4, 12))
    hidden, nothing = torch.randn(2, 5, 24), torch.tensor([[True] * 5, [False] * 5])
    condition = lm.project(hidden, nothing)
    left_out = lm(codes, condition[:1])
    assert torch.allclose(lm(codes, condition, nothing), left_out, atol=1e-5)
    assert torch.allclose(lm(codes, condition), left_out, atol=1e-5)


def test_training_gradients_reach_every_parameter_used(lm):
    trained = LanguageModel(lm.config)
    hidden, mask = torch.randn(2, 5, 24), torch.ones(2, 5, dtype=torch.bool)
    codes = torch.randint(0, 65, (2, 4, 12))
    with torch.autocast("cpu", torch.bfloat16):
        logits = trained(codes, trained.project(hidden, mask), mask, local_mask(12, 5), codebook=1)
        logits.float().logsumexp(-1).mean().backward()
    unused = {name for name, weight in trained.named_parameters() if weight.grad is None}
    assert unused == {f"linears.{k}.weight" for k in (0, 2, 3)}
