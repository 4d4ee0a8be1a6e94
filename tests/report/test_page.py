"""The report in a real browser: players, keys, phone, print, light and dark, axe; and nothing asked of the network."""

import pytest

from magnet_eval import report
from magnet_eval.report import listen, runs

pytest.importorskip("playwright", reason="needs the package playwright")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
WIDER = "document.documentElement.scrollWidth - innerWidth"
OVERFLOWING = """[...document.querySelectorAll("main *")].filter((node) =>
  node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX === "auto")"""
# Whatever reaches over the right edge of the page without a box to scroll it in.
LOOSE = """[...document.querySelectorAll("body *")].filter((node) =>
  node.getBoundingClientRect().right > innerWidth + 1 && !node.closest(".scroll, svg")).map((node) => node.outerHTML)"""


@pytest.fixture(scope="module")
def made(whole_run, hostile_run, tmp_path_factory):
    """Pages by name, made by the normal code; that of "beside" has its later audio in a folder."""
    reports = tmp_path_factory.mktemp("reports")
    pages = {
        "inline": report.build(whole_run, reports / whole_run.path.name),
        "hostile": report.build(hostile_run, reports / "hostile"),
        "index": runs.write_index(whole_run.path.parent, reports),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listen.Sounds.__init__, "__defaults__", (60_000,))
        pages["beside"] = report.build(whole_run, reports / "beside")
    return pages


@pytest.fixture
def opened(chromium, made):
    """Opens pages by name; fails if one logged anything, or asked for more than itself and its audio folder."""
    contexts, problems = [], []

    def open_page(name, viewport=DESK, **options):
        contexts.append(chromium.new_context(viewport=viewport, **options))
        page, url = contexts[-1].new_page(), made[name].as_uri()
        own = (url, url.removesuffix(".html") + "_audio/", "blob:", "data:")
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text))
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(own) or problems.append(request.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach((node) => (node.open = true))")


def clean(page, **options):
    """No violation of a rule of axe-core (WCAG and good practice)."""
    found = pytest.importorskip("axe_playwright_python.sync_playwright").Axe().run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


def playing(page):
    """Places of the players that play."""
    return page.evaluate("[...document.querySelectorAll('audio')].flatMap((one, at) => one.paused ? [] : [at])")


def caption(page):
    return page.locator("#text").inner_text()


@pytest.mark.parametrize("name", ["inline", "beside"])
def test_every_player_plays_and_stops_the_others(opened, made, name):
    page, sources = opened(name), set()
    for prompt in range(3):
        page.locator("#prompt").select_option(index=prompt)
        players = page.locator("audio")
        assert players.count() == 4  # the real clip and three systems
        for at, player in enumerate(players.all()):
            player.evaluate("(one) => one.play()")
            moved = "(at) => document.querySelectorAll('audio')[at].currentTime > 0.02"
            page.wait_for_function(moved, arg=at, polling=20)
            assert player.evaluate("(one) => one.duration") == pytest.approx(2.0, abs=0.01)
            assert playing(page) == [at]
            sources.add(player.evaluate("(one) => one.src.split(':')[0]"))
    assert sources == ({"blob"} if name == "inline" else {"blob", "file"})
    assert bool(list(made[name].parent.glob(f"{name}_audio/*.flac"))) == (name == "beside")


def test_keys_step_and_play_and_are_told(opened):
    page = opened("inline")
    page.locator(".player").evaluate("(node) => node.scrollIntoView()")
    told = page.locator(".keys").inner_text()
    assert "next and previous prompt" in told and "play a clip" in told and "play or pause" in told
    assert page.locator("#text").get_attribute("aria-live") == "polite"
    first = caption(page)
    for forth, back in (("j", "k"), ("ArrowRight", "ArrowLeft")):
        page.keyboard.press(forth)
        assert caption(page) != first and page.locator("#prompt").evaluate("(node) => node.selectedIndex") == 1
        page.keyboard.press(back)
        assert caption(page) == first
    page.keyboard.press("k")
    assert caption(page) == first and page.locator("#previous").is_disabled()
    page.keyboard.press("2")
    assert playing(page) == [1] and "magnet-tiny" in page.locator("li.current").inner_text()
    page.keyboard.press("3")
    page.wait_for_function("() => document.querySelectorAll('audio')[1].paused")
    assert playing(page) == [2]
    page.keyboard.press(" ")
    assert playing(page) == []
    page.keyboard.press(" ")
    page.keyboard.press("j")
    assert playing(page) == [] and page.locator("audio").count() == 4, "the next prompt waits"


def test_keys_belong_to_the_page_where_no_player_is_seen(opened):
    page = opened("inline", viewport={"width": 390, "height": 500})
    first = caption(page)
    page.keyboard.press(" ")
    page.wait_for_function("() => scrollY > 100")
    assert playing(page) == []
    region = page.locator(".scroll").first
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.scrollLeft > 0")
    assert caption(page) == first


@pytest.mark.parametrize(
    ("name", "viewport"),
    [
        pytest.param("inline", DESK, id="inline-desk"),
        pytest.param("inline", PHONE, id="inline-phone", marks=pytest.mark.slow),
        pytest.param("hostile", DESK, id="hostile-desk", marks=pytest.mark.slow),
        pytest.param("hostile", PHONE, id="hostile-phone"),
        pytest.param("index", DESK, id="index-desk"),
        pytest.param("index", PHONE, id="index-phone", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_in_light_and_in_dark_and_nothing_sticks_out(opened, name, viewport):
    page = opened(name, viewport, color_scheme="light")
    unfold(page)
    clean(page)
    page.emulate_media(color_scheme="dark")
    clean(page, runOnly=["color-contrast"])
    assert page.evaluate(WIDER) <= 0 and page.evaluate(LOOSE) == []
    assert page.evaluate(f"{OVERFLOWING}.filter((node) => node.tabIndex !== 0).map((node) => node.outerHTML)") == []
    if viewport is PHONE:
        assert page.evaluate(f"{OVERFLOWING}.length") > 0, "wide tables scroll in a box of their own"


def test_captions_and_ids_are_text_whatever_they_say(opened, hostile_run):
    page, seen = opened("hostile", PHONE), []
    for index in range(3):
        page.locator("#prompt").select_option(index=index)
        text = page.locator("#text").evaluate("(node) => node.firstChild.data")
        (prompt,) = [prompt for prompt in hostile_run.prompts() if prompt.text == text]
        seen.append(text)
        assert len(prompt.id) == 300 and prompt.id in page.locator("#tags").inner_text()
        assert page.evaluate(WIDER) <= 0 and page.evaluate(LOOSE) == []
        is_right_to_left = page.locator("#text").evaluate("(node) => getComputedStyle(node).direction") == "rtl"
        assert is_right_to_left == (text[0] > "z")
    assert len(set(seen)) == 3 and "<script>" in "".join(seen)
    assert page.locator("main img:not(.clips img), main script, #text b").count() == 0


def test_print_shows_every_section_on_white(opened):
    page = opened("inline", color_scheme="dark")
    sections = page.locator("nav.sections a").evaluate_all("(nodes) => nodes.map((node) => node.hash)")
    page.emulate_media(media="print", color_scheme="dark")
    assert len(sections) == 6
    for section in sections:
        assert page.locator(section).is_visible(), section
    for heading in page.locator("h3").all():
        assert heading.is_visible(), heading.inner_text()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".player").is_visible() and page.get_by_text("open it in a browser").is_visible()
    folded = page.locator("details:not(.manifest) > :not(summary)")
    assert all(part.evaluate("(node) => node.checkVisibility()") for part in folded.all())


def test_the_index_leads_to_the_report(opened, made):
    page = opened("index")
    link = page.locator("main a").first
    assert link.evaluate("(node) => node.href") == made["inline"].as_uri()
