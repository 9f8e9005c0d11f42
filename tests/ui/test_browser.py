"""What only a browser can tell: width, contrast, keys, and that the policy lets our files work."""

from __future__ import annotations

import pytest

from tests.ui.sample_groups import every_group, sixteen, split_vote, trace_id

TRACES = [f"/traces/{group.trace_id}" for group in every_group()]
PATHS = ["/traces", *TRACES, "/cache", "/reliability", "/traces/nothing"]
FOCUSED = "document.activeElement.getAttribute('href')"


@pytest.mark.parametrize("width", [1400, 1000, 700, 400])
def test_no_page_scrolls_sideways(site, browser, width):
    wide = {}
    for path in PATHS:
        browser.open(site.url + path, width=width)
        browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        wide[path] = browser.evaluate("document.documentElement.scrollWidth")

    assert wide == dict.fromkeys(PATHS, width)


@pytest.mark.parametrize("width", [1400, 700, 560, 400, 320])
def test_no_word_of_the_header_is_broken_in_two(site, browser, width):
    browser.open(site.url + "/traces", width=width)

    assert browser.evaluate(BROKEN) == []
    assert browser.evaluate("document.querySelector('.top').scrollWidth") == width


def test_the_policy_refuses_none_of_our_own_files(site, browser):
    browser.console.clear()
    for path in PATHS[:-1]:
        browser.open(site.url + path)

    assert browser.evaluate("htmx.version") == "4.0.1"
    assert browser.console == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", ["/traces", PATHS[1], PATHS[6], "/cache", "/reliability"])
def test_every_text_has_enough_contrast(site, browser, path, dark):
    browser.open(site.url + path, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")

    assert browser.evaluate(FAINT) == []


def test_j_and_k_walk_through_the_list(site, browser):
    browser.open(site.url + "/traces")
    seen = []
    for key in "jjkk":
        browser.press(key)
        seen.append(browser.evaluate(FOCUSED))

    assert seen == [f"/traces/{trace_id(number)}" for number in (9, 8, 9, 9)]


def test_slash_goes_to_the_search_and_keys_are_letters_there(site, browser):
    browser.open(site.url + "/traces")
    browser.press("/")
    for key in "j?k":
        browser.press(key)

    assert browser.evaluate("document.activeElement.id") == "search"
    assert browser.evaluate("document.activeElement.value") == "j?k"
    assert not browser.evaluate("document.getElementById('keys').open")


def test_the_question_mark_opens_help_and_keys_rest_while_it_is_open(site, browser):
    browser.open(site.url + "/traces")
    browser.press("?")
    browser.press("j")

    assert browser.evaluate("document.getElementById('keys').open")
    assert not str(browser.evaluate(FOCUSED)).startswith("/traces/")


def test_a_label_appears_without_leaving_the_page(own_site, browser):
    browser.open(f"{own_site.url}/traces/{split_vote().trace_id}")
    browser.evaluate("window.stayed = true; document.getElementById('note').value = 'as computed'")
    browser.evaluate("document.getElementById('say-right').click()")
    browser.wait_for("document.querySelector('#label-rows .labels') !== null")

    shown = browser.evaluate("document.getElementById('label-rows').innerText")
    assert "Saved: right." in shown
    assert "as computed" in shown
    assert browser.evaluate("window.stayed && document.getElementById('note').value === ''")


def test_choosing_a_filter_changes_list_and_address(site, browser):
    browser.open(site.url + "/traces")
    browser.evaluate(
        "(s => { s.value = 'failed'; s.dispatchEvent(new Event('change', {bubbles: true})) })"
        "(document.getElementById('filter-status'))"
    )
    browser.wait_for("document.querySelectorAll('.row-link').length === 1")

    assert "status=failed" in browser.evaluate("location.search")


def test_a_link_to_a_folded_candidate_unfolds_it(site, browser):
    browser.open(f"{site.url}/traces/{sixteen().trace_id}#candidate-12")

    assert browser.evaluate("document.getElementById('candidate-12').closest('details').open")


def test_tables_name_their_headers_and_every_control_has_a_name(site, browser):
    nameless = []
    for path in PATHS[:-1]:
        browser.open(site.url + path)
        nameless += [f"{path}: {fault}" for fault in browser.evaluate(NAMELESS)]

    assert nameless == []


NAMELESS = """(() => {
  const faults = [];
  for (const th of document.querySelectorAll("th:not([scope])")) faults.push("th " + th.innerText);
  for (const table of document.querySelectorAll("table")) if (!table.caption) faults.push("table");
  for (const control of document.querySelectorAll("input:not([type=hidden]), select"))
    if (!control.labels.length) faults.push(control.name);
  for (const button of document.querySelectorAll("button, a"))
    if (!button.textContent.trim()) faults.push(button.outerHTML);
  const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  for (const id of new Set(ids)) if (ids.filter(i => i === id).length > 1) faults.push("#" + id);
  return faults;
})()"""
"""Headers without scope, tables without caption, controls without name, ids used twice."""

FAINT = """(() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const faults = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility({ checkVisibilityCSS: true })) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faults.add(e.className + " " + e.tagName + " " + ratio.toFixed(2));
  }
  return [...faults];
})()"""
"""Elements whose text stands out less than 4.5 to 1 from what is behind it."""

BROKEN = """[...document.querySelectorAll(".top a, .top button")].filter(e => {
  const whole = document.createRange();
  whole.selectNodeContents(e.lastChild);
  return e.checkVisibility() && whole.getClientRects().length > 1;
}).map(e => e.innerText)"""
"""Links and buttons of the header whose text takes more than one line."""
