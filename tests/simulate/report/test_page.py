"""The HTML file: one file that loads nothing, in which the slider says what the curve says, and no name is markup."""

from __future__ import annotations

import html
import json
import random
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ratelimit import Identity, parse_policy
from ratelimit.simulate.analysis.found import HOURS, OfLimit
from ratelimit.simulate.analysis.pair import Against, Changed
from ratelimit.simulate.report.chart import curve_svg, week_svg
from ratelimit.simulate.report.curve import curve_of
from ratelimit.simulate.report.page import page, thinned
from ratelimit.simulate.report.report import Report, report_of
from ratelimit.simulate.report.tables import text
from tests.acceptance import served
from tests.servers import missing
from tests.simulate.analysis import ANONYMOUS, Asked, T, policy, who
from tests.simulate.report import report

HOSTILE = "<img src=/asked onerror=parent.hacked=1>\x1b[31m</script><script>parent.hacked=1</script>\u202e"
OF = policy(
    '{ name = "requests", rate = "5/minute" }, { name = "seats", rate = "(2 * seats + 1)/hour" },'
    ' { name = "soon", quota = "9/day", mode = "shadow" }, { name = "at once", concurrency = 2 }',
    '[[overrides]]\norganization = "c3"\nlimits = { seats = "0/hour" }',
)
# Sets the first range to each of its values, the number to some, and presses what there is to press.
PARENT = """<!DOCTYPE html><pre id="told"></pre><iframe src="/report.html"></iframe><script>
document.querySelector("iframe").addEventListener("load", async (event) => {
  const page = event.target.contentDocument;
  const told = {limits: [], images: page.images.length, scripts: page.scripts.length};
  const send = (input, value) => {
    input.value = value;
    input.dispatchEvent(new event.target.contentWindow.Event("input"));
  };
  for (const card of page.querySelectorAll("section[data-limit]")) {
    const range = card.querySelector("input[type=range]"), number = card.querySelector("input[type=number]");
    const words = card.querySelector("output"), code = card.querySelector("code");
    const state = () => [Number(number.value), Number(card.dataset.denied), words.textContent, code.textContent,
      range.getAttribute("aria-valuetext") === words.textContent];
    const limit = {first: state(), slid: [], typed: [], pressed: []};
    for (let at = 0; at <= Number(range.max); at++) { send(range, at); limit.slid.push(state()); }
    for (const at of [0, 0.5, 1, 2, 3.7, 1000]) { send(number, at); limit.typed.push([at, ...state()]); }
    for (const button of card.querySelectorAll("button[data-mark]")) { button.click(); limit.pressed.push(state()[0]); }
    send(number, -1); send(number, ""); limit.kept = state()[1];
    limit.dot = Number(card.querySelector(".dot").getAttribute("cx"));
    const press = async (written, commanded) => {
      limit.written = null;
      const writeText = async (text) => { if (!written) throw new Error("not allowed"); limit.written = text; };
      const shown = event.target.contentWindow;
      Object.defineProperty(shown.navigator, "clipboard", {value: {writeText}, configurable: true});
      page.execCommand = () => commanded;
      const button = card.querySelector("button.copy");
      button.click();
      for (let turn = 0; turn < 20; turn++) await null;
      return [button.textContent, limit.written, shown.getSelection().toString()];
    };
    limit.copied = [await press(true, false), await press(false, true), await press(false, false)];
    limit.code = code.textContent;
    told.limits.push(limit);
  }
  told.hacked = window.hacked ?? null;
  document.getElementById("told").textContent = JSON.stringify(told);
});
</script>"""


def asked(name: str = "c") -> list[Asked]:
    dice = random.Random(2)
    made = []
    for n in range(40):
        whose = who(f"{name}{n}", seats=n % 4)
        made += [
            Asked(T + dice.randrange(200_000), whose, took=dice.choice([5, 900])) for _ in range(dice.randrange(1, 30))
        ]
    return made


def browsed(pages: dict[str, str], folder: Path) -> tuple[Any, list[str]]:
    """What the parent page was told, in a headless Chromium, and what was asked of the server."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        missing("no chromium on the PATH (Debian: apt-get install chromium)")
    seen: list[str] = []

    async def any_page(request: Request) -> Response:
        seen.append(request.url.path)
        found = pages.get(request.url.path)
        return Response(status_code=404) if found is None else HTMLResponse(found)

    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}"]
    command += ["--disable-background-networking", "--disable-dev-shm-usage", "--dump-dom"]
    with served(Starlette(routes=[Route("/{path:path}", any_page)])) as url:
        ended = subprocess.run([*command, f"{url}/"], capture_output=True, text=True, timeout=60, check=True)
    told = re.search('<pre id="told">(.*?)</pre>', ended.stdout, re.DOTALL)
    assert told, ended.stderr
    return json.loads(html.unescape(told[1])), seen


def test_the_slider(tmp_path: Path) -> None:
    """Over every threshold of every limit it says exactly whom the limit denies there, in numbers, words and TOML; a
    number that is typed likewise, and what is no number changes nothing. "Copied" is said of what was copied. Nothing
    is loaded, and no name is markup."""
    against = Against(1, 0, 0, 2, 0, [Changed(HOSTILE, 2, 0, T)])
    samples = [(HOSTILE, 7, "not of this format", HOSTILE)]
    made = report(OF, asked(HOSTILE) + asked(), against, samples=samples, files=[HOSTILE], unknown=[HOSTILE])
    told, seen = browsed({"/": PARENT, "/report.html": page(made)}, tmp_path)
    assert (told["hacked"], told["images"], told["scripts"]) == (None, 0, 2)
    assert [path for path in seen if path != "/favicon.ico"] == ["/", "/report.html"]
    assert len(told["limits"]) == len(made.curves) == 4
    for curve, limit in zip(made.curves, told["limits"], strict=True):
        finite = {value for value in curve.values if value != float("inf")}
        stops = sorted({0, curve.present, *[at for at in curve.marks.values() if at != float("inf")], *finite})
        assert [at for at, *_ in limit["slid"]] == stops
        for at, denied, words, toml, spoken in [limit["first"], *limit["slid"]]:
            assert denied == curve.denied_at(at), (curve.name, at)
            assert f": {denied:,} of {curve.total:,} callers denied" in words
            assert toml == curve.amount.toml(at, absolute=curve.absolute)
            assert spoken
        assert limit["first"][0] == curve.present
        for typed, at, denied, *_ in limit["typed"]:
            assert at == typed
            assert denied == curve.denied_at(int(typed) if curve.absolute else typed)
        assert limit["pressed"] == [at for at in curve.marks.values() if at != float("inf")]
        assert limit["kept"] == curve.denied_at(limit["pressed"][-1])
        assert 52 <= limit["dot"] <= 704
        assert_copied(limit)


def assert_copied(limit: Any) -> None:
    """It is said only of what is in the clipboard; what could not be copied is selected."""
    code = limit["code"]
    written, by_command, neither = limit["copied"]
    assert written[:2] == ["Copied", code]
    assert by_command == ["Copied", None, code]
    assert neither == ["Not copied, but selected", None, code]


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs


def elements(of: Report) -> Elements:
    found = Elements()
    found.feed(page(of))
    return found


def test_nothing_from_anywhere() -> None:
    """No element that loads anything, no handler and no style in an attribute, no URL; the policy of the page names its
    one script and its one style."""
    whole = page(report(OF, asked(HOSTILE)))
    found = elements(report(OF, asked(HOSTILE)))
    assert found.names.isdisjoint({"img", "link", "iframe", "object", "embed", "audio", "video", "base", "form", "a"})
    names = {name for name, _ in found.attributes}
    assert names.isdisjoint({"src", "href", "style", "srcset", "action", "background", "poster"})
    assert not [name for name in names if name.startswith("on")]
    assert "http://" not in whole
    assert "https://" not in whole
    assert "url(" not in whole
    assert "@import" not in whole
    (policy_of_page,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', whole)
    assert policy_of_page.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy_of_page


def test_it_is_the_same_without_a_script() -> None:
    """Curves, tables and words are there as they are; what needs a script is not shown."""
    whole = page(report(OF, asked()))
    assert whole.count('<svg class="curve"') == 4
    assert "rate = &quot;5/minute&quot;" in whole
    assert ".dial { display: none; }" in whole
    assert "@media print" in whole
    assert "prefers-color-scheme: dark" in whole


def test_many_callers_and_limits() -> None:
    """Of 20 limits with 10,000 different peaks each the page stays below a megabyte; most of them are folded."""
    names = ", ".join(f'{{ name = "limit {n}", rate = "{n + 5}00/minute" }}' for n in range(20))
    of = policy(names)
    made = report(of, asked())
    for limit in made.found.limits.values():
        limit.peaks.update(dict.fromkeys(range(10_000), 1))
    large = report_of("ratelimit.toml", of, made.found, made.summary)
    whole = page(large)
    assert len(whole) < 1_000_000
    assert "14 more limits" in whole
    assert '"rounded":true' in whole


def many(limits: int, name: str = "limit") -> Report:
    """Of as many limits with 5,000 peaks each, the later the more callers denied, and as much of everything else as a
    page has of it."""
    of = policy('{ name = "requests", rate = "1/minute" }')
    made = report(of, [Asked(T + k, who(f"c{n}")) for n in range(60) for k in range(2)])
    seen = OfLimit(maxes=Counter({60_000: 1}))
    seen.peaks.update({37 * n: 1 + n % 100 for n in range(5_000)})
    seen.shares.update({n / 1_000: 1 + n % 100 for n in range(5_000)})
    curve = curve_of("basic", of.tiers["basic"][0], seen)
    made.found.hits[:] = [
        replace(hit, week=range(1, HOURS + 1), week_denied=range(1, HOURS + 1)) for hit in made.found.hits
    ]
    return replace(made, curves=[replace(curve, name=f"{name} {n}", callers_denied=n) for n in range(limits)])


def test_hundreds_of_limits() -> None:
    """Of 200 limits the page stays below a megabyte: it draws those that deny the most callers, has a row for each, and
    says how many are left out; of more, also in the table."""
    whole = page(many(200))
    assert len(whole.encode()) < 1_000_000
    assert whole.count('<svg class="curve"') == 40
    assert "<p>160 limits not drawn, of those that deny the fewest callers: <code>--format json</code> has all" in whole
    drawn = re.findall(r'<h3 id="title-(\d+)">basic: limit (\d+)</h3>', whole)
    assert drawn == [(str(n), str(160 + n)) for n in range(40)]
    assert all(f'<td class="text">limit {n}</td>' in whole for n in range(200))
    assert "more: <code>" not in whole
    assert "<p>And 300 limits more: <code>--format json</code> has all.</p>" in page(many(500))


def test_names_without_an_end() -> None:
    """Fewer are drawn where their names alone would fill it."""
    whole = page(many(50, name="&" * 3_000))
    assert len(whole.encode()) < 1_000_000
    assert 0 < whole.count('<svg class="curve"') < 40


def cells(whole: str, title: str) -> list[list[str]]:
    """The rows of the table below a heading, as texts."""
    section = whole.split(f"<h2>{title}</h2>")[1].split("</table>")[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", section)
    return [
        [html.unescape(re.sub("<[^>]*>", " ", cell)).strip() for cell in re.split("</t[hd]>", row)[:-1]] for row in rows
    ]


def test_how_much_is_used() -> None:
    """Quantiles of peak against max, for each limit of each tier; and of requests at a time."""
    two = '{ name = "requests", rate = "4/minute" }'
    of = parse_policy(f"{ANONYMOUS}[tiers.free]\nlimits = [{two}]\n[tiers.basic]\nlimits = [{two}]", "x")
    made = [
        Asked(T + k, Identity(organization=f"{tier}{n}", tier=tier), took=900)
        for tier, most in (("free", 1), ("basic", 10))
        for n in range(10)
        for k in range(min(n + 1, most))
    ]
    whole = page(report(of, made))
    head, *rows = cells(whole, "How much is used")
    assert head == ["Tier", "Limit", "Callers", "Half use at most", "90 %", "99 %", "99.9 %", "The highest"]
    assert rows == [
        ["free", "requests", "10", "25 %", "25 %", "25 %", "25 %", "25 %"],
        ["basic", "requests", "10", "125 %", "225 %", "250 %", "250 %", "250 %"],
    ]
    head, *rows = cells(whole, "Requests at a time")
    assert head == ["Callers", "Half have at most", "90 %", "99 %", "99.9 %", "The most"]
    assert rows == [["20", "1", "8", "10", "10", "10"]]


def test_against() -> None:
    """A row for each caller of whom the policies differ, and what they come to."""
    whole = page(report(OF, asked(), Against(1, 0, 0, 2, 0, [Changed("organization=c1", 2, 0, T)])))
    assert cells(whole, "Against other.toml") == [
        ["Caller", "Denied by other.toml", "Denied now", "First difference"],
        ["organization=c1", "0", "2", "Sun 1 Mar 10:00"],
    ]
    assert "1 caller newly denied, 0 no longer" in whole
    assert "<h2>Against other.toml</h2>" in page(report(OF, asked(), Against()))


def test_the_week_of_each_caller() -> None:
    """Each row of who is denied has its strip, with what is most in it in words."""
    whole = page(report(OF, asked()))
    section = whole.split("<h2>Who is denied</h2>")[1].split("</table>")[0]
    rows = section.split("<tr>")[2:]
    assert len(rows) > 10
    for row in rows:
        assert row.count('<svg class="week" viewBox="0 0 120 35"') == 1
        assert 'aria-label="most denials Sun 10:00"' in row
        assert row.count('class="deny') == row.count('class="some') == 1


def test_thinned() -> None:
    """Peaks are rounded up to as many digits as fit: a threshold of so many digits denies whom it did."""
    values, callers = list(range(1, 20_001)), [1] * 20_000
    kept, counts, rounded = thinned(values, callers, 3_000)
    assert (len(kept), sum(counts), rounded) == (2_000, 20_000, True)
    for threshold in (7, 999, 1_230, 19_900):
        assert sum(count for value, count in zip(kept, counts, strict=True) if value > threshold) == 20_000 - threshold
    shares = [n / 10_000 for n in range(9_000)] + [float("inf")]
    kept, counts, rounded = thinned(shares, [1] * 9_001, 1_000)
    assert (kept[0], kept[-1], sum(counts)) == (0, float("inf"), 9_001)
    assert len(kept) <= 1_000
    assert thinned([1, 2], [3, 4], 2) == ([1, 2], [3, 4], False)
    assert thinned([1e-7, 1.5, 2.5], [1, 1, 1], 1)[1] == [1, 1, 1]


def test_a_closed_limit() -> None:
    """Of a max of 0 no multiple admits anybody: such callers are denied wherever the slider is."""
    of = policy(
        '{ name = "closed", rate = "0/minute" }', '[[overrides]]\norganization = "c1"\nlimits = { closed = "1/minute" }'
    )
    whole = page(report(of, asked()))
    assert '"beyond":39' in whole
    assert "Infinity" not in whole


@pytest.mark.parametrize("empty", [True, False])
def test_little(empty: bool) -> None:
    """A log of nothing, or of one line, has a page too."""
    whole = page(report(OF, [] if empty else asked()[:1]))
    assert "No request of the log is limited" in whole if empty else "Nobody would be denied" in whole
    assert "<h2>Who is denied" not in whole
    one = report(policy('{ name = "free", rate = "5/minute", cost = 0 }'), [Asked(T, who("a"))])
    assert "0 of 1 callers" in page(one).replace("&nbsp;", " ")


def test_more_than_is_shown() -> None:
    """Of more denied callers than fit, how many more there are."""
    of = policy('{ name = "requests", rate = "1/minute" }')
    whole = page(report(of, [Asked(T + k, who(f"c{n}")) for n in range(60) for k in range(2)]))
    assert "And 10 callers more." in whole
    assert whole.count('<td class="name"') == 50


def test_text() -> None:
    """No markup, no control character, no end of it."""
    assert text('<b>&"\x1b\n') == "&lt;b&gt;&amp;&quot;\\x1b\\n"
    assert len(text("x" * 10_000)) == 2_001
    assert text("5 %") == "5&nbsp;%"


@pytest.mark.parametrize(
    ("marks", "anchors"),
    [
        ((10, 500, 4_000), ["middle", "middle", "end"]),
        ((10, 4_000, 4_100), ["middle", "end", "end"]),
        ((900, 1_000, 1_100), ["end", "start", "start"]),
        ((10, 10, 500), ["middle", "middle"]),
    ],
)
def test_labels_that_would_meet(marks: tuple[int, ...], anchors: list[str]) -> None:
    """They give way to each other, and stay within the drawing; of the same threshold there is one."""
    of = policy('{ name = "requests", rate = "10/minute" }')
    limit = OfLimit(peaks=Counter({4_100: 1}), shares=Counter({410.0: 1}), maxes=Counter({10: 1}))
    named = dict(zip(("present", "p99", "p99.9"), marks, strict=True))
    curve = replace(curve_of("basic", of.tiers["basic"][0], limit), marks=named)
    drawn = curve_svg(curve, 0)
    assert re.findall(r'<text class="mark[^"]*"[^>]*text-anchor="(\w+)"', drawn) == anchors
    assert all(0 < float(x) <= 720 for x in re.findall(r'<text class="mark[^"]*" x="([\d.]+)"', drawn))


def test_a_week() -> None:
    """The busiest hour is said to who can't see it: of denials where there are some."""
    requests, denied = [0] * HOURS, [0] * HOURS
    requests[25], denied[30] = 9, 1
    assert 'aria-label="most denials Tue 06:00"' in week_svg(requests, denied)
    assert 'aria-label="most requests Tue 01:00"' in week_svg(requests, ())
    assert 'aria-label="no hours known"' in week_svg((), ())


def test_callers_of_addresses() -> None:
    """Names are as the log has them, and no API key is there in clear."""
    of = policy('{ name = "requests", rate = "1/minute" }')
    key = Identity(api_key="f" * 64, tier="basic")
    whole = page(report(of, [Asked(T, key), Asked(T + 1, key)]))
    assert "api_key=#" in whole
    assert "f" * 64 not in whole


def test_points_that_were_not_counted() -> None:
    """Their requests are left out."""
    made = report(OF, asked())
    for limit in made.found.limits.values():
        limit.uncounted = 1
    again = report_of("x", OF, made.found, made.summary)
    assert "<td></td><td></td></tr>" in page(again)
    assert OfLimit().uncounted == 0
