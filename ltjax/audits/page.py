"""An audit told: as a table of text, and as one HTML file that needs nothing beside it.

The page has no script. Its figures are drawn by `line_figure` and stand in it as SVG. Equal
findings give equal bytes; what a clock said is in one line of its own, which bears the id `times`.
"""

import json
import math
import re
from collections.abc import Sequence
from html import escape

import numpy as np

import ltjax
from ltjax import decimals
from ltjax.audits.claim import Check, Judgement
from ltjax.audits.ledger import Entry

HEAD = f"{'claim':<15}{'verdict':<25}{'predicted':<15}{'measured':<16}{'interval':<19}of what"
# A sign and a colour of Okabe and Ito's, told apart without seeing colours by the sign.
MARKS = {
    Judgement.HOLDS: ("\u2713", "#0072B2"),
    Judgement.CORRECTED: ("\u270e", "#E69F00"),
    Judgement.FAILS: ("\u2717", "#D55E00"),
    Judgement.CONSISTENT: ("\u2248", "#009E73"),
    Judgement.UNDECIDED: ("?", "#CC79A7"),
    Judgement.NOT_RUN: ("\u2013", "#808080"),
}
URGENT = (False, None, True)
OUTCOMES = {True: "\u2713", False: "\u2717", None: "?"}


def deciding(entry: Entry) -> Check:
    """The check that a line has room for: the first that fails, that is open, or the first."""
    checks = entry.finding.checks or (Check(entry.finding.note, "-", "-", "-", None),)
    return min(checks, key=lambda check: URGENT.index(check.holds))


def line(entry: Entry) -> str:
    """One claim in a line of the table."""
    check, finding = deciding(entry), entry.finding
    text = (
        f"{entry.claim.name:<15}{finding.verdict:<25}{check.predicted:<15}"
        f"{_short(check.measured, 15):<16}{check.interval:<19}{check.says}"
    )
    return text if entry.as_expected else f"{text}   EXPECTED: {entry.claim.expected}"


def details(entry: Entry) -> str:
    """All checks of one claim."""
    lines = [f"  {entry.claim.statement}", f"  sizes: {_sizes(entry)}"]
    for check in entry.finding.checks:
        outcome = {True: "yes", False: "no", None: "open"}[check.holds]
        lines.append(
            f"  {outcome:<5}{check.says}: predicted {check.predicted}, measured {check.measured} "
            f"({check.interval})"
        )
    return "\n".join([*lines, f"  {entry.claim.limits}"])


def summary(entries: Sequence[Entry]) -> str:
    """How many came out as expected, and how sure that is."""
    ran = [entry for entry in entries if entry.finding.verdict is not Judgement.NOT_RUN]
    right = sum(entry.as_expected for entry in ran)
    alpha = math.fsum(entry.finding.alpha for entry in ran)
    idle = f", {len(entries) - len(ran)} not run" if len(ran) < len(entries) else ""
    return (
        f"{len(entries)} claims: {right} of {len(ran)} as expected{idle}; of a right "
        f"implementation some interval misses with probability at most {decimals.above(alpha, 2)}"
    )


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 2] + ".."


def _sizes(entry: Entry) -> str:
    return json.dumps(entry.size, ensure_ascii=False)


# The page.


STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #666; --rule: #ccc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --faint: #a5a5a5; --rule: #444; }
}
body { margin: 0 auto; padding: 1rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-bottom: 0.2rem; }
a { color: inherit; } .faint, caption, dt { color: var(--faint); font-size: 0.9rem; }
section { border-top: 1px solid var(--rule); margin-top: 1.5rem; }
.verdict { white-space: nowrap; font-weight: 600; border-left: 0.4rem solid; padding-left: 0.4rem; }
.verdict span { color: var(--ink); }
.unexpected { outline: 3px solid #D55E00; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; margin: 0.6rem 0; }
caption { text-align: left; } tr { break-inside: avoid; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.6rem 0.25rem 0;
  border-bottom: 1px solid var(--rule); font-variant-numeric: tabular-nums; }
dl { margin: 0.5rem 0; } dd { margin: 0 0 0.4rem 0; } code { font-size: 0.85rem; }
figure { margin: 0.8rem 0; overflow-x: auto; background: #fff; break-inside: avoid; }
figure svg { display: block; width: 100%; min-width: 30rem; max-width: 44rem; height: auto; }
@media (max-width: 40rem) {
  thead { position: absolute; left: -100vw; }
  table, caption, tbody, tr, td { display: block; } tr { border-bottom: 1px solid var(--rule); }
  td { border: 0; padding: 0.1rem 0; }
  .overview td:nth-child(n + 3):not(:last-child) { display: none; }
  td[data-name]::before { content: attr(data-name) ": "; color: var(--faint); }
}
@media print {
  :root { --ink: #000; --paper: #fff; --faint: #444; --rule: #bbb; }
  body { max-width: none; font-size: 10pt; } table { font-size: 8pt; } h2 { break-after: avoid; }
  .verdict { white-space: normal; } figure svg { min-width: 0; max-width: 14cm; }
}
""".strip()


def page(entries: Sequence[Entry]) -> bytes:
    """The whole audit as one HTML file, in UTF-8."""
    title = "Audit of the strong lottery ticket theorem"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>\n{STYLE}\n</style></head>",
        f"<body>\n<header><h1>{title}</h1>",
        "<p>Every statement of a talk on Malach, Yehudai, Shalev-Shwartz, Shamir, "
        "<cite>Proving the Lottery Ticket Hypothesis: Pruning is All You Need</cite> (ICML 2020, "
        "arXiv:2002.00585), put to the test.</p>",
        f"<p><strong>{escape(summary(entries))}.</strong></p>",
        f"</header>\n{_overview(entries)}",
        *map(_section, entries),
        _colophon(entries),
        "</body></html>",
    ]
    return ("\n".join(parts) + "\n").encode()


def _verdict(entry: Entry) -> str:
    mark, colour = MARKS[entry.finding.verdict]
    return (
        f'<span class="verdict" style="color: {colour}">'
        f"<span>{mark} {entry.finding.verdict}</span></span>"
    )


def _row(cells: dict[str, str]) -> str:
    row = "".join(f'<td data-name="{name}">{text}</td>' for name, text in cells.items())
    return f"<tr>{row}</tr>"


def _table(names: Sequence[str], rows: Sequence[str], caption: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "\n".join(rows)
    return (
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>"
    )


def _overview(entries: Sequence[Entry]) -> str:
    rows = []
    for entry in entries:
        name, check = entry.claim.name, deciding(entry)
        cells = {
            "claim": f'<a href="#{name}">{name}</a>',
            "verdict": _verdict(entry),
            "predicted": escape(check.predicted),
            "measured": escape(check.measured),
            "interval": escape(check.interval),
            "of what": escape(check.says),
        }
        rows.append(_row(cells))
    table = _table(list(cells), rows, "Of each claim the check that decides it.")
    return f'<div class="overview">{table}</div>'


def _section(entry: Entry) -> str:
    claim, finding = entry.claim, entry.finding
    rows = [
        _row(
            {
                "check": escape(check.says),
                "predicted": escape(check.predicted),
                "measured": escape(check.measured),
                "interval": escape(check.interval),
                "holds": OUTCOMES[check.holds],
            }
        )
        for check in finding.checks
    ]
    columns = ("check", "predicted", "measured", "interval", "holds")
    rate = f"some interval misses with probability at most {decimals.exact(finding.alpha)}"
    caption = rate if finding.alpha else "nothing here is left to chance"
    table = _table(columns, rows, f"Checks; {caption}.") if rows else ""
    said = f"as expected: {claim.expected}" if entry.as_expected else f"EXPECTED {claim.expected}"
    mark = "" if entry.as_expected else ' class="unexpected"'
    if finding.verdict is Judgement.NOT_RUN:
        said = escape(finding.note)
    return "\n".join(
        [
            f'<section id="{claim.name}"{mark}><h2>{claim.name}</h2>',
            f'<p>{_verdict(entry)} <span class="faint">{said}; {escape(claim.where)}</span></p>',
            f"<p>{escape(claim.statement)}</p>",
            f"<dl><dt>Hypotheses</dt><dd>{escape(claim.hypotheses)}</dd>",
            f"<dt>What a finite run can say</dt><dd>{escape(claim.limits)}</dd>",
            f"<dt>Sizes</dt><dd><code>{escape(_sizes(entry))}</code></dd></dl>",
            table,
            _figure(entry) if finding.panels else "",
            "</section>",
        ]
    )


def _figure(entry: Entry) -> str:
    """The panels of a claim as an SVG whose names are its own within the page."""
    from ltjax.results import line_figure, success_figure

    panels = [
        line_figure.Panel(**panel | {"lines": [_line(line) for line in panel["lines"]]})
        for panel in entry.finding.panels
    ]
    name = entry.claim.name
    caption = f"{name}: seed {entry.seed}. ltjax {ltjax.__version__}"
    svg = success_figure.render(line_figure.chart(panels, caption), ".svg").decode()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    label = escape("; ".join(panel.title for panel in panels), quote=True)
    return (
        f'<figure>{svg.replace("<svg", f"""<svg role="img" aria-label="{label}" """, 1)}</figure>'
    )


def _line(line: dict):
    from ltjax.results import line_figure

    numbers = {name: np.array(line[name], np.float64) for name in ("x", "y", "low", "high")}
    return line_figure.Line(**line | numbers)


def _colophon(entries: Sequence[Entry]) -> str:
    environments = sorted({json.dumps(entry.environment, sort_keys=True) for entry in entries})
    seeds = ", ".join(sorted({str(entry.seed) for entry in entries}))
    times = ", ".join(f"{entry.claim.name} {entry.seconds:.1f}" for entry in entries)
    ran = "<br>".join(f"<code>{escape(text)}</code>" for text in environments)
    return "\n".join(
        [
            "<footer><section><h2>How it was made</h2>",
            f"<p>Seed {seeds}. {ran}</p>",
            f'<p id="times">Seconds: {times}.</p>',
            "</section></footer>",
        ]
    )
