"""A route in words and equations: the sections that text, LaTeX and HTML are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from densenet.explain.notation import Line, Section, number, number_word, signed
from densenet.explain.paths import Path

if TYPE_CHECKING:
    from densenet.explain.route import Route


def sections(route: Route, k: int, path: Any) -> list[Section]:
    """What a route has to say: one path in the notes' factors and in its own, the sum over paths, the check."""
    if route.sample is None:
        return [_head(route), _check(route), _sizes(route)]
    shown = chosen(route, path)
    return [
        _head(route),
        _as_the_notes_have_it(route, shown),
        _factors(route, shown),
        _sum(route, k),
        _check(route),
        _sizes(route),
    ]


def chosen(route: Route, path: Any) -> Path:
    """The path that is shown: the one asked for, else the largest."""
    if path is None:
        return route.paths(1)[0]
    return path if isinstance(path, Path) else route.path(path)


def _head(route: Route) -> Section:
    end = f"neuron {route.target} of dense layer {route.layer}"
    if route.source == "bias":
        joins = f"{route.name} is the bias of {end}"
    else:
        start = f"input {route.source}" if route.layer == 1 else f"neuron {route.source} of what enters"
        joins = f"{route.name} joins {start} to {end}" if route.layer == 1 else f"{route.name} joins {start} to {end}"
    rows = len(route._subject.x)
    whose = (
        f"E is the error of the whole batch of {rows} rows"
        if route.sample is None
        else f"E is the error of row {route.sample} of x alone (rows count from 0)"
    )
    noise = " The masks of the last training pass are repeated." if route.training else ""
    return Section(
        f"dE/d{route.name}: why this weight changes",
        (
            f"Layers (dense ones) and neurons count from 1: {joins}.",
            f"Arrays count from 0: it is {route.element} = {number(route.value)}.",
            f"{whose}: E = {number(route.error)}.{noise}",
        ),
    )


def _as_the_notes_have_it(route: Route, path: Path) -> Section:
    parts = route._one.parts_by_layer(path)
    names = [symbol for symbol, _, _ in parts]
    quotients = [f"dE/d{names[-1]}", *(f"d{b}/d{a}" for a, b in zip(names[-2::-1], names[:0:-1], strict=True))]
    lines = [Line(f"dE/d{names[0]}", " x ".join(quotients), remark="the part that this path has in it")]
    layers = [name.partition("(")[2].partition(")")[0] for name in names]
    last = parts[-1][2]
    lines.append(Line(quotients[0], f"G({layers[-1]})", value=last))
    for place in range(len(parts) - 2, -1, -1):
        here, after = parts[place][2], parts[place + 1][2]
        quotient = quotients[len(parts) - 1 - place]
        formula = f"G({layers[place]}) / G({layers[place + 1]})"
        if after:
            lines.append(Line(quotient, formula, value=here / after))
        else:
            lines.append(Line(quotient, formula, remark=f"has no value: G({layers[place + 1]}) is 0"))
    if len(parts) > 1:
        whole = " x ".join(_bare(line) for line in lines[1:])
        lines.append(Line(f"G({layers[0]})", whole, value=parts[0][2], remark="the product"))
    count = f"{number_word(len(quotients))} factor" + "s" * (len(quotients) > 1)
    sentences = ["Weights do not depend on one another, so these quotients are no derivatives. Read exactly: G(l) is this path's"]
    sentences[0] += " part of dE/dw(l), and dw(l+1)/dw(l) stands for G(l+1) turned into G(l), which is G(l) / G(l+1)."
    return Section(f"The path {path} in {count}, as the notes write it", tuple(sentences), tuple(lines))


def _bare(line: Line) -> str:
    return signed(line.value) if line.value is not None else "?"


def _factors(route: Route, path: Path) -> Section:
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
        numbers = f"{number(p_value)} - {number(y_value)}"
        lines[-1] = Line(last.name, f"{p} - {y}", numbers, last.value, "softmax or sigmoid meets cross-entropy")
    elif len(parts) > 1:
        formula, numbers = " x ".join(name for name, _ in parts), " x ".join(signed(value) for _, value in parts)
        lines[-1] = Line(last.name, formula, numbers, last.value, "the derivative of E at the output")
    lines.append(Line("product", value=path.contribution, remark=f"what the path adds to dE/d{route.name}"))
    title = f"The same path in {number_word(len(path.factors))} exact factor" + "s" * (len(path.factors) > 1)
    return Section(title, (), tuple(lines))


def _sum(route: Route, k: int) -> Section:
    paths = route.paths(k)
    lines = [Line(str(p), value=p.contribution, remark=f"{p.share:+.1%} of all sizes") for p in paths]
    rest = route.n_paths - len(paths)
    if rest:
        left = route.total - sum(p.contribution for p in paths)
        lines.append(Line(f"{rest:,} smaller", value=left, remark="together"))
    lines.append(Line(f"dE/d{route.name}", value=route.total, remark="the sum"))
    many = f"all {route.n_paths:,} paths" if route.n_paths > 1 else "its only path"
    return Section(f"The gradient is the sum over {many}", (), tuple(lines))


def _check(route: Route) -> Section:
    lines = [
        Line("backward pass", value=route.gradient, remark="as training goes, in float64"),
        Line("forward accumulation", value=route.total, remark="from the weight to E, on its own"),
    ]
    if route.dtype != "float64":
        lines.append(Line("training's own", value=route.training_gradient, remark=f"in {route.dtype}"))
    verdict = "They agree" if route.agrees else "They do NOT agree"
    sentences = [
        f"{verdict}: the difference is {route.discrepancy:.1e} of the sum of absolute contributions, {number(route.absolute)}.",
        f"Cancellation is {route.cancellation:.1%}: so much of that sum is lost because paths work against one another.",
    ]
    if route.sample is None:
        sentences.append(
            f"{route.n_paths:,} paths lead from the weight to the outputs, for every row. Paths and their factors need a "
            "sample: route(..., sample=0)."
        )
    return Section("Checked", tuple(sentences), tuple(lines))


def _sizes(route: Route) -> Section:
    lines = []
    for stage in route.attenuation():
        change = "" if stage.kind == "error" else f"x {stage.factor:.3g}"
        lines.append(Line(stage.name, value=stage.rms, remark=change))
    return Section("Size of the derivative of E (RMS over neurons) after each stage, from the output back", (), tuple(lines))
