"""The study report as its reader has it: from disk, used by hand, in the dark, on a phone."""

from __future__ import annotations

import re

import pytest

PHONE = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}
FOLDED_ON_PAPER = """() => addEventListener("beforeprint", () => {
  foldedOnPaper = document.querySelectorAll("details:not([open])").length;
})"""
CLIP = "element => getComputedStyle(element).clipPath"


@pytest.fixture
def report(page, finished):
    """The page of the finished study, open; its first comparison is in sight."""
    file = finished.results / "tiny/store/study/study_report.html"
    page.goto(file.as_uri())
    box = page.locator(".compare:visible").first
    box.scroll_into_view_if_needed()
    return page, box


def _source(page, box, name: str) -> str:
    prefix, component = box.get_attribute("data-prefix"), box.locator(".component").input_value()
    return page.locator(f'[id="{prefix}-{component}-{name}"]').get_attribute("src")


def test_it_opens_from_disk_and_asks_for_nothing(report):
    page, _ = report
    assert page.title() == "Study tiny: dose, overlap and reconstruction"
    asked = [one for one in page.seen.requests if not one.startswith("data:")]
    assert asked == [page.url] and page.url.startswith("file://")
    broken = "all => all.filter(one => one.complete && !one.naturalWidth).map(one => one.id)"
    assert page.locator("img[src]").evaluate_all(broken) == []
    for link in page.locator("nav a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).is_visible()


def test_the_slider_divides_two_pictures(report):
    page, box = report
    over, slider = box.locator(".over"), box.locator("input[type=range]")
    assert "50%" in over.evaluate(CLIP)
    slider.focus()
    slider.press("Home")
    assert "100%" in over.evaluate(CLIP)
    slider.press("End")
    assert re.fullmatch(r"inset\(0(px|%)?( 0(px|%))*\)|inset\(0px\)", over.evaluate(CLIP))
    slider.press("ArrowLeft")
    assert "1%" in over.evaluate(CLIP)
    stage = box.locator(".stage").bounding_box()
    page.mouse.click(stage["x"] + stage["width"] / 4, stage["y"] + 10)
    assert slider.input_value() == "25"


def test_the_selects_choose_what_is_compared(report):
    page, box = report
    over, under, told = (box.locator(name) for name in (".over", ".under", ".shown"))
    assert over.get_attribute("src") == _source(page, box, "truth")
    assert under.get_attribute("src") == _source(page, box, "PtychoPINN")
    box.get_by_label("left").select_option("Baseline")
    box.get_by_label("right").select_option("PtyChi")
    for component in ("amplitude", "phase"):
        box.get_by_label("show").select_option(component)
        assert over.get_attribute("src") == _source(page, box, "Baseline")
        assert under.get_attribute("src") == _source(page, box, "PtyChi")
    assert over.get_attribute("alt") and over.get_attribute("alt") != under.get_attribute("alt")
    assert told.inner_text() == "left of the line Baseline, right of it PtyChi"


@pytest.mark.parametrize("by", ["click", "Space", "Enter"])
def test_two_pictures_blink_until_told_to_stop(report, by):
    page, box = report
    button, stage = box.locator(".blink"), box.locator(".stage")

    def press() -> None:
        if by == "click":
            button.click()
        else:
            button.press(by)

    press()
    assert button.get_attribute("aria-pressed") == "true"
    divided = "stage => stage.style.getPropertyValue('--at')"
    seen = set()
    for _ in range(8):
        page.wait_for_timeout(300)
        seen.add(stage.evaluate(divided))
    assert {"0%", "100%"} <= seen
    press()
    assert button.get_attribute("aria-pressed") == "false"
    page.wait_for_timeout(1000)
    assert stage.evaluate(divided) == "50%"


@pytest.mark.parametrize("page", [{"reduced_motion": "reduce"}], indirect=True)
def test_nothing_moves_by_itself_for_who_asks_for_less_motion(report):
    page, box = report
    button, told = box.get_by_role("button", name="swap"), box.locator(".shown")
    shown = []
    for _ in range(2):
        button.click()
        shown.append(told.inner_text())
        page.wait_for_timeout(1000)
        assert told.inner_text() == shown[-1]
    assert set(shown) == {"truth", "PtychoPINN"}


def test_paper_shows_what_is_folded_and_the_screen_folds_it_again(report):
    page, box = report
    closed = page.locator("details:not([open])")
    before = closed.count()
    assert before > 3
    page.evaluate(FOLDED_ON_PAPER)
    pages = page.pdf(format="A4")
    assert pages.startswith(b"%PDF") and 5 <= len(re.findall(rb"/Type\s*/Page\b", pages)) <= 40
    assert page.evaluate("foldedOnPaper") == 0
    assert closed.count() == before and box.is_visible()
    page.emulate_media(media="print")
    assert not box.is_visible() and not page.locator("nav").is_visible()


def _luminance(page, element: str, what: str) -> float:
    colour = page.locator(element).first.evaluate(f"one => getComputedStyle(one).{what}")
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_in_the_dark_words_are_light_on_dark(report):
    page, _ = report
    page.locator("#glance").scroll_into_view_if_needed()
    paper = _luminance(page, "body", "backgroundColor")
    assert paper < 0.05
    for element in ("body", "p", "a", "thead th", ".state", ".caption", ".plot svg text"):
        what = "fill" if "svg" in element else "color"
        assert (_luminance(page, element, what) + 0.05) / (paper + 0.05) >= 4.5, element


@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["360px"])
def test_a_phone_scrolls_down_only(report):
    page, box = report
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("innerWidth") == 360
    width = page.evaluate("document.documentElement.scrollWidth")
    past = """all => all.filter(one => one.getBoundingClientRect().right > 361
        && !one.closest('.wide, pre, .hidden, .skip')).map(one => one.outerHTML.slice(0, 120))"""
    assert width <= 360, page.locator("main *").evaluate_all(past)
    box.locator(".stage").tap(position={"x": 80, "y": 20})
    assert int(box.locator("input[type=range]").input_value()) < 40
