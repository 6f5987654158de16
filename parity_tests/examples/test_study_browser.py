"""The pages in a real browser: no errors, both columns, search, lights, widths, accessibility.

Needs Chromium on this machine and the extra `browser`; without either these tests are skipped, and
say which is missing.
"""

import shutil

import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -e '.[browser]'"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright",
    reason="axe-playwright-python is not installed: pip install -e '.[browser]'",
)

from examples.study import build  # noqa: E402 - only where there is a browser to look with
from parity_tests.examples.test_study import report  # noqa: E402

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
     if (found := shutil.which(name))), None,
)  # fmt: skip
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

WIDTHS = 400, 1000, 1600
LOOKED_AT = (
    "index.html",
    "conventions.html",
    "road.html",
    "examples.html",
    "optimization/adam.html",
    "layers/activation.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build.build(tmp_path_factory.mktemp("study") / "site", report()).parent


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.troubles = []
    page.on("console", lambda m: page.troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else
            page.troubles.append(f"fetched {r.url}"))  # fmt: skip
    yield page
    context.close()


def go(page, site, name):
    page.goto((site / name).as_uri())


def test_every_page_loads_without_errors_and_fits_every_width(page, site):
    names = sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html"))
    assert len(names) > 40
    for name in names:
        go(page, site, name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide in a window of {width}"
    assert page.troubles == []


def test_a_notebook_is_saved_and_not_shown(page, site):
    go(page, site, "examples.html")
    with page.expect_download() as saved:
        page.get_by_role("link", name="digits.ipynb").click()
    assert saved.value.suggested_filename == "digits.ipynb"
    assert saved.value.path().read_bytes() == (site / "notebooks" / "digits.ipynb").read_bytes()
    assert page.url.endswith("examples.html")


def test_the_two_lines_that_make_a_name_light_up_with_it(page, site):
    go(page, site, "training/step.html")
    page.locator(".row .n[data-n=norm]").first.click()
    lines = [line.inner_text().strip() for line in page.locator(".makes.lit").all()]
    assert len(lines) == 2 and all(line.startswith("norm = ") for line in lines)


def test_both_columns_show_beside_each_other_and_on_a_phone_one_under_the_other(page, site):
    go(page, site, "optimization/adam.html")
    row = page.locator("#Adam-update")
    ours, theirs = row.locator(".ours pre"), row.locator(".theirs pre")
    assert "exp_avg" in ours.inner_text() and "optimizer.step()" in theirs.inner_text()
    left, right = ours.bounding_box(), theirs.bounding_box()
    assert left["x"] + left["width"] <= right["x"] and abs(left["y"] - right["y"]) < 5
    page.set_viewport_size({"width": 400, "height": 900})
    left, right = ours.bounding_box(), theirs.bounding_box()
    assert left["y"] + left["height"] <= right["y"] and left["width"] > 300
    assert row.locator(".theirs .side-name").is_visible()


def test_a_name_lights_up_on_both_sides_by_mouse_and_by_keyboard(page, site):
    go(page, site, "normalization/batch_norm.html")
    lit = page.locator(".n.lit")
    here = page.locator('.ours .n[data-n="momentum"]').first
    here.hover()
    assert page.locator('.theirs .n.lit[data-n="momentum"]').count() >= 1
    page.mouse.move(1, 1)
    assert lit.count() == 0, "it stays lit when the mouse has left"
    here.click()
    page.mouse.move(1, 1)
    assert lit.count() > 1, "a click does not hold it"
    page.keyboard.press("Escape")
    assert lit.count() == 0
    page.locator(".names summary").press("Enter")
    button = page.locator('.names button[data-n="running_var"]')
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator('.code .n.lit[data-n="running_var"]').count() > 0


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("adam", "Adam"),
        ("running variance", "The running variance"),
        ("BatchNorm2d", "BatchNorm1d, BatchNorm2d"),
        ("stage 3", "Stage 3: the layers"),
    ],
)
def test_search_finds_and_goes_there(page, site, words, first):
    go(page, site, "losses/nll.html")
    page.keyboard.press("/")
    page.keyboard.type(words)
    found = page.locator("#found a")
    assert first in found.all_inner_texts()[:3]
    page.keyboard.press("ArrowDown")
    wanted = found.first.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url("**/" + wanted.removeprefix("../"))
    assert page.locator("h1").is_visible()


def test_a_search_for_nothing_says_so_and_escape_closes_it(page, site):
    go(page, site, "index.html")
    page.locator("#search").fill("zzzz <b>x</b>")
    assert "Nothing found" in page.locator("#found").inner_text()
    assert page.locator("#found b").count() == 0, "what was typed became markup"
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()


def test_the_pages_can_be_read_without_a_script(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    go(page, site, "optimization/adam.html")
    assert page.locator(".search").is_hidden(), "a search that cannot search is shown"
    assert "exp_avg" in page.locator("#Adam-update .ours").inner_text()
    assert page.locator("math").first.is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_landmarks_and_names_pass_an_accessibility_checker(browser, site, scheme):
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    for name in LOOKED_AT:
        go(page, site, name)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{name}\n{found.generate_report()}"
    context.close()
