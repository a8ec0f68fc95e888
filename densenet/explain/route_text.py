"""A route in words and equations: the sections that text, LaTeX and HTML are made from."""

from __future__ import annotations

import math
from typing import Any

from densenet.explain.notation import Line, Section, digits, number_word, signed, whose_error
from densenet.explain.paths import Path
from densenet.explain.route_figures import RouteFigures


def sections(
    route: RouteFigures, k: int, path: Any, *, batch: str = "sample=None", row: str = "sample=0"
) -> list[Section]:
    """What a route has to say: one path in the notes' factors and in its own, the sum over paths, the check.

    `batch` and `row` are what a caller passes to get the whole batch, and row 0 alone.
    """
    if route.sample is None:
        return [_head(route, batch, row), _check(route, row), _sizes(route)]
    shown = chosen(route, path)
    return [
        _head(route, batch, row),
        _as_the_notes_have_it(route, shown),
        _factors(route, shown),
        _sum(route, k),
        _check(route, row),
        _sizes(route),
    ]


def chosen(route: RouteFigures, path: Any) -> Path:
    """The path that is shown: the one asked for, else the largest."""
    if path is None:
        return route.paths(1)[0]
    return path if isinstance(path, Path) else route.path(path)


def _head(route: RouteFigures, batch: str, row: str) -> Section:
    end = f"neuron {route.target} of dense layer {route.layer}"
    if route.source == "bias":
        joins = f"{route.name} is the bias of {end}"
    else:
        start = f"input {route.source}" if route.layer == 1 else f"neuron {route.source} of those that enter"
        joins = f"{route.name} joins {start} to {end}"
    noise = " The masks of the last training pass are repeated." if route.training else ""
    whose = whose_error(route.sample, len(route.subject.x), batch, row)
    return Section(
        f"Why {route.name} changes: E is the error of {whose}",
        (f"E = {digits(route.error)}. Rows of x count from 0.{noise}",),
        loud=f"Dense layers and neurons count from 1: {joins}. "
        f"Arrays count from 0: it is {route.element} = {digits(route.value)}.",
    )


def _as_the_notes_have_it(route: RouteFigures, path: Path) -> Section:
    weights = route.weights_passed(path)
    names = [name for name, _, _ in weights]
    quotients = [f"dE/d{names[-1]}", *(f"d{names[i + 1]}/d{names[i]}" for i in range(len(names) - 2, -1, -1))]
    lines = [Line(f"dE/d{names[0]}", " x ".join(quotients), remark="along this path")]
    values: list[float] = []
    for i in range(len(weights) - 1, -1, -1):
        _, enters, at = weights[i]
        last = i == len(weights) - 1
        factors = path.factors[at : None if last else weights[i + 1][2]]
        over = None if last else weights[i + 1][1]
        shown = [enters, *factors] if enters is not None else list(factors)
        formula = " x ".join(factor.name for factor in shown) + (f" / {over.name}" if over else "")
        quotient = quotients[len(weights) - 1 - i]
        if over is not None and over.value == 0:
            lines.append(Line(quotient, formula, remark=f"has no value: {over.name} is 0"))
            continue
        values.append(math.prod(factor.value for factor in shown) / (over.value if over else 1.0))
        numbers = " x ".join(signed(factor.value) for factor in shown) + (f" / {signed(over.value)}" if over else "")
        lines.append(Line(quotient, formula, numbers, values[-1]))
    if len(values) == len(weights) > 1:
        lines.append(Line("product", " x ".join(map(signed, values)), value=math.prod(values)))
    count = f"{number_word(len(quotients))} factor" + "s" * (len(quotients) > 1)
    sentence = (
        "Weights do not depend on one another, so a quotient of two weights is no derivative. Read exactly, the first "
        "factor is this path's part of the gradient of the last weight, and each further one turns the part of a "
        "weight's gradient into the part of the weight before it."
    )
    return Section(f"The path {path} in {count}, as the notes write it", (sentence,), tuple(lines))


def _factors(route: RouteFigures, path: Path) -> Section:
    lines = []
    for factor in path.factors:
        name = factor.name
        if name.startswith("a("):
            remark = "the activation that enters" if route.layer > 1 else "the input that enters"
        elif name.startswith("w("):
            remark = "the weight of the connection"
        elif name.startswith("dE/d"):
            remark = "the derivative of E at the output"
        elif "_{" in name:
            remark = "what one neuron does to another in a layer that mixes them"
        else:
            remark = "the slope of the neuron"
        lines.append(Line(name, value=factor.value, remark=remark))
    parts = route.output_parts(path)
    last = path.factors[-1]
    if len(parts) == 2 and parts[0][0].startswith("p_"):
        (p, p_value), (y, y_value) = parts
        numbers = f"{digits(p_value)} - {digits(y_value)}"
        lines[-1] = Line(last.name, f"{p} - {y}", numbers, last.value, "softmax or sigmoid meets cross-entropy")
    elif len(parts) > 1:
        formula, numbers = " x ".join(name for name, _ in parts), " x ".join(signed(value) for _, value in parts)
        lines[-1] = Line(last.name, formula, numbers, last.value, "the derivative of E at the output")
    lines.append(Line("product", value=path.contribution, remark=f"what the path adds to dE/d{route.name}"))
    title = f"The same path in {number_word(len(path.factors))} exact factor" + "s" * (len(path.factors) > 1)
    return Section(title, (), tuple(lines))


def _sum(route: RouteFigures, k: int) -> Section:
    paths = route.paths(k)
    lines = [Line(str(p), value=p.contribution, remark=f"share {p.share:+.1%}") for p in paths]
    rest = route.n_paths - len(paths)
    if rest:
        left = route.total - sum(p.contribution for p in paths)
        lines.append(Line(f"{rest:,} smaller", value=left, remark="together"))
    lines.append(Line(f"dE/d{route.name}", value=route.total, remark="the sum"))
    many = f"all {route.n_paths:,} paths" if route.n_paths > 1 else "its only path"
    return Section(f"The gradient is the sum over {many}", (), tuple(lines))


def _check(route: RouteFigures, row: str) -> Section:
    lines = [
        Line("backward pass", value=route.gradient, remark="as training goes, in float64"),
        Line("forward accumulation", value=route.total, remark="from the weight to E, on its own"),
    ]
    if route.dtype != "float64":
        lines.append(Line("training's own", value=route.training_gradient, remark=f"in {route.dtype}"))
    verdict = "They agree" if route.agrees else "They do NOT agree"
    sentences = [
        f"{verdict}: the difference is {route.discrepancy:.1e} of the sum of absolute contributions, "
        f"{digits(route.absolute)}.",
        f"Cancellation is {route.cancellation:.1%}: so much of that sum is lost, as paths work against one another.",
    ]
    if route.sample is None:
        sentences.append(
            f"{route.n_paths:,} paths lead from the weight to the outputs, for every row. Paths and their factors "
            f"need one row: {row}."
        )
    return Section("Checked", tuple(sentences), tuple(lines))


def _sizes(route: RouteFigures) -> Section:
    lines = []
    for stage in route.attenuation():
        change = "" if stage.kind == "error" else f"x {stage.factor:.3g}"
        lines.append(Line(stage.name, value=stage.rms, remark=change))
    return Section(
        "Size of the derivative of E (RMS over neurons) after each stage, from the output back", (), tuple(lines)
    )
