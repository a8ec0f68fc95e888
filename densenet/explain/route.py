"""Why one weight changed: the routes by which the error reaches it, the factors of each, and their sum.

dE/dw is a sum over all paths from the weight to the output, and each path's part is a product: the activation that
enters the weight, the slope of every neuron passed, the weight of every connection passed, and the derivative of E at
the output. Backpropagation has that sum without listing the paths; this module takes it apart again, and checks that
the parts make up what training uses.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from densenet.explain import route_text
from densenet.explain.notation import to_html, to_latex, to_text
from densenet.explain.paths import Paths
from densenet.explain.route_figures import RouteFigures, Stage, graphs
from densenet.explain.subject import Subject, dense_layer, layer_place, weight_index
from densenet.losses.base import Loss
from densenet.sequential import Sequential

__all__ = ["Route", "Stage", "route"]


class Route(RouteFigures):
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
    for graph in graphs(subject, subject.rows, delta):
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
        subject=subject,
        _paths=None if sample is None else paths,
    )
