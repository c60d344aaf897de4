"""The data of Matplotlib's figures, in the form that E2B's SDKs know. A figure without it is a picture all the same."""

import json
import math
import re
import sys

from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.dates import num2date
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Rectangle, Wedge
from matplotlib.text import Text

from berth_kernel import plain

# Of a figure: points of lines and scatters, and bytes. Of axes: other elements, and ticks. Of a text: characters.
MOST_POINTS, MOST_BYTES, MOST_ELEMENTS, MOST_TEXT = 10_000, 1024 * 1024, 1_000, 1_000

def chart_of(figure):
    """None if the figure is blank, or its data too large. Axes without a kind of chart are of the type `unknown`."""
    shown = [each for each in figure.axes if each.has_data() and not hasattr(each, "_colorbar")][:MOST_ELEMENTS]
    charts = [read_axes(each, MOST_POINTS // len(shown)) for each in shown]
    if not charts:
        return None
    chart = charts[0] if len(charts) == 1 else {"type": "superchart", "title": None, "elements": charts}
    chart["title"] = chart["title"] or text(figure.get_suptitle()) or None
    return chart if len(json.dumps(chart)) <= MOST_BYTES else None

def text(value):
    return f"{value:.12g}" if isinstance(value, float) else str(value)[:MOST_TEXT]

def name_of(artist, otherwise):
    label = text(artist.get_label())
    return otherwise if label.startswith("_") else label

def read_axes(ax, most):
    chart = {"type": "unknown", "title": text(ax.get_title()) or None, "elements": []}
    try:
        return {**chart, **find(ax, most)}
    except Exception:  # Code can change all of a figure.
        return chart

def find(ax, most):
    """The chart of axes whose artists are of one kind. Lines that cross the axes and error bars only accompany it."""
    errors = [each.lines[1:] for each in ax.containers if isinstance(each, ErrorbarContainer)]
    beside = {artist for bars in errors for parts in bars for artist in parts}
    beside |= {each for each in ax.lines if not all(each.get_transform().contains_branch_seperately(ax.transData))}
    drawn = [each for each in ax._children if each not in beside and not isinstance(each, Text)]
    kinds = {next((kind for kind in KINDS if isinstance(each, kind)), None) for each in drawn}
    bars = [each for each in ax.containers if isinstance(each, BarContainer)]
    if not kinds or None in kinds or ax.name == "3d":
        return {}
    if kinds <= {Line2D, PathPatch} and (boxes := split_boxes(drawn)):
        return read_boxes(ax, boxes)
    if kinds == {Wedge}:
        return {"type": "pie", "elements": [read_wedge(each) for each in drawn[:MOST_ELEMENTS]]}
    if kinds == {Rectangle} and bars:
        return read_bars(ax, bars)
    return read_points(ax, drawn, most) if kinds in ({Line2D}, {PathCollection}) else {}

KINDS = (Line2D, PathPatch, PathCollection, Rectangle, Wedge)

def read_points(ax, artists, most):
    """Of too many points, each nth."""
    kind = "line" if isinstance(artists[0], Line2D) else "scatter"
    chart = {"type": kind, **describe(ax), "elements": []}
    scales = {"x": scale_of(ax.xaxis), "y": scale_of(ax.yaxis)}
    for name, (scale, meaning) in scales.items():
        axis = getattr(ax, f"{name}axis")
        ticks = axis.get_majorticklocs()[:MOST_ELEMENTS]
        labels = [text(each) for each in axis.get_major_formatter().format_ticks(ticks)]
        chart[f"{name}_scale"], chart[f"{name}_tick_labels"] = scale, labels
        chart[f"{name}_ticks"] = [meaning(float(each)) for each in ticks]
    artists = artists[: min(most, MOST_ELEMENTS)]
    for number, artist in enumerate(artists):
        places = artist.get_xydata() if kind == "line" else artist.get_offsets()
        step = max(1, math.ceil(len(places) * len(artists) / most))
        points = [[scales["x"][1](x), scales["y"][1](y)] for x, y in places[::step].tolist()]
        chart["elements"].append({"label": name_of(artist, f"{kind.title()} {number}"), "points": points})
    return chart

def read_wedge(wedge):
    angle = round(abs(float(wedge.theta2) - float(wedge.theta1)), 4)
    return {"label": name_of(wedge, ""), "angle": angle, "radius": plain(wedge.r)}

def read_bars(ax, groups):
    turned = groups[0].orientation == "horizontal"
    elements = []
    for number, group in enumerate(groups[:MOST_ELEMENTS]):
        bars = [(bar.get_y(), bar.get_height(), bar.get_width()) for bar in group[:MOST_ELEMENTS]]
        if not turned:
            bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in group[:MOST_ELEMENTS]]
        labels = labels_of(ax, [start + size / 2 for start, size, _ in bars], turned)
        name = name_of(group, f"Group {number}")
        elements += [{"label": each, "group": name, "value": plain(bar[2])} for each, bar in zip(labels, bars)]
    return {"type": "bar", **describe(ax, turned), "elements": elements[:MOST_ELEMENTS]}

def split_boxes(artists):
    """Of each box of a box plot its outline, two whiskers, two caps, its median and more, in the order of drawing."""
    boxes = []
    for artist in artists[: 10 * MOST_ELEMENTS]:
        points = artist.get_xydata() if isinstance(artist, Line2D) else artist.get_path().vertices
        if isinstance(artist, PathPatch) or (len(points) in (5, 11) and (points[0] == points[-1]).all()):
            boxes.append([])
        elif not boxes:
            return None
        boxes[-1].append(points)
    return boxes if all([len(each) for each in box[1:3]] == [2, 2] for box in boxes) else None

def read_boxes(ax, boxes):
    turned = any(low[0][0] != low[1][0] for _, low, *_ in boxes)
    labels = labels_of(ax, [low[0][1 if turned else 0] for _, low, *_ in boxes[:MOST_ELEMENTS]], turned)
    elements = []
    for label, box in zip(labels, boxes):
        _, (first, least), (third, most), *rest = (points[:, 0 if turned else 1].tolist() for points in box)
        flat = [each[0] for each in rest if len(each) == 2 and each[0] == each[1]]
        quartiles = {"first_quartile": first, "median": flat[2 if len(flat) > 2 else 0], "third_quartile": third}
        outliers = [each for points in rest for each in points if not least <= each <= most]
        elements.append({"label": label, "min": least, **quartiles, "max": most, "outliers": outliers[:MOST_ELEMENTS]})
    return {"type": "box_and_whisker", **describe(ax, turned), "elements": elements}

def describe(ax, turned=False):
    """Labels, and their units, which are in brackets. x is the axis of the categories: if turned, the vertical one."""
    labels = [text(ax.get_xlabel()), text(ax.get_ylabel())]
    names = {}
    for name, label in zip("yx" if turned else "xy", labels):
        unit = re.search(r"\s\(([^()]+)\)|\[([^\[\]]+)\]", label)
        names |= {f"{name}_label": label or None, f"{name}_unit": unit and (unit[1] or unit[2])}
    return names

def labels_of(ax, places, turned):
    """The labels of the ticks that are next to places, if code has set the ticks; otherwise the places themselves."""
    axis = ax.yaxis if turned else ax.xaxis
    if type(axis.get_major_locator()).__name__ in ("FixedLocator", "StrCategoryLocator"):
        ticks = axis.get_majorticklocs()[:MOST_ELEMENTS]
        labels = axis.get_major_formatter().format_ticks(ticks)
        nearest = [int(abs(ticks - place).argmin()) for place in places]
        if len(set(nearest)) == len(nearest):
            return [text(labels[each]) for each in nearest]
    meaning = scale_of(axis)[1]
    return [text(meaning(float(place))) for place in places]

def scale_of(axis):
    """The scale of an axis, and a function from its numbers to what they stand for: a date, a category, or a number."""
    converter = type(axis.get_converter()).__name__
    scale, meaning = axis.get_scale(), plain
    if getattr(axis, "freq", None) is not None:  # Of pandas: the number of a period.
        period = sys.modules["pandas"].Period
        scale, meaning = "datetime", lambda at: period(ordinal=round(at), freq=axis.freq).to_timestamp().isoformat()
    elif "Date" in converter:
        scale, meaning = "datetime", lambda at: num2date(at).isoformat()
    elif "Category" in converter:
        names = {number: text(name) for name, number in axis.units._mapping.items()}
        scale, meaning = "categorical", lambda at: names.get(at, at)
    return scale, lambda at: None if at is None or not math.isfinite(at) else meaning(at)
