"""Why one weight changed: the routes by which the error reaches it, the factors of each, and their sum.

dE/dw is a sum over all paths from the weight to the output, and each path's part is a product: the activation that
enters the weight, the slope of every neuron passed, the weight of every connection passed, and the derivative of E at
the output. Backpropagation has that sum without listing the paths; this module takes it apart again, and checks that
the parts make up what training uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from densenet._types import Array
from densenet._validation import positive_int
from densenet.explain import route_text
from densenet.explain.graph import Graph, delta_parts, rows_at_once, trace
from densenet.explain.notation import to_html, to_latex, to_text
from densenet.explain.paths import Path, Paths
from densenet.explain.subject import Subject, dense_layer, layer_place, weight_index
from densenet.losses.base import Loss
from densenet.sequential import Sequential

ALL_PATHS = 100_000
"""As many paths as `Route.paths` lists without being told how many."""


class Stage(NamedTuple):
    """One stage of the way back from the output.

    Attributes
    ----------
    name : str
        "dE/dy^" at the output, then such as "f'(z(4))", "w(4)", "LayerNorm'(2)" or a container's name.
    kind : {"error", "slopes", "weights", "mixing", "container"}
    rms : float
        Root mean square of the derivative of E after this stage.
    factor : float
        rms over the rms before the stage; 1 for the first, 0 where both are 0.
    """

    name: str
    kind: Literal["error", "slopes", "weights", "mixing", "container"]
    rms: float
    factor: float


@dataclass(frozen=True, eq=False)
class Route:
    """How the error reaches one weight. `route` makes it.

    Dense layers are numbered from 1, and neurons in each from 1.

    Attributes
    ----------
    layer : int
    source : int or "bias"
    target : int
    sample : int or None
        The row of x, from 0; None for the batch.
    name : str
        The weight in the notes' notation, such as "w(1)_{1,3}".
    element : str
        The same as an array element, such as "model.layers[0].W[0, 2]".
    value : float
        The weight.
    error : float
        E of the sample alone, or of the batch.
    gradient : float
        dE/dw as the backward pass computes it, in float64.
    total : float
        dE/dw from an independent forward accumulation of derivatives, from the weight to E.
    training_gradient : float
        dE/dw as training computes it, in the model's own dtype.
    dtype : numpy.dtype
        The model's own.
    absolute : float
        The sum of the absolute contributions of all paths.
    n_paths : int
        Paths of neurons from the weight to the outputs, exact. For a batch: of every sample.
    """

    layer: int
    source: int | str
    target: int
    sample: int | None
    training: bool
    name: str
    element: str
    value: float
    error: float
    gradient: float
    total: float
    training_gradient: float
    dtype: Any
    absolute: float
    n_paths: int
    _subject: Subject = field(repr=False)
    _paths: Paths | None = field(repr=False)

    # -- the check ---------------------------------------------------------------------------------------------

    @property
    def discrepancy(self) -> float:
        """|gradient - total| over the sum of absolute contributions; 0 where both are 0."""
        difference = abs(self.gradient - self.total)
        return difference / self.absolute if self.absolute else difference

    @property
    def agrees(self) -> bool:
        """Whether `gradient` and `total` agree to 1e-12 of the sum of absolute contributions."""
        return self.discrepancy <= 1e-12

    # -- paths -------------------------------------------------------------------------------------------------

    @property
    def _one(self) -> Paths:
        if self._paths is None:
            raise ValueError(
                f"Paths and factors need a sample, and this route is of a batch of {len(self._subject.x)}: "
                "route(..., sample=0) explains row 0 of x. The batch has gradient, total and n_paths."
            )
        return self._paths

    def paths(self, k: int | None = None) -> list[Path]:
        """The paths by the size of their contribution, the largest first; equal ones by their neurons.

        Parameters
        ----------
        k : int, optional
            Only the k largest: exactly those, however many paths there are. By default all.

        Raises
        ------
        ValueError
            If all are asked for and there are more than 100,000, or if the route is of a batch.
        """
        finder = self._one
        if k is not None:
            return finder.largest(positive_int(k, "route.paths", "k"))
        if self.n_paths > ALL_PATHS:
            raise ValueError(
                f"This weight has {self.n_paths:,} paths, too many to list: paths(10) gives the ten largest, exactly."
            )
        return finder.largest(self.n_paths)

    def path(self, neurons: Sequence[Any]) -> Path:
        """One path by its neurons.

        Parameters
        ----------
        neurons : sequence
            The source, then one neuron for each dense layer from this one to the last, counted from 1, with
            ``(name, neuron)`` where a layer mixes neurons, as `Path.neurons` has them. A bias begins with "bias".

        Raises
        ------
        ValueError
            If there is no such path, saying what is possible where, or if the route is of a batch.
        """
        return self._one.follow(neurons)

    def output_parts(self, path: Path) -> tuple[tuple[str, float], ...]:
        """What the last factor of a path is made of: dE/dy^ and slopes whose product it is, or p and y, when p - y."""
        finder = self._one
        neuron = path.trail[-1][1] if path.trail else finder.target
        found = []
        for name, values in delta_parts(self._subject, self._whole, finder.graph):
            shown = f"{name}_{neuron + 1}" + (")" if name.startswith("f'") else "")
            found.append((shown, float(values[0, neuron])))
        return tuple(found)

    # -- the whole layer ---------------------------------------------------------------------------------------

    @property
    def cancellation(self) -> float:
        """1 - |sum of contributions| / sum of |contributions|.

        0 when no path works against another, 1 when all is lost.

        From one backward pass of absolute values; 0 where every contribution is 0. For a batch, over all paths of all
        samples.
        """
        return max(0.0, 1 - abs(self.total) / self.absolute) if self.absolute else 0.0

    def cancellations(self) -> Array:
        """`cancellation` of all weights of the layer at once, at about the cost of a backward pass.

        Returns
        -------
        ndarray (n_in, n_out), or (n_out,) for a bias
        """
        signed: Any = 0.0
        sizes: Any = 0.0
        for graph in map(Graph.joined, self._graphs()):
            start, end = graph.dense[self.layer]
            enters = graph.columns[start].values if self.source != "bias" else np.ones((len(graph.delta), 1))
            signed = signed + enters.T @ graph.backward()[end]  # sum of contributions = a^T D
            sizes = sizes + np.abs(enters).T @ graph.absolute().backward()[end]
        kept = np.divide(np.abs(signed), sizes, out=np.ones_like(sizes), where=sizes > 0)
        result: Array = np.maximum(0.0, 1 - kept)
        return result if self.source != "bias" else result[0]

    def attenuation(self) -> tuple[Stage, ...]:
        """How much each stage multiplies the size (RMS over neurons) of the derivative of E, from the output back.

        The first entry is dE/dy^; then slopes turn dE/da into dE/dz, and weights turn dE/dz of a layer into dE/da of
        the layer before, down to dE/dz of this layer. For a batch, the RMS is over its samples too.

        Returns
        -------
        tuple of Stage
            Its factors multiply to the RMS of dE/dz of this layer over that of dE/dy^.
        """
        squares, counts, rows = self._squares()
        graph = self._whole
        gates = graph.gates(graph.dense[self.layer].end)
        sizes = [float(np.sqrt(squares[g].sum() / (counts[g] * rows))) for g in gates]
        stages = [Stage("dE/dy^", "error", sizes[0], 1.0)]
        for (after, before), (size, smaller) in zip(pairwise(gates), pairwise(sizes), strict=True):
            found = [link for link in graph.links if link.start == before and link.end <= graph.output]
            factor = smaller / size if size else 0.0
            if len(found) > 1 or found[0].end != after:
                stages.append(Stage(found[0].symbol, "container", smaller, factor))
            elif found[0].kind != "passing":
                name = found[0].symbol + (")" if found[0].symbol.startswith("f'") else "")
                stages.append(Stage(name, found[0].kind, smaller, factor))
        return tuple(stages)

    def neuron_rms(self) -> dict[int, Array]:
        """RMS of dE/dz over **all** rows of x, for every dense layer by number: one number a neuron (n_out,).

        E is the batch's error here, whatever the route's sample: this is what the heat map shows.
        """
        subject = self._subject
        if self.sample is None:
            squares, _, rows = self._squares()
        else:
            squares, _, rows = _squares(_batch_graphs(subject, slice(0, len(subject.x))))
        return {number: np.sqrt(squares[link.end] / rows) for number, link in self._whole.dense.items()}

    @cached_property
    def _whole(self) -> Graph:
        """The graph of the sample, or of the first row of a batch, with every stage of its own."""
        return next(iter(self._graphs()))

    def _graphs(self) -> Iterator[Graph]:
        return _batch_graphs(self._subject, self._subject.rows)

    def _squares(self) -> tuple[list[Array], list[int], int]:
        return _squares(self._graphs())

    # -- showing it --------------------------------------------------------------------------------------------

    def to_text(self, k: int = 5, path: Any = None) -> str:
        """The derivation as plain text: one path in the notes' factors and in its own, the sum over paths, the check.

        Parameters
        ----------
        k : int, default 5
            Paths listed.
        path : Path or sequence of neurons, optional
            The path written out; by default the largest.
        """
        return to_text(route_text.sections(self, k, path))

    def to_latex(self, k: int = 5, path: Any = None) -> str:
        """The same in LaTeX: an ``aligned`` block for display mathematics."""
        return to_latex(route_text.sections(self, k, path))

    def to_html(self, k: int = 5, path: Any = None) -> str:
        """The same as a self-contained block of HTML without scripts."""
        return to_html(route_text.sections(self, k, path))

    __str__ = to_text

    def __repr__(self) -> str:
        where = "batch" if self.sample is None else f"sample {self.sample}"
        return f"<Route of {self.name} ({self.element}), {where}: dE/dw = {self.gradient:.6g}, {self.n_paths:,} paths>"

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_latex_(self) -> str:
        return f"$$\n{self.to_latex()}\n$$"

    def plot(
        self,
        kind: Literal["network", "waterfall", "heatmap"] = "network",
        *,
        path: Any = None,
        k: int = 3,
        ax: Any = None,
    ) -> Any:
        """Draw the route.

        Parameters
        ----------
        kind : {"network", "waterfall", "heatmap"}, default "network"
            The network with the chosen weight and its k strongest routes lit; the log10 sizes of the factors along a
            path; or how much of dE/dz is left at every neuron of every dense layer over the rows of x.
        path : Path or sequence of neurons, optional
            For the waterfall, and lit alone in the network; by default the largest.
        k : int, default 3
            Routes lit in the network.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            For another kind, and for network and waterfall of a batch.
        """
        from densenet.plots import route as pictures

        kinds = {"network": pictures.network, "waterfall": pictures.waterfall, "heatmap": pictures.heatmap}
        if kind not in kinds:
            raise ValueError(f"route.plot knows the kinds {', '.join(map(repr, kinds))}, got {kind!r}.")
        if kind == "heatmap":
            return pictures.heatmap(self, ax=ax)
        if kind == "waterfall":
            return pictures.waterfall(self, path=path, ax=ax)
        return pictures.network(self, path=path, k=k, ax=ax)


def route(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    *,
    layer: int,
    source: int | Literal["bias"],
    target: int,
    sample: int | None = 0,
    training: bool = False,
) -> Route:
    """By which routes the error reaches w(layer)_{source,target}, exactly.

    dE/dw is the sum over all paths from neuron `target` of that layer to the outputs; one path's part is::

        a(l-1)_i . f'(z(l)_j) . w(l+1)_{j,k} . f'(z(l+1)_k) ... w(L)_{..,o} . dE/dz(L)_o

    with dE/dz(L) = dE/dy^ f'(z(L)) for an elementwise output, and p - y where softmax meets cross-entropy.

    Nothing of the model changes: it works on a float64 copy. Penalties (`kernel_l2`, ...) are no part of E here.

    Parameters
    ----------
    model : Sequential
    loss : Loss or str
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them.
    layer : int
        Number of the dense layer, **from 1**, as `summary` shows it: containers depth-first.
    source : int or "bias"
        Neuron that the weight comes from, **from 1**; "bias" for b(layer)_target.
    target : int
        Neuron of the layer that the weight leads to, **from 1**.
    sample : int or None, default 0
        Row of x, from 0: E is that row's error alone, as if it were the whole batch. None for the batch: gradient,
        total and number of paths; paths and factors need a sample.
    training : bool, default False
        Repeat the masks of the last training pass over this x (`Dropout`, ...). By default layers behave as in
        prediction.

    Returns
    -------
    Route

    Raises
    ------
    ValueError, TypeError
        If there is no such layer, neuron or sample (saying what exists), if x or y do not fit or hold NaN, with
        ``training=True`` if samples are coupled by batch statistics, or if there is no training pass to repeat.

    References
    ----------
    .. [1] Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323 (1986).
    .. [2] Griewank, Walther, "Evaluating Derivatives" (2008), section 3.1: forward and reverse accumulation.

    Examples
    --------
    The notes' own network and their route, input 1 - 3 - 2 - 2 - output 1:

    >>> import densenet as dn
    >>> model, loss, x, y = dn.datasets.notes_network()
    >>> route = dn.route(model, loss, x, y, layer=1, source=1, target=3)
    >>> route.name, route.element, route.n_paths
    ('w(1)_{1,3}', 'model.layers[0].W[0, 2]', 4)
    >>> path = route.path((1, 3, 2, 2, 1))
    >>> [factor.name for factor in path.factors][:4]
    ['a(0)_1', "f'(z(1)_3)", 'w(2)_{3,2}', "f'(z(2)_2)"]
    >>> sum(path.contribution for path in route.paths()) - route.gradient < 1e-15
    True
    >>> route.agrees
    True
    """
    subject = Subject("route", model, loss, x, y, sample=sample, training=bool(training))
    dense = dense_layer(subject.model, layer, "route")
    number = subject.model.dense_layers.index(dense) + 1
    array, index = weight_index(dense, number, source, target, "route")
    j = index[-1]
    i = None if array == "b" else index[0]

    error, delta = subject.gradients()
    gradient = float(getattr(dense, "d" + array)[index])
    total = absolute = 0.0
    for graph in _graphs(subject, subject.rows, delta):
        paths = Paths(graph.joined(), number, i, j)
        tangent = np.zeros(graph.columns[paths.start].values.shape)
        tangent[:, j] = paths.enters  # dz(l)_j/dw = a(l-1)_i
        total += float(graph.forward(paths.start, tangent).sum())
        absolute += paths.absolute
    own = subject.own_dtype_model() if subject.dtype != np.float64 else subject.model
    return Route(
        layer=number,
        source="bias" if i is None else i + 1,
        target=j + 1,
        sample=None if sample is None else subject.rows.start,
        training=subject.training,
        name=paths.name,
        element=f"{layer_place(subject.model, dense)}.{array}[{', '.join(map(str, index))}]",
        value=float(getattr(dense, array)[index]),
        error=error,
        gradient=gradient,
        total=total,
        training_gradient=float(getattr(own.dense_layers[number - 1], "d" + array)[index]),
        dtype=subject.dtype,
        absolute=absolute,
        n_paths=paths.count,
        _subject=subject,
        _paths=None if sample is None else paths,
    )


def _graphs(subject: Subject, rows: slice, delta: Array) -> Iterator[Graph]:
    """Graphs of these rows, as many rows at a time as fit into memory; `delta` belongs to the first of them on."""
    step = rows_at_once(subject)
    for start in range(rows.start, rows.stop, step):
        part = slice(start, min(rows.stop, start + step))
        yield trace(subject, part, delta[part.start - rows.start : part.stop - rows.start])


def _batch_graphs(subject: Subject, rows: slice) -> Iterator[Graph]:
    _, delta = subject.forward_backward(subject.model, rows)
    yield from _graphs(subject, rows, delta)


def _squares(graphs: Iterable[Graph]) -> tuple[list[Array], list[int], int]:
    """Sums over rows of the squared derivative of E by every column, the columns' widths, and the number of rows."""
    sums: list[Array] = []
    widths: list[int] = []
    rows = 0
    for graph in graphs:
        parts = [np.square(delta).sum(axis=0) for delta in graph.backward()]
        sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
        widths = [column.width for column in graph.columns]
        rows += len(graph.delta)
    return sums, widths, rows
