"""A plot of a group as SVG: bars of medians with the spread, those of one unit in one diagram."""

import io
from collections.abc import Sequence
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from tests.bench.figures import Figure
from tests.bench.page import number
from tests.bench.results import Group, met

WIDTH, BAR, AROUND = 9.0, 0.24, 0.9
NEUTRAL, GOOD, BAD = "#5b7fa6", "#4f9a5b", "#c0504d"


def svg(group: Group) -> str:
    """The text of the file; the same figures give the same text."""
    units = list(dict.fromkeys(figure.unit for figure in group.figures))
    parts = [[figure for figure in group.figures if figure.unit == unit] for unit in units]
    heights = [len(part) * BAR + AROUND for part in parts]
    # Text stays text, and names of parts do not change from run to run: only what was measured makes a difference in git.
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 8}):
        canvas = Canvas(figsize=(WIDTH, sum(heights)), layout="constrained")
        diagrams = canvas.subplots(len(parts), 1, height_ratios=heights, squeeze=False)
        for axes, part in zip(diagrams[:, 0], parts, strict=True):
            _bars(axes, part, group)
        written = io.StringIO()
        canvas.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return written.getvalue()


def _bars(axes: Axes, figures: Sequence[Figure], group: Group) -> None:
    middles = [median(figure.values) for figure in figures]
    below = [middle - min(figure.values) for middle, figure in zip(middles, figures, strict=True)]
    above = [max(figure.values) - middle for middle, figure in zip(middles, figures, strict=True)]
    colours = [{None: NEUTRAL, True: GOOD, False: BAD}[met(figure, group)] for figure in figures]
    places = range(len(figures))
    bars = axes.barh(places, middles, xerr=[below, above], color=colours, ecolor="#333333", capsize=2)
    axes.bar_label(bars, labels=[number(middle) for middle in middles], padding=4)
    axes.set_yticks(places, labels=[figure.row for figure in figures])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"{figures[0].unit} ({'more' if figures[0].better == 'more' else 'less'} is better)")
    axes.spines[["top", "right"]].set_visible(False)
