"""Models as ONNX graphs, for other runtimes and languages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from densenet import layers
from densenet._files import replacing
from densenet._types import Array
from densenet.layers.base import Layer
from densenet.persistence.answers import random_rows
from densenet.sequential import Sequential

_OPSET, _IR_VERSION = 20, 9


def to_onnx(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Write the model's function as an ONNX graph: input ``x`` (n, n_in), output ``y`` (n, n_out), float32, any n.

    The graph computes what `predict` does: raw outputs, without the loss's link and without noise. Before the file is
    written, the graph is checked, and its outputs are compared with those of the model on random rows.

    Parameters
    ----------
    model : Sequential
        A float64 model is rounded to float32.
    path : path-like
        Usually ends in ``.onnx``.

    Raises
    ------
    TypeError
        If a layer has no ONNX form; your own layers have none.
    ArithmeticError
        If the graph's answers are not the model's.
    OSError
        If the file cannot be written; an old one is as it was.
    ImportError
        Without the extra ``[onnx]``.

    References
    ----------
    .. [1] ONNX operators, opset 20, https://onnx.ai/onnx/operators/

    Examples
    --------
    >>> import densenet as dn
    >>> path = getfixture("tmp_path") / "model.onnx"
    >>> dn.to_onnx(dn.mlp([4, 8, 3], seed=0), path)
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(path)
    >>> session.run(["y"], {"x": np.zeros((2, 4), np.float32)})[0].shape
    (2, 3)
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"to_onnx expects a Sequential, got {model!r}.")
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"to_onnx needs {error.name}: pip install '.[onnx]'") from None
    graph = _Graph(onnx)
    output = graph.chain(model.layers, "x")
    graph.nodes.append(onnx.helper.make_node("Identity", [output], ["y"]))
    kind = onnx.TensorProto.FLOAT
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "densenet",
            [onnx.helper.make_tensor_value_info("x", kind, ["n", model.n_in or "columns"])],
            [onnx.helper.make_tensor_value_info("y", kind, ["n", model.n_out or "outputs"])],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="densenet",
    )
    onnx.checker.check_model(made, full_check=True)
    content = made.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    _compare(model, lambda x: np.asarray(session.run(["y"], {"x": x})[0]))
    with replacing(path) as file:
        file.write(content)


def _compare(model: Sequential, run: Callable[[Array], Array]) -> None:
    """Raise ArithmeticError unless `run` gives the model's answers to float32 precision."""
    x = random_rows(model).astype(np.float32)
    exact = model.astype("float64").predict(x)
    rounding = float(np.abs(model.astype("float32").predict(x) - exact).max())
    allowed = max(10 * rounding, 1e-5 * float(np.abs(exact).max()), 1e-30)
    for rows in (len(x), 1):
        off = float(np.abs(run(x[:rows]) - exact[:rows]).max())
        if not off <= allowed:
            raise ArithmeticError(
                f"to_onnx: the graph's answers differ from the model's by {off:.3g}, more than rounding "
                f"explains ({allowed:.3g}). Nothing was written."
            )


class _Graph:
    """Nodes and constants of a graph that grows layer by layer; values have names."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def name(self) -> str:
        return f"v{len(self.nodes) + len(self.constants)}"

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = self.name()
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = self.name()
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def chain(self, chain: Sequence[Layer], x: str) -> str:
        for layer in chain:
            form = _FORMS.get(type(layer))
            if form is None:
                raise TypeError(f"to_onnx knows no ONNX form of {layer!r}.")
            x = form(self, layer, x)
        return x


def _operator(operator: str, **attributes: Any) -> Callable[[_Graph, Any, str], str]:
    """The form of a layer that is one operator; attributes given as text are the layer's own."""

    def form(graph: _Graph, layer: Any, x: str) -> str:
        given = {name: getattr(layer, value) if isinstance(value, str) else value for name, value in attributes.items()}
        return graph.node(operator, x, **given)

    return form


def _nothing(graph: _Graph, layer: Any, x: str) -> str:
    return x


def _dense(graph: _Graph, layer: Any, x: str) -> str:
    bias = [graph.constant(layer.b)] if layer.use_bias else []
    return graph.node("Gemm", x, graph.constant(layer.W), *bias)


def _prelu(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("PRelu", x, graph.constant(layer.a))


def _silu(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Mul", x, graph.node("Sigmoid", x))


def _hard_tanh(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Clip", x, graph.constant(-1.0), graph.constant(1.0))


def _exp(graph: _Graph, layer: Any, x: str) -> str:
    largest = np.log(np.finfo(np.float32).max) * (1 - 1e-6)
    return graph.node("Exp", graph.node("Min", x, graph.constant(largest)))


def _gaussian(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Exp", graph.node("Neg", graph.node("Mul", x, x)))


def _batch_norm(graph: _Graph, layer: Any, x: str) -> str:
    arrays = (layer.gamma, layer.beta, layer.running_mean, layer.running_var)
    return graph.node("BatchNormalization", x, *map(graph.constant, arrays), epsilon=layer.eps)


def _layer_norm(graph: _Graph, layer: Any, x: str) -> str:
    gamma, beta = graph.constant(layer.gamma), graph.constant(layer.beta)
    return graph.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=layer.eps)


def _rms_norm(graph: _Graph, layer: Any, x: str) -> str:
    eps = float(np.finfo(layer.gamma.dtype).eps) if layer.eps is None else layer.eps
    square = graph.node("ReduceMean", graph.node("Mul", x, x), graph.constant([1], np.int64), keepdims=1)
    root = graph.node("Sqrt", graph.node("Add", square, graph.constant(eps)))
    return graph.node("Mul", graph.node("Div", x, root), graph.constant(layer.gamma))


def _scale(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Mul", x, graph.constant(layer.s))


def _residual(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Add", x, graph.chain(layer.layers, x))


def _concatenate(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Concat", *(graph.chain(branch, x) for branch in layer.branches), axis=1)


def _robust_scale(graph: _Graph, layer: Any, x: str) -> str:
    z = graph.node("Mul", graph.node("Sub", x, graph.constant(layer.center)), graph.constant(layer.factor))
    third = graph.node("Div", z, graph.constant(3))
    square = graph.node("Add", graph.node("Mul", third, third), graph.constant(1))
    return graph.node("Div", z, graph.node("Sqrt", square))


def _periodic(graph: _Graph, layer: Any, x: str) -> str:
    last = graph.constant([2], np.int64)
    wide = graph.node("Unsqueeze", x, last)  # (rows, n, 1)
    phase = graph.node("Mul", wide, graph.constant(2 * np.pi * layer.f.astype(np.float64)))
    cosines = graph.node("Cos", graph.node("Add", phase, graph.constant(layer.c)))
    by_column = graph.node("Transpose", cosines, perm=[1, 0, 2])
    combined = graph.node("Transpose", graph.node("MatMul", by_column, graph.constant(layer.W)), perm=[1, 0, 2])
    joined = graph.node("Concat", graph.node("Add", combined, graph.constant(layer.b)), wide, axis=2)
    return graph.node("Reshape", joined, graph.constant([-1, layer.n_out], np.int64))


def _embedding(graph: _Graph, layer: Any, x: str) -> str:
    numbers = graph.node("Round", x)
    known = graph.node(
        "And",
        graph.node("Greater", numbers, graph.constant(0)),
        graph.node("Less", numbers, graph.constant(layer.sizes)),
    )
    kept = graph.node("Cast", graph.node("Where", known, numbers, graph.constant(0)), to=graph.onnx.TensorProto.INT64)
    starts = np.cumsum([0, *layer.sizes[:-1]])
    rows = graph.node("Add", kept, graph.constant(starts, np.int64))
    vectors = graph.node("Gather", graph.constant(layer.E), rows, axis=0)
    return graph.node("Reshape", vectors, graph.constant([-1, layer.n_out], np.int64))


def _columns(graph: _Graph, layer: Any, x: str) -> str:
    parts, at, axis = [], 0, graph.constant([1], np.int64)
    for branch, width in zip(layer.branches, layer.widths, strict=True):
        ends = [graph.constant([at], np.int64), graph.constant([at + width], np.int64)]
        parts.append(graph.chain(branch, graph.node("Slice", x, *ends, axis)))
        at += width
    return graph.node("Concat", *parts, axis=1)


def _blend(graph: _Graph, layer: Any, x: str) -> str:
    bend = graph.node("Sub", graph.chain([layer.function], x), x)
    return graph.node("Add", x, graph.node("Mul", bend, graph.constant(layer.a)))


def _clip(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Min", graph.node("Max", x, graph.constant(layer.low)), graph.constant(layer.high))


def _average(graph: _Graph, layer: Any, x: str) -> str:
    return graph.node("Mean", *(graph.chain(branch, x) for branch in layer.branches))


def _mixture(graph: _Graph, layer: Any, x: str) -> str:
    said = [graph.chain(branch, x) for branch in layer.branches]
    if layer.link is None:
        return graph.node("Mean", *said)
    if layer.link == "softmax":
        return _mean_of_probabilities(graph, [graph.node("LogSoftmax", z, axis=1) for z in said])
    yes = [graph.node("Neg", graph.node("Softplus", graph.node("Neg", z))) for z in said]
    no = [graph.node("Neg", graph.node("Softplus", z)) for z in said]
    return graph.node("Sub", _mean_of_probabilities(graph, yes), _mean_of_probabilities(graph, no))


def _mean_of_probabilities(graph: _Graph, log_p: list[str]) -> str:
    """log ((p_1 + ... + p_m) / m)."""
    top = graph.node("Max", *log_p)
    parts = [graph.node("Exp", graph.node("Sub", each, top)) for each in log_p]
    return graph.node("Add", top, graph.node("Log", graph.node("Mean", *parts)))


_FORMS: dict[type[Layer], Callable[[_Graph, Any, str], str]] = {
    layers.Dense: _dense,
    layers.Identity: _nothing,
    layers.Dropout: _nothing,
    layers.AlphaDropout: _nothing,
    layers.GaussianNoise: _nothing,
    layers.ReLU: _operator("Relu"),
    layers.LeakyReLU: _operator("LeakyRelu", alpha="negative_slope"),
    layers.PReLU: _prelu,
    layers.ELU: _operator("Elu", alpha="alpha"),
    layers.SELU: _operator("Selu"),
    layers.CELU: _operator("Celu", alpha="alpha"),
    layers.GELU: _operator("Gelu"),
    layers.SiLU: _silu,
    layers.Mish: _operator("Mish"),
    layers.Softplus: _operator("Softplus"),
    layers.Softsign: _operator("Softsign"),
    layers.Sigmoid: _operator("Sigmoid"),
    layers.Tanh: _operator("Tanh"),
    layers.HardTanh: _hard_tanh,
    layers.HardSigmoid: _operator("HardSigmoid", alpha=1 / 6, beta=0.5),
    layers.HardSwish: _operator("HardSwish"),
    layers.Exp: _exp,
    layers.Sine: _operator("Sin"),
    layers.Gaussian: _gaussian,
    layers.Softmax: _operator("Softmax", axis=1),
    layers.LogSoftmax: _operator("LogSoftmax", axis=1),
    layers.BatchNorm: _batch_norm,
    layers.LayerNorm: _layer_norm,
    layers.RMSNorm: _rms_norm,
    layers.Scale: _scale,
    layers.Residual: _residual,
    layers.Concatenate: _concatenate,
    layers.RobustScale: _robust_scale,
    layers.Periodic: _periodic,
    layers.Embedding: _embedding,
    layers.Columns: _columns,
    layers.Blend: _blend,
    layers.Clip: _clip,
    layers.Average: _average,
    layers.Mixture: _mixture,
}
