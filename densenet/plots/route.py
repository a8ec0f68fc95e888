"""Pictures of a route: the network with its strongest paths lit, the factors of one path, and where the signal dies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from densenet._types import Array
from densenet._validation import positive_int
from densenet.explain.notation import digits, latex, whose_error
from densenet.plots._style import COLOURS, axes, bare, quiet

if TYPE_CHECKING:
    from densenet.explain.graph import Graph
    from densenet.explain.paths import Path
    from densenet.explain.route import Route
    from densenet.explain.sensitivity import Sensitivity

_POSITIVE, _NEGATIVE = COLOURS[0], COLOURS[1]
_LIT, _LIT_AGAINST, _LIT_DEAD = "#f2c14e", "#f5b5bd", "0.85"
"""Routes whose contribution is positive, negative, and exactly 0."""
_MOST_NAMED = 6
"""The most lit routes that the key lists."""
_WHOLE, _FOLDED = 12, 8
"""A layer of up to 12 neurons is drawn whole; of a larger one 8 neurons are."""
_CELLS = 40
_BOX = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.9}


def _heading(route: Route) -> str:
    whose = "\n".join(wrap(f"E is the error of {whose_error(route.sample, len(route.subject.x))}", 80))
    return rf"${latex(route.name)}$ is {route.element}: layers and neurons count from 1, arrays from 0" + f"\n{whose}"


def _shade(path: Path) -> str:
    """The colour of a lit route, by the sign of what it adds to the gradient."""
    return _LIT if path.contribution > 0 else _LIT_AGAINST if path.contribution < 0 else _LIT_DEAD


# -- the network ---------------------------------------------------------------------------------------------------


@dataclass
class _Group:
    """Neurons that are drawn as one column: the sums of a dense layer and what elementwise layers make of them."""

    name: str
    column: int
    depth: int
    width: int
    shown: list[int]
    slots: dict[int, float]
    """Height of every shown neuron, from the top."""
    lanes: dict[int, list[_Group]]
    """By the column of a shortcut or branch that starts here: room beside the columns that it goes past."""
    x: float = 0.0
    top: float = 0.0

    def place(self, neuron: int) -> tuple[float, float]:
        return self.x, self.top - self.slots[neuron]

    @property
    def height(self) -> float:
        return max(self.slots.values())


def network(route: Route, *, path: Any = None, k: int = 3, ax: Any = None) -> Any:
    """The network with every connection, the chosen weight and its strongest routes lit.

    A line is as wide as its weight is large beside the largest between the same two layers; negative ones are red and
    dashed. The value under a neuron is what it passes on. A lit route is yellow where it adds to dE/dw, pale red where
    it takes from it, and grey where it adds exactly 0; the key gives its contribution. A layer of more than 12 neurons
    is folded: those on the lit routes are shown, and those with the largest |dE/dz|; the picture says how many there
    are.

    Parameters
    ----------
    route : Route
        Of a sample.
    path : Path or sequence of neurons, optional
        Lit alone; by default the k strongest routes are.
    k : int, default 3
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    k = positive_int(k, "route.plot", "k")
    lit = route.paths(k) if path is None else [_path(route, path)]
    graph = route.graph
    trails = [_visits(route, graph, p) for p in lit]
    groups, of_column = _groups(graph, trails)
    _lay_out(groups)
    depths = max(group.depth for group in groups) + 1
    slots = max(_tallest(groups, depth) for depth in range(depths))
    ax = bare(axes(ax, size=(float(np.clip(1.9 * depths, 7, 18)), max(3.6, 0.46 * slots + 2.1))))
    ax.set(xlim=(-0.5, depths - 0.5), ylim=(-slots / 2 - 2.4, slots / 2 + 1.2))
    size = _node_size(ax, slots + 3.6)
    _light(ax, route, lit, trails, groups, of_column, size)
    _connections(ax, graph, groups, of_column, trails)
    _neurons(ax, graph, groups, of_column, list(zip(lit, trails, strict=True)), size)
    _numbers(ax, graph, trails[0], groups, of_column, size)
    part = sum(abs(p.share) for p in lit)
    if path is not None:
        which = f"the path {lit[0]}"
    elif len(lit) < route.n_paths:
        which = f"its {len(lit)} strongest of {route.n_paths:,} paths"
    else:
        which = f"all its {route.n_paths} paths" if route.n_paths > 1 else "its only path"
    much = f"{100 * part:.3g} % of the sum of sizes" if route.absolute else "grey, as every contribution is 0"
    ax.set_title(f"{_heading(route)}\n" + "\n".join(wrap(f"lit: {which}, {much}", 80)), fontsize="medium")
    _key(ax, lit)
    return ax


def _path(route: Route, path: Any) -> Path:
    return path if hasattr(path, "trail") else route.path(path)


def _visits(route: Route, graph: Graph, path: Path) -> list[tuple[int, int]]:
    """(column, neuron) along a path, from the weight's source to the output."""
    start, end = graph.dense[route.layer]
    source = [] if route.source == "bias" else [(start, int(route.source) - 1)]
    steps = [(graph.links[number].end, neuron) for number, neuron in path.trail]
    last = steps[-1] if steps else (end, route.target - 1)
    beyond = [(column, last[1]) for column in range(last[0] + 1, graph.output + 1)]  # what delta has taken in
    mixed = any(link.kind == "mixing" for link in graph.links if link.start >= last[0])
    return [*source, (end, route.target - 1), *steps, *([] if mixed else beyond)]


def _groups(graph: Graph, trails: list[list[tuple[int, int]]]) -> tuple[list[_Group], dict[int, int]]:
    """The columns as drawn, and the group that each column of the graph belongs to."""
    deltas = graph.backward()
    of_column = {0: 0}
    found = [("input", 0, 0)]
    for column in range(1, graph.output + 1):
        into = [link for link in graph.links if link.end == column]
        if len(into) == 1 and (into[0].kind == "slopes" or into[0].way):
            of_column[column] = of_column[into[0].start]
            continue
        of_column[column] = len(found)
        depth = 1 + max(found[of_column[link.start]][2] for link in into)
        name = f"layer {into[0].symbol[2:-1]}" if into[0].kind == "weights" else into[0].symbol.split("'")[0]
        found.append((name, column, depth))
    groups = []
    for place, (name, column, depth) in enumerate(found):
        width = graph.columns[column].width
        visited = {neuron for trail in trails for c, neuron in trail if of_column[c] == place}
        shown = list(range(width))
        if width > _WHOLE:
            largest = np.argsort(-np.abs(deltas[column][0]), kind="stable").tolist()
            rest = [neuron for neuron in largest if neuron not in visited]
            shown = sorted([*visited, *rest[: max(0, _FOLDED - len(visited))]])
        slots: dict[int, float] = {}
        at = 0.0
        for i, neuron in enumerate(shown):
            at += 0 if not i else 1.0 if neuron == shown[i - 1] + 1 else 1.6
            slots[neuron] = at
        groups.append(_Group(name, column, depth, width, shown, slots, {}))
    for link in graph.links:
        a, b = groups[of_column[link.start]], groups[of_column[link.end]] if link.end <= graph.output else None
        if b is not None and link.values is None and b.depth > a.depth + 1:
            past = range(a.depth + 1, b.depth)
            a.lanes[link.start] = [replace(a, name="", column=link.start, depth=depth, lanes={}) for depth in past]
    return groups, of_column


def _at_depth(groups: list[_Group], depth: int) -> list[_Group]:
    """Columns and lanes of that depth, from the top."""
    lanes = [lane for group in groups for lanes in group.lanes.values() for lane in lanes]
    return sorted((g for g in [*groups, *lanes] if g.depth == depth), key=lambda g: g.column)


def _tallest(groups: list[_Group], depth: int) -> float:
    here = _at_depth(groups, depth)
    return sum(group.height + 1 for group in here) + 1.6 * (len(here) - 1)


def _lay_out(groups: list[_Group]) -> None:
    for depth in {group.depth for group in groups}:
        top = (_tallest(groups, depth) - 1) / 2
        for group in _at_depth(groups, depth):
            group.x, group.top = float(depth), top
            top -= group.height + 2.6


def _way(groups: list[_Group], of_column: dict[int, int], start: tuple[int, int], end: tuple[int, int]) -> list[Any]:
    """The points from one (column, neuron) to the next, through the lane where there is one."""
    a, b = groups[of_column[start[0]]], groups[of_column[end[0]]]
    lanes = a.lanes.get(start[0], []) if a is not b else []
    past = [lane.place(start[1]) for lane in lanes]
    return [a.place(start[1]), *((x + d, y) for x, y in past for d in (-0.18, 0.18)), b.place(end[1])]


def _node_size(ax: Any, slots: float) -> float:
    """Diameter of a neuron in points."""
    figure = ax.figure
    height = ax.get_position().height * figure.get_size_inches()[1] * 72
    return float(np.clip(0.62 * height / slots, 4, 20))


def _segments(
    graph: Graph, groups: list[_Group], of_column: dict[int, int]
) -> Iterable[tuple[int, list[tuple[int, int, float]]]]:
    """For every drawn link: its number, and (neuron, neuron, weight) of each connection between shown neurons."""
    for number_, link in enumerate(graph.links):
        if link.end > graph.output:
            continue
        a, b = groups[of_column[link.start]], groups[of_column[link.end]]
        if a is b:
            continue
        if link.values is None:
            found = [(i, i + link.offset, 1.0) for i in a.shown if i + link.offset in b.slots]
        else:
            found = [(i, j, float(link.matrix[i, j])) for i in a.shown for j in b.shown]
        yield number_, found


def _connections(
    ax: Any, graph: Graph, groups: list[_Group], of_column: dict[int, int], trails: list[list[tuple[int, int]]]
) -> None:
    from matplotlib.collections import LineCollection

    lit = {step for trail in trails for step in pairwise(trail)}
    for number_, found in _segments(graph, groups, of_column):
        link = graph.links[number_]
        a, b = groups[of_column[link.start]], groups[of_column[link.end]]
        if link.values is None:
            lines = [_way(groups, of_column, (link.start, i), (link.end, j)) for i, j, _ in found]
            ax.add_collection(LineCollection(lines, colors="0.4", linewidths=0.9, linestyles=":", zorder=2))
            continue
        largest = float(np.abs(link.matrix).max()) or 1.0
        for sign, colour, style in ((1, _POSITIVE, "-"), (-1, _NEGATIVE, (0, (4, 2)))):
            for bright in (False, True):
                part = [
                    (i, j, w)
                    for i, j, w in found
                    if (w >= 0) == (sign > 0) and (((link.start, i), (link.end, j)) in lit) == bright
                ]
                ax.add_collection(
                    LineCollection(
                        [(a.place(i), b.place(j)) for i, j, _ in part],
                        colors=colour,
                        linewidths=[0.4 + 2.6 * abs(w) / largest for _, _, w in part],
                        linestyles=[style],
                        alpha=1.0 if bright else 0.45 if len(found) < 60 else 0.25,
                        zorder=3 if bright else 2,
                        label="lit" if bright else "connections",
                    )
                )


def _light(
    ax: Any,
    route: Route,
    lit: list[Path],
    trails: list[list[tuple[int, int]]],
    groups: list[_Group],
    of_column: dict[int, int],
    size: float,
) -> None:
    """Bands under the lit routes, as strong as their shares; the chosen weight's under a rim."""
    from matplotlib.patheffects import Normal, Stroke

    largest = max(abs(path.share) for path in lit) or 1.0
    for rank in range(len(lit) - 1, -1, -1):
        width = 6 + 0.3 * size * abs(lit[rank].share) / largest
        steps = pairwise(trails[rank])
        points = [point for start, end in steps for point in _way(groups, of_column, start, end)]
        if points:
            shade = _shade(lit[rank])
            ax.plot(*zip(*points, strict=True), color=shade, linewidth=width, zorder=1, solid_capstyle="round")
    first = trails[0][:2]
    end = groups[of_column[first[-1][0] if len(first) == 2 else first[0][0]]]
    ends = [groups[of_column[column]].place(neuron) for column, neuron in first]
    if route.source == "bias":
        x, y = end.place(route.target - 1)
        ends = [(x - 0.28, y + 0.5), (x, y)]
        ax.text(
            x - 0.3,
            y + 0.55,
            "1",
            ha="center",
            va="center",
            fontsize="small",
            bbox={"fc": "white", "ec": "0.2"},
            zorder=6,
        )
    rim = [Stroke(linewidth=8 + 0.3 * size, foreground="0.2"), Normal()]
    ax.plot(
        *zip(*ends, strict=True),
        color=_LIT if any(path.contribution for path in lit) else _LIT_DEAD,
        linewidth=6 + 0.3 * size,
        zorder=1.5,
        path_effects=rim,
        label="chosen weight",
    )


def _neurons(
    ax: Any,
    graph: Graph,
    groups: list[_Group],
    of_column: dict[int, int],
    lit: list[tuple[Path, list[tuple[int, int]]]],
    size: float,
) -> None:
    """Neurons with their numbers, and below them the values that they pass on."""
    visited = {(of_column[column], neuron) for _, trail in lit for column, neuron in trail}
    alive = {(of_column[column], neuron) for path, trail in lit if path.contribution for column, neuron in trail}
    last = {place: column for column, place in of_column.items() if column <= graph.output}
    highest = max(group.top for group in groups)
    for place, group in enumerate(groups):
        points = np.array([group.place(neuron) for neuron in group.shown])
        shades = ["white", _LIT_DEAD, _LIT]
        fill = [shades[((place, n) in visited) + ((place, n) in alive)] for n in group.shown]
        ax.scatter(*points.T, s=size**2, c=fill, edgecolors="0.2", linewidths=0.9, zorder=4)
        if size >= 9:
            for neuron, (x, y) in zip(group.shown, points, strict=True):
                font = 0.52 * size if neuron < 99 else 0.4 * size
                ax.text(x, y, str(neuron + 1), ha="center", va="center_baseline", fontsize=font, zorder=5)
                value = float(graph.columns[last[place]].values[0, neuron]) + 0.0
                ax.annotate(
                    f"{value:.3g}",
                    (x, y),
                    xytext=(0, -0.5 * size - 1),
                    textcoords="offset points",
                    ha="center",
                    va="top",
                    fontsize=6,
                    color="0.25",
                    bbox={**_BOX, "boxstyle": "square,pad=0"},
                    zorder=4.5,
                )
        for before, after in pairwise(group.shown):
            if after > before + 1:
                middle = (group.place(before)[1] + group.place(after)[1]) / 2
                ax.scatter([group.x] * 3, middle + np.array([-0.16, 0, 0.16]), s=3, c="0.2", zorder=4)
        alone = len(_at_depth(groups, group.depth)) == 1
        at = (highest if alone else group.top) + 0.75
        ax.text(group.x, at, group.name, ha="center", va="bottom", fontsize="small", zorder=6, bbox=_BOX)
        if len(group.shown) < group.width:
            text = f"{group.width} neurons,\n{len(group.shown)} shown"
            ax.text(group.x, group.top - group.height - 0.7, text, ha="center", va="top", fontsize="x-small")


def _numbers(
    ax: Any, graph: Graph, trail: list[tuple[int, int]], groups: list[_Group], of_column: dict[int, int], size: float
) -> None:
    """The weights along the strongest route, where there is room for them."""
    if size < 9 or max(group.depth for group in groups) > 7:
        return
    for (column, i), (after, j) in pairwise(trail):
        link = next((link for link in graph.links if (link.start, link.end) == (column, after)), None)
        if link is None or link.values is None or link.kind == "slopes":
            continue
        value = float(link.matrix[i, j])
        (x0, y0), (x1, y1) = groups[of_column[column]].place(i), groups[of_column[after]].place(j)
        at = x0 + 0.42 * (x1 - x0), y0 + 0.42 * (y1 - y0)
        ax.text(*at, f"{value:.3g}", ha="center", va="center", fontsize="x-small", bbox=_BOX, zorder=6)


def _key(ax: Any, lit: list[Path]) -> None:
    """What lines and bands mean, with the sign and size of every lit route."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_POSITIVE, linewidth=2, label="positive weight"),
        Line2D([], [], color=_NEGATIVE, linewidth=2, linestyle=(0, (4, 2)), label="negative weight"),
    ]
    for path in lit[:_MOST_NAMED]:
        size = f"{path.contribution:+.3g}" if path.contribution else "0"
        handles.append(Line2D([], [], color=_shade(path), linewidth=7, label=f"{path}: {size}"))
    if len(lit) > _MOST_NAMED:
        handles.append(Line2D([], [], linestyle="", label=f"and {len(lit) - _MOST_NAMED} more"))
    columns = 3 if max(len(str(handle.get_label())) for handle in handles) <= 30 else 2
    rows = -(-len(handles) // columns)
    by_row = [handles[i] for column in range(columns) for i in range(column, len(handles), columns)]
    if len(by_row) < rows * columns:  # the key fills columns first
        by_row += [Line2D([], [], linestyle="", label=" ")] * (rows * columns - len(by_row))
    ax.legend(handles=by_row, loc="lower center", ncols=columns, frameon=False, fontsize="small", borderaxespad=0.1)


# -- the waterfall -------------------------------------------------------------------------------------------------

_KINDS = {
    "activation": ("#bbbbbb", ""),
    "slope": (COLOURS[1], "////"),
    "weight": (COLOURS[0], ""),
    "mixing": (COLOURS[2], "...."),
    "output": (COLOURS[3], "xxxx"),
    "product": ("0.25", ""),
}


def _kind(name: str) -> str:
    if name.startswith("a("):
        return "activation"
    if name.startswith("dE/"):
        return "output"
    if name.startswith("w("):
        return "weight"
    return "mixing" if "_{" in name else "slope"


def _inline(name: str) -> str:
    return rf"\partial E/\partial {latex(name[4:])}" if name.startswith("dE/d") else latex(name)


def waterfall(route: Route, *, path: Any = None, ax: Any = None) -> Any:
    """log10 of the sizes of the factors along a path, one on top of the other, and of their product.

    A factor below 1 goes down, one above 1 goes up; the deepest step is the one that kills the gradient.

    Parameters
    ----------
    route : Route
        Of a sample.
    path : Path or sequence of neurons, optional
        By default the largest.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    shown = route.paths(1)[0] if path is None else _path(route, path)
    count = len(shown.factors)
    ax = quiet(axes(ax, size=(max(7.5, 0.75 * count + 2), 4.2)))
    ax.grid(False, axis="x")
    sizes = [abs(factor.value) for factor in shown.factors]
    logs = np.array([np.log10(size) if size else -np.inf for size in sizes])
    finite = np.cumsum(np.where(np.isfinite(logs), logs, 0.0))
    floor, ceiling = min(0.0, float(finite.min())), max(0.0, float(finite.max()))
    room = max(0.5, 0.12 * (ceiling - floor))
    at = 0.0
    dead = False
    for place, (factor, log) in enumerate(zip(shown.factors, logs, strict=True)):
        colour, hatch = _KINDS[_kind(factor.name)]
        kind = _kind(factor.name)
        end = at + float(log) if np.isfinite(log) else floor - room
        if not dead:
            rim = "white" if hatch else colour
            ax.bar(place, end - at, bottom=at, color=colour, hatch=hatch, edgecolor=rim, width=0.72, label=kind)
            if place + 1 < count and np.isfinite(log):
                ax.plot([place + 0.36, place + 0.64], [end, end], color="0.4", linewidth=0.8)
        ax.text(
            place,
            max(at, end) + 0.06 * room if not dead else floor,
            f"{factor.value + 0.0:.3g}",
            ha="center",
            va="bottom",
            fontsize="x-small",
            bbox=_BOX,
        )
        dead = dead or not np.isfinite(log)
        at = end
    colour, _ = _KINDS["product"]
    if dead:
        ax.text(count, floor, "0", ha="center", va="bottom", fontsize="x-small")
        ax.text(count, ceiling + 0.3 * room, "a factor is 0: nothing passes", ha="right", va="bottom", fontsize="small")
    else:
        ax.bar(count, at, color=colour, width=0.72, label="product")
        ax.text(
            count, max(0.0, at) + 0.06 * room, f"{shown.contribution:.3g}", ha="center", va="bottom", fontsize="x-small"
        )
    ax.axhline(0, color="0.2", linewidth=0.8)
    names = [f"${_inline(factor.name)}$" for factor in shown.factors]
    crowded = count > 10 or any(len(factor.name) > 12 for factor in shown.factors)
    turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    ax.set_xticks(range(count + 1), [*names, "product"], fontsize="small", **turned)
    ax.set(xlim=(-0.6, count + 0.6), ylim=(floor - 1.2 * room, ceiling + room))
    ax.set_ylabel("log10 of the size")
    title = "\n".join(wrap(f"The factors of the path {shown}", 80))
    ax.set_title(f"{title}\n{_heading(route)}", fontsize="medium", loc="left")
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


# -- the heat map --------------------------------------------------------------------------------------------------


def heatmap(route: Route, *, ax: Any = None) -> Any:
    """How much of the derivative of E is left at every neuron, by dense layer, over all rows of x.

    A cell is log10 of the RMS of dE/dz over the rows, beside the RMS over the whole output layer. Layers of more than
    40 neurons are folded: a cell is then several neurons. Crossed cells are exactly 0.

    Parameters
    ----------
    route : Route
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    rms = route.neuron_rms()
    numbers = sorted(rms)
    widest = max(len(rms[n]) for n in numbers)
    fold = -(-widest // _CELLS)
    cells = np.full((-(-widest // fold), len(numbers)), np.nan)
    for place, n in enumerate(numbers):
        for cell, start in enumerate(range(0, len(rms[n]), fold)):
            cells[cell, place] = np.sqrt(np.mean(np.square(rms[n][start : start + fold])))
    output = float(np.sqrt(np.mean(np.square(rms[numbers[-1]])))) or 1.0
    positive = np.ma.masked_invalid(np.where(cells > 0, cells / output, np.nan))
    ax = axes(ax, size=(max(4.5, 0.9 * len(numbers) + 2.2), 4.4))
    picture = ax.imshow(np.ma.log10(positive), cmap="viridis", aspect="auto", interpolation="nearest")
    ax.spines[:].set_visible(False)
    dead = np.argwhere(cells == 0)
    ax.plot(dead[:, 1], dead[:, 0], linestyle="", marker="x", color="0.35", markersize=5)
    ax.set_xticks(range(len(numbers)), [f"{n}\n({len(rms[n])})" for n in numbers])
    ax.set_xlabel("dense layer (neurons in it), counted from 1")
    _cell_ticks(ax, len(cells), fold)
    folded = f"; {fold} neurons a cell" if fold > 1 else ""
    ax.set_ylabel(f"neuron, counted from 1{folded}")
    bar = ax.figure.colorbar(picture, ax=ax)
    bar.set_label("log10 of RMS dE/dz, output = 0")
    rows = len(route.subject.x)
    zero = "; x: exactly 0" if len(dead) else ""
    whose = f"the whole batch of {rows} rows" if rows > 1 else "row 0 of x, the only one"
    ax.set_title(f"What is left of dE/dz: E is the error of {whose}{zero}", fontsize="medium")
    return ax


def _cell_ticks(ax: Any, cells: int, fold: int) -> None:
    step = max(1, -(-cells // 10))
    places = list(range(0, cells, step))
    ax.set_yticks(places, [str(place * fold + 1) for place in places])


# -- one weight moves ----------------------------------------------------------------------------------------------


def sensitivity(found: Sensitivity, *, ax: Any = None) -> Any:
    """E as one weight moves, the tangent dE/dw, and the point where the weight stands.

    Parameters
    ----------
    found : Sensitivity
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = quiet(axes(ax))
    name = latex(found.name)
    ax.plot(found.weights, found.errors, color=COLOURS[0], linewidth=2, label="E")
    tangent: Array = np.asarray(found.predicted(found.weights))
    slope = rf"tangent: $\partial E/\partial {name}$ = {digits(found.tangent)}"
    ax.plot(found.weights, tangent, color=COLOURS[1], linestyle="--", label=slope)
    ax.plot(
        [found.value],
        [found.error],
        "o",
        color="0.2",
        label=rf"${name}$ = {digits(found.value)}, E = {digits(found.error)}",
    )
    low, high = float(found.errors.min()), float(found.errors.max())
    room = max(0.6 * (high - low), 0.3 * float(np.ptp(tangent)), 1e-12)
    ax.set_ylim(low - room, high + room)
    ax.set_xlabel(rf"${name}$ ({found.element})")
    ax.set_ylabel("E")
    whose = "\n".join(wrap(f"E is the error of {whose_error(found.sample, found.rows)}", 60))
    ax.set_title(f"How E changes with one weight (layers and neurons count from 1)\n{whose}", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")
    return ax
