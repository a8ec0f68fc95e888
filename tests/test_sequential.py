from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

import densenet as dn


def chain(dtype="float64", seed=0):
    return dn.Sequential([dn.Dense(3, 5), dn.Tanh(), dn.Dense(5, 2)], seed=seed, dtype=dtype)


def everything(seed=0, dtype="float64"):
    """A model with a layer of every kind."""
    return dn.Sequential(
        [
            dn.Dense(4, 6, kernel_l2=0.01),
            dn.BatchNorm(6),
            dn.ReLU(),
            dn.Residual([dn.Dense(6, 6), dn.LayerNorm(6), dn.PReLU()]),
            dn.Dropout(0.2),
            dn.Concatenate([[], [dn.Dense(6, 3), dn.GELU()], [dn.RMSNorm(6), dn.Scale(6)]]),
            dn.GaussianNoise(0.1),
            dn.Dense(15, 3),
        ],
        seed=seed,
        dtype=dtype,
    )


X = np.random.default_rng(1).normal(size=(7, 4))


# -- flat vectors --------------------------------------------------------------------------------------------------


def test_layers_hold_views_in_order_of_the_chain():
    model = chain()
    first, second = model.dense_layers
    assert model.params.shape == (3 * 5 + 5 + 5 * 2 + 2,)
    assert_array_equal(model.params, np.concatenate([first.W.ravel(), first.b, second.W.ravel(), second.b]))
    for array in (first.W, first.b, second.W, second.b):
        assert np.shares_memory(array, model.params)
    for array in (first.dW, first.db, second.dW, second.db):
        assert np.shares_memory(array, model.grads)


def test_assignment_copies_values_in_and_checks_the_shape():
    model = chain()
    layer = model.dense_layers[0]
    view = layer.W
    layer.W = np.arange(15).reshape(3, 5)
    assert layer.W is view
    assert model.params[14] == 14
    model.params = np.arange(32)
    assert layer.b.tolist() == [15, 16, 17, 18, 19]
    with pytest.raises(ValueError, match=r"Dense\.W expects shape \(3, 5\), got \(5, 3\)\."):
        layer.W = np.zeros((5, 3))
    with pytest.raises(TypeError, match=r"Dense\.b expects real numbers, got dtype complex128"):
        layer.b = np.zeros(5, complex)
    with pytest.raises(ValueError, match=r"Sequential\.params expects shape \(32,\), got \(31,\)"):
        model.params = np.zeros(31)


def test_a_layer_without_a_model_says_so():
    with pytest.raises(RuntimeError, match=r"Dense\(3, 2\) has no W yet.*Put the layer into Sequential"):
        _ = dn.Dense(3, 2).W


def test_the_seed_sets_the_weights():
    assert_array_equal(chain(seed=3).params, chain(seed=3).params)
    assert (chain(seed=3).params != chain(seed=4).params).any()


# -- the equations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (1, 4, 1), (5, 3, 2), (4, 7, 6)])
@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "ReLU"])
def test_forward_and_backward_equal_plain_loops(shape, name):
    n, n_in, n_out = shape
    rng = np.random.default_rng(0)
    model = dn.Sequential([dn.Dense(n_in, 3), getattr(dn, name)(), dn.Dense(3, n_out)], seed=0, dtype="float64")
    x, target = rng.normal(size=(n, n_in)), rng.normal(size=(n, n_out))
    first, second = model.dense_layers
    z1 = reference.dense(x, first.W, first.b)
    h = [[reference.ACTIVATIONS[name](v) for v in row] for row in z1.tolist()]
    out = reference.dense(h, second.W, second.b)
    assert_allclose(model.forward(x), out, rtol=1e-12, atol=1e-14)

    loss = dn.HalfSquaredError()
    loss.forward(model.forward(x), target)
    dx = model.backward(loss.backward())

    def error(which):
        def evaluate(values):
            arrays = {"W1": first.W, "b1": first.b, "W2": second.W, "b2": second.b, "x": x} | {which: values}
            hidden = reference.dense(arrays["x"], arrays["W1"], arrays["b1"])
            active = [[reference.ACTIVATIONS[name](v) for v in row] for row in hidden.tolist()]
            return reference.LOSSES["HalfSquaredError"](
                reference.dense(active, arrays["W2"], arrays["b2"]), target, None
            )

        return evaluate

    for which, values, gradient in (
        ("W1", first.W, first.dW),
        ("b1", first.b, first.db),
        ("W2", second.W, second.dW),
        ("b2", second.b, second.db),
        ("x", x, dx),
    ):
        expected = reference.complex_step_gradient(error(which), values)
        assert_allclose(gradient, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))


def test_inputs_are_never_written():
    model = everything()
    x, delta = X.copy(), np.random.default_rng(2).normal(size=(7, 3))
    kept_x, kept_delta = x.copy(), delta.copy()
    model.forward(x)
    model.backward(delta)
    model.predict(x)
    model.activations(x)
    assert_array_equal(x, kept_x)
    assert_array_equal(delta, kept_delta)


def test_what_callers_get_is_fresh():
    model = chain()
    x = X[:, :3]
    first = model.forward(x)
    kept = first.copy()
    model.forward(x + 1)
    assert_array_equal(first, kept)
    dx = model.backward(first)
    kept = dx.copy()
    model.backward(2 * first)
    assert_array_equal(dx, kept)
    assert not any(np.shares_memory(a, b) for a, b in zip(model.activations(x), model.activations(x), strict=True))


def test_changing_x_between_forward_and_backward_changes_nothing():
    model, x = chain(), X[:, :3].copy()
    delta = np.ones_like(model.forward(x))
    model.backward(delta)
    kept = model.grads.copy()
    model.forward(x)
    x += 1
    model.backward(delta)
    assert_array_equal(model.grads, kept)


def test_backward_twice_gives_the_same():
    model = everything()
    delta = np.ones((7, 3))
    model.forward(X)
    a = model.backward(delta), model.grads.copy()
    b = model.backward(delta), model.grads.copy()
    assert_array_equal(a[0], b[0])
    assert_array_equal(a[1], b[1])


def test_smaller_and_larger_batches_take_turns():
    model = everything()
    for rows in (7, 3, 1, 7, 5):
        other = everything()
        assert_allclose(model.forward(X[:rows], training=False), other.forward(X[:rows], training=False), rtol=1e-12)
        assert_allclose(model.backward(np.ones((rows, 3))), other.backward(np.ones((rows, 3))), rtol=1e-10, atol=1e-14)


# -- inference -----------------------------------------------------------------------------------------------------


def test_predict_equals_forward_without_training():
    model = everything()
    model.forward(X)
    assert_allclose(model.predict(X), model.forward(X, training=False), rtol=1e-12)
    assert_allclose(model.predict(X, batch_size=2), model.predict(X), rtol=1e-12)
    assert_allclose(model.activations(X)[-1], model.predict(X), rtol=1e-12)
    assert len(model.activations(X)) == len(model.layers)


def test_predict_leaves_no_trace():
    model = everything()
    delta = np.ones_like(model.forward(X))
    model.backward(delta)
    grads = model.grads.copy()
    state = pickle.dumps(model)
    model.predict(X + 1)
    model.activations(X + 1)
    assert pickle.dumps(model) == state
    model.backward(delta)
    assert_array_equal(model.grads, grads)


def test_many_threads_predict_as_one():
    model = dn.mlp([20, 64, 5], seed=0)
    x = np.random.default_rng(0).normal(size=(300, 20)).astype("f")
    parts = [x[i::6] for i in range(6)]
    with dn.threads(1):
        serial = [model.predict(part) for part in parts]
        answers: list[list[np.ndarray]] = [[] for _ in parts]

        def work(i):
            for _ in range(30):
                answers[i].append(model.predict(parts[i]))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(parts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for expected, given in zip(serial, answers, strict=True):
        assert len(given) == 30
        assert all(np.array_equal(expected, answer) for answer in given)


def test_a_memory_map_is_read_in_place(tmp_path):
    raw = np.memmap(tmp_path / "x.bin", dtype=np.uint8, mode="w+", shape=(500, 3))
    raw[...] = np.random.default_rng(0).integers(0, 255, raw.shape)
    model = chain()
    assert_array_equal(model.predict(raw, batch_size=100), model.predict(np.asarray(raw, float), batch_size=100))


@pytest.mark.parametrize(
    "turn",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[::-1][::-1],
        lambda x: x.astype(">f8"),
        lambda x: x.tolist(),
        lambda x: np.array(x, np.longdouble),
    ],
)
def test_any_layout_gives_the_same(turn):
    model, x = chain(), X[:, :3]
    assert_array_equal(model.predict(turn(x)), model.predict(x))
    readonly = x.copy()
    readonly.flags.writeable = False
    assert_array_equal(model.predict(readonly), model.predict(x))


def test_small_ints_bools_and_half_floats_are_converted():
    model = chain()
    for dtype in (bool, np.int8, np.uint8, np.float16):
        x = np.array([[0, 1, 1], [1, 0, 1]], dtype)
        assert_array_equal(model.predict(x), model.predict(x.astype(float)))


# -- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same_and_are_independent(turn):
    model = everything()
    model.forward(X)
    other = turn(model)
    assert_array_equal(other.predict(X), model.predict(X))
    assert_array_equal(other.forward(X), model.forward(X))  # the generators travel, so the same noise
    assert all(np.shares_memory(layer.W, other.params) for layer in other.dense_layers)
    other.params += 1
    assert not np.array_equal(other.predict(X), model.predict(X))


def test_caches_stay_out_of_pickles():
    model = dn.mlp([50, 50, 2], seed=0)
    before = len(pickle.dumps(model))
    model.forward(np.ones((2000, 50)))
    assert len(pickle.dumps(model)) == before


def test_astype_keeps_weights_marks_and_statistics():
    model = everything(dtype="float32")
    model.dense_layers[0].freeze("b")
    model.forward(X)
    other = model.astype("float64")
    assert other.params.dtype == np.float64
    assert_array_equal(other.params.astype("f"), model.params)
    assert_array_equal(other.layers[1].running_mean.astype("f"), model.layers[1].running_mean)
    assert other.layers[1].running_mean.dtype == np.float64
    assert not other.dense_layers[0].marks["b"].trainable


# -- marks ---------------------------------------------------------------------------------------------------------


def test_marks_become_flat_vectors():
    model = chain()
    assert model.marks.rate is None
    assert model.marks.decay.sum() == 3 * 5 + 5 * 2
    model.dense_layers[0].freeze("W").set_rate(0.5, "b")
    rate = model.marks.rate
    assert (rate[:15] == 0).all()
    assert (rate[15:20] == 0.5).all()
    assert (rate[20:] == 1).all()
    model.dense_layers[0].unfreeze().set_rate(1)
    assert model.marks.rate is None
    with pytest.raises(ValueError, match=r"Dense\(3, 5\) has no parameter 'c'; it has \['W', 'b'\]"):
        model.dense_layers[0].freeze("c")
    with pytest.raises(ValueError, match="set_rate expects a finite factor of at least 0, got -1"):
        model.dense_layers[0].set_rate(-1)


def test_freezing_a_container_freezes_what_is_inside():
    model = everything()
    model.layers[3].freeze()
    assert not any(m.trainable for layer in model.layers[3].walk() for m in layer.marks.values())


# -- construction --------------------------------------------------------------------------------------------------


def test_widths_that_do_not_fit_name_both_layers():
    with pytest.raises(
        ValueError, match=r"layer 2, Dense\(4, 1\), expects 4 columns, but layer 0, Dense\(2, 3\), gives 3"
    ):
        dn.Sequential([dn.Dense(2, 3), dn.ReLU(), dn.Dense(4, 1)])
    with pytest.raises(ValueError, match=r"Residual: layer 1.*expects 5 columns"):
        dn.Residual([dn.Dense(2, 3), dn.Dense(5, 2)])
    with pytest.raises(ValueError, match="Residual expects f to give as many columns as it takes, got 2 to 3"):
        dn.Residual([dn.Dense(2, 3)])
    with pytest.raises(ValueError, match=r"Concatenate expects branches that take the same columns, got \[2, 3\]"):
        dn.Concatenate([[dn.Dense(2, 3)], [dn.Dense(3, 2)]])
    with pytest.raises(ValueError, match=r"expects 3 columns.*gives 7"):
        dn.Sequential([dn.Dense(4, 4), dn.Concatenate([[], [dn.Dense(4, 3)]]), dn.Dense(3, 1)])


def test_a_layer_belongs_to_one_model():
    layer = dn.Dense(2, 2)
    with pytest.raises(ValueError, match=r"Dense\(2, 2\) stands twice in the model"):
        dn.Sequential([layer, layer])
    dn.Sequential([layer])
    with pytest.raises(ValueError, match=r"Dense\(2, 2\) belongs to another model"):
        dn.Sequential([layer])


def test_a_failed_construction_leaves_the_layers_free():
    layer = dn.Dense(2, 2)
    with pytest.raises(ValueError, match="expects 3 columns"):
        dn.Sequential([layer, dn.Dense(3, 1)])
    dn.Sequential([layer])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dn.Sequential([]), ValueError, "at least one layer"),
        (lambda: dn.Sequential(dn.Dense(1, 1)), TypeError, r"write Sequential\(\[\.\.\.\]\)"),
        (lambda: dn.Sequential([dn.ReLU]), TypeError, "add parentheses"),
        (lambda: dn.Sequential(["relu"]), TypeError, "entry 0 is 'relu', not a Layer"),
        (lambda: dn.Sequential([dn.ReLU()], dtype="float16"), ValueError, 'expects dtype "float32" or "float64"'),
        (lambda: dn.Sequential([dn.ReLU()], seed="a"), ValueError, "expects seed to be a whole number"),
        (lambda: dn.Sequential([dn.ReLU()], seed=-1), ValueError, "expects seed to be a whole number"),
        (lambda: dn.Dense(0, 1), ValueError, "n_in to be a whole number of at least 1, got 0"),
        (lambda: dn.Dense(2.5, 1), ValueError, r"n_in to be a whole number of at least 1, got 2\.5"),
        (lambda: dn.Dense(1, True), ValueError, "n_out to be a whole number of at least 1, got True"),
        (lambda: dn.Dense(1, 1, kernel_l2=-1), ValueError, "kernel_l2 to be a finite number of at least 0, got -1"),
        (lambda: dn.Dense(1, 1, max_norm=float("nan")), ValueError, "max_norm"),
        (lambda: dn.Dense(1, 1, kernel_initializer="glorot"), ValueError, "knows no initializer 'glorot'"),
        (lambda: dn.mlp([3]), ValueError, "at least two widths"),
        (lambda: dn.mlp([3, 4, 1], activation=["relu", "tanh"]), ValueError, "one activation for each of 1 hidden"),
        (lambda: dn.mlp([3, 4, 1], activation="rulu"), ValueError, "'rulu'"),
        (lambda: dn.mlp([3, 4, 4, 1], activation=dn.ReLU()), ValueError, "pass its class or its name"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((32, 63)), ValueError, r"Dense expects x of shape \(n, 64\), got \(32, 63\)\."),
        (np.zeros(64), ValueError, r"Dense expects x of shape \(n, 64\), got \(64,\)\. One row is x\[None, :\]"),
        (np.zeros((2, 64, 1)), ValueError, r"got \(2, 64, 1\)"),
        (np.zeros((0, 64)), ValueError, "at least one row"),
        (np.zeros((3, 0)), ValueError, r"expects x of shape \(n, 64\), got \(3, 0\)"),
        (np.full((3, 64), "a"), TypeError, "expects x to be real numbers, got dtype <U1"),
        (np.full((3, 64), None), TypeError, "got dtype object"),
        (np.zeros((3, 64), complex), TypeError, "got dtype complex128"),
        (np.ma.masked_array(np.zeros((3, 64)), mask=False), ValueError, "masked array"),
        ([[1.0, 2.0], [3.0]], ValueError, "rectangular"),
    ],
)
def test_bad_input(x, error, message):
    model = dn.mlp([64, 2])
    for method in (model.forward, model.predict, model.activations):
        with pytest.raises(error, match=message):
            method(x)


def test_predict_names_the_row_and_column_that_is_not_finite():
    model = dn.mlp([3, 2])
    for bad, shown in ((np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")):
        x = np.zeros((200, 3))
        x[150, 2] = bad
        with pytest.raises(ValueError, match=rf"x holds {shown} at row 150, column 2"):
            model.predict(x, batch_size=100)


def test_backward_needs_a_forward_of_the_same_shape():
    model = chain()
    with pytest.raises(RuntimeError, match=r"Dense\.backward needs a forward pass first"):
        model.backward(np.ones((2, 2)))
    model.forward(X[:, :3])
    with pytest.raises(ValueError, match=r"expects delta of shape \(7, 2\), the output's, got \(6, 2\)"):
        model.backward(np.ones((6, 2)))


# -- display -------------------------------------------------------------------------------------------------------


def test_summary_numbers_dense_layers_depth_first():
    summary = everything().summary()
    numbers = [(row[0].strip(), row[1]) for row in summary.rows if row[1]]
    assert [n for _, n in numbers] == ["1", "2", "3", "4"]
    assert numbers[1][0] == "Dense(6, 6)"
    assert sum(int(row[3].replace(",", "")) for row in summary.rows) == everything().params.size
    assert "Concatenate:" in str(summary)
    assert "(n, 15)" in str(summary)
    assert summary._repr_html_().count("<tr>") == len(summary.rows) + 1


def test_summary_counts_what_is_frozen():
    model = chain()
    model.dense_layers[0].freeze()
    assert "32 parameters, 12 trainable" in str(model.summary())


def test_repr_can_be_read_back():
    model = dn.Sequential([dn.Dense(2, 3, use_bias=False), dn.LeakyReLU(), dn.Dense(3, 1)], dtype="float64")
    made = eval(repr(model), vars(dn))
    assert repr(made) == repr(model)


def test_max_norm_limits_columns_after_a_step():
    model = dn.Sequential([dn.Dense(3, 2, max_norm=0.5)], dtype="float64")
    model.layers[0].W = [[3.0, 0.1], [4.0, 0.1], [0.0, 0.1]]
    kept = model.layers[0].W[:, 1].copy()
    model.constrain()
    assert_allclose(model.layers[0].W[:, 0], [0.3, 0.4, 0.0], rtol=1e-15)
    assert_array_equal(model.layers[0].W[:, 1], kept)


def test_penalties_and_their_gradients():
    model = dn.Sequential([dn.Dense(2, 1, kernel_l1=0.1, kernel_l2=0.01)], dtype="float64")
    model.layers[0].W = [[2.0], [-3.0]]
    assert_allclose(model.penalty(), 0.1 * 5 + 0.01 * 13, rtol=1e-14)
    model.grads[...] = 0
    model.add_penalty_gradients()
    assert_allclose(model.layers[0].dW, [[0.1 + 0.04], [-0.1 - 0.06]], rtol=1e-14)


def test_a_container_marks_the_layers_that_have_the_parameter():
    block = dn.Residual([dn.Dense(4, 4), dn.Tanh(), dn.Dense(4, 4, use_bias=False)])
    model = dn.Sequential([block], dtype="float64")
    block.freeze("b")
    first, second = model.dense_layers
    assert not first.marks["b"].trainable
    assert first.marks["W"].trainable
    assert second.marks["W"].trainable
    with pytest.raises(ValueError, match="holds no layer with a parameter 'gamma'"):
        block.freeze("gamma")


# -- the model's layers --------------------------------------------------------------------------------------------


def test_a_model_is_a_sequence_of_its_layers():
    model = everything()
    assert len(model) == len(model.layers)
    assert [model[i] for i in range(len(model))] == list(model) == list(model.layers)
    assert model[-1] is model.layers[-1]
    with pytest.raises(IndexError):
        model[len(model)]
    assert model[:-1] == model.layers[:-1]


def test_every_layer_has_containers_before_what_is_inside():
    inner = dn.Dense(2, 2)
    around = dn.Residual([inner])
    first, branch = dn.Dense(2, 2), dn.Tanh()
    split = dn.Concatenate([[], [branch]])
    assert dn.Sequential([first, around, split]).every_layer == (first, around, inner, split, branch)


def test_whether_a_model_is_penalised_or_constrained():
    plain, inside = dn.mlp([2, 1]), dn.Sequential([dn.Residual([dn.Dense(2, 2, kernel_l2=0.1, max_norm=1.0)])])
    assert (plain.penalised, plain.constrained) == (False, False)
    assert (inside.penalised, inside.constrained) == (True, True)


def test_a_layer_pickled_by_an_earlier_version_keeps_its_generator():
    generator = np.random.default_rng(3)
    layer = dn.Dropout.__new__(dn.Dropout)
    layer.__setstate__({"rate": 0.5, "_rng": generator})
    assert layer.generator is generator
    assert pickle.loads(pickle.dumps(layer)).generator.random() == np.random.default_rng(3).random()


def test_layers_say_what_they_give():
    given = {"Softmax": "probabilities", "Sigmoid": "probabilities", "HardSigmoid": "probabilities"}
    given |= {"Gaussian": "probabilities", "LogSoftmax": "log-probabilities"}
    for cls in vars(dn.layers).values():
        if isinstance(cls, type) and issubclass(cls, dn.Layer):
            assert cls.gives == given.get(cls.__name__, "values"), cls
    assert dn.Concatenate([[dn.Sigmoid()], [dn.Tanh(), dn.Sigmoid()]]).gives == "probabilities"
    assert dn.Concatenate([[dn.Sigmoid()], []]).gives == "values"
    assert dn.Residual([dn.Sigmoid()]).gives == "values"
