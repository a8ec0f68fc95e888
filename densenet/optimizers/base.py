"""The base of optimizers: a rule that moves a vector of parameters against its gradient.

Every rule here has the form w <- w - c u, where u is made of the gradient and of vectors that the optimizer keeps.
It sees flat vectors, not layers. Settings of single parameters (frozen, undecayed, another rate) come as vectors, the
`Marks`. Long vectors are worked through in parts that stay in the cache.
"""

from __future__ import annotations

import gc
import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from densenet._blas import products
from densenet._config import Configured
from densenet._memory import without_caches
from densenet._types import Array
from densenet._validation import is_number, nonnegative_int
from densenet.optimizers.schedules import Schedule

CHUNK_BYTES = 1 << 18
"""Of each vector, worked on at a time: what a rule touches stays in the cache."""
SWEEP = 128
"""Steps from one sweep of the fading vectors to the next."""


@dataclass(frozen=True)
class Marks:
    """How the optimizer treats each parameter, as flat vectors; None stands for all ones.

    An optimizer looks at them when it first meets the object: make new Marks instead of writing into the vectors.

    Attributes
    ----------
    rate : ndarray (n,) or None
        Factor of the whole update, decay included. Where it is 0 the parameter is frozen: it and the optimizer's
        vectors for it keep their bits. Frozen parameters come in stretches (a layer's arrays); every stretch between
        them is worked on by itself.
    decay : ndarray (n,) or None
        1 where `weight_decay` acts, 0 where not.

    Examples
    --------
    >>> import numpy as np
    >>> import densenet as dn
    >>> w, marks = np.array([1.0, 1.0, 1.0]), dn.optimizers.Marks(rate=np.array([1.0, 0.5, 0.0]))
    >>> dn.SGD(learning_rate=0.1).step(w, np.array([1.0, 1.0, 1.0]), marks)
    >>> w
    array([0.9 , 0.95, 1.  ])
    """

    rate: Array | None = None
    decay: Array | None = None


class _Part(NamedTuple):
    """Views of one stretch of the vectors."""

    p: Array
    g: Array
    work: Array
    shrunk: Array
    vectors: dict[str, Array]
    rate: Array | None
    decay: Array | None
    decayed: bool


class Optimizer(Configured, ABC):
    """A rule w <- w - c u on flat vectors.

    An optimizer of your own gives the direction u and its factor c, and names the vectors it keeps (at first 0)::

        class SignedMomentum(dn.Optimizer):                # m <- 0.9 m + g,  w <- w - alpha sign(m)
            slots = ("m",)

            def direction(self, g, work, vectors, alpha):
                m = vectors["m"]
                m *= 0.9
                m += g
                return np.sign(m, out=work), alpha

    A constructor of your own sets `learning_rate` and keeps its other arguments under their own names: `repr`, copies
    and model files read them there.

    Parameters
    ----------
    learning_rate : float or Schedule
        alpha; may be set anew between steps.

    Attributes
    ----------
    rate : float
        alpha of the next step.
    steps : int
        Steps done.
    weight_decay : float
        lambda; 0 where the rule has none.
    """

    slots: tuple[str, ...] = ()
    """Names of the vectors that are kept from step to step."""
    _shown_always: ClassVar[tuple[str, ...] | None] = ("learning_rate",)
    scratch: ClassVar[tuple[str, ...]] = ()
    """Names of further working vectors that `direction` needs beside `work`."""
    fading: ClassVar[tuple[str, ...]] = ()
    """Kept vectors whose entries fade away where the gradient stays 0, as a dead neuron's does. What has come close to
    the smallest float is set to 0 now and then: below it, processors take a hundred times as long for every product."""
    numbers: ClassVar[tuple[str, ...]] = ()
    """Names of numbers that are kept beside the vectors."""
    decoupled: ClassVar[bool] = False
    """Whether weight decay shrinks the weights, w <- w - alpha lambda w, instead of joining the gradient."""

    weight_decay: float = 0.0
    steps: int = 0

    _learning_rate: float | Schedule
    _state: dict[str, Array] | None = None
    _owner: weakref.ref[Any] | None = None
    _seen: tuple[Array | None, Array | None, Marks | None] = (None, None, None)
    _parts: list[_Part]
    _scalars: dict[str, Array]
    _dtype: np.dtype[Any]
    _axpy: Any
    _add_scaled: Callable[[Array, Array, float], None]
    _mix: Callable[[Array, Array, float, float], None]

    def __init__(self, learning_rate: float | Schedule) -> None:
        self.learning_rate = learning_rate

    # -- the rate ----------------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float | Schedule:
        """alpha, or the schedule it follows."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        if isinstance(value, Schedule):
            self._learning_rate = value
        elif is_number(value) and math.isfinite(value) and value > 0:
            self._learning_rate = float(value)
        else:
            raise ValueError(
                f"{type(self).__name__} expects learning_rate to be a finite number above 0 or a Schedule, "
                f"got {value!r}."
            )

    @property
    def rate(self) -> float:
        """alpha of the next step."""
        alpha = self._learning_rate
        if type(alpha) is not float and isinstance(alpha, Schedule):  # asking an abstract class takes time
            schedule, alpha = alpha, alpha(self.steps)
            if not 0 <= alpha < math.inf:
                raise ValueError(
                    f"{type(self).__name__} expects a schedule to give a finite rate of at least 0, but {schedule!r} "
                    f"gives {alpha!r} after {self.steps} steps."
                )
        return alpha

    # -- the rule ----------------------------------------------------------------------------------------------

    @abstractmethod
    def direction(self, g: Array, work: Array, vectors: dict[str, Array], alpha: float) -> tuple[Array, float]:
        """u and c for one part of the vector: the update is w <- w - c u.

        Parameters
        ----------
        g : ndarray
            dE/dw, with coupled decay; it must not be written.
        work : ndarray
            Scratch of the same size; u may be it.
        vectors : dict of ndarray
            The same part of the kept vectors (to be updated in place) and of further scratch, by name.
        alpha : float
            The rate of this step.

        Returns
        -------
        (ndarray, float)
            u and c.
        """

    def begin_step(self) -> None:
        """Compute what depends on `steps` alone (1 at the first), before `direction` is called for every part."""

    def start(self, vectors: dict[str, Array]) -> None:
        """Fill kept vectors that do not start at 0."""

    def step(self, params: Array, grads: Array, marks: Marks | None = None) -> None:
        """Move `params` in place.

        Parameters
        ----------
        params, grads : ndarray (n,)
            Both float32 or both float64, `params` contiguous; `grads` is not written.
        marks : Marks, optional
            Frozen, undecayed and differently rated parameters; without them all are treated alike.

        Raises
        ------
        TypeError
            If `params` or `grads` is no NumPy array.
        ValueError
            If the vectors' shapes or dtypes differ, or are not the same as in the steps before; if a schedule gives a
            negative or infinite rate, or NaN.
        """
        seen = self._seen
        if params is not seen[0] or grads is not seen[1] or marks is not seen[2]:
            self._meet(params, grads, marks)
        alpha = self._learning_rate if type(self._learning_rate) is float else self.rate
        self.steps += 1
        self.begin_step()
        for p, g, work, shrunk, vectors, rate, decay, decayed in self._parts:
            if decayed and self.weight_decay:
                if self.decoupled:
                    self._shrink(p, shrunk, rate, decay, alpha)
                else:
                    np.multiply(p, self._scalar("lambda", self.weight_decay), out=shrunk)
                    if decay is not None:
                        np.multiply(shrunk, decay, out=shrunk)
                    g = np.add(g, shrunk, out=shrunk)  # g <- g + lambda w
            u, c = self.direction(g, work, vectors, alpha)
            if rate is not None:
                u = np.multiply(u, rate, out=work)
            self._axpy(u, p, None, -c)  # w <- w - c u
        if self.steps % SWEEP == 0 and self.fading:
            self._sweep()

    def _sweep(self) -> None:
        floor = self._scalar("floor", 1e8 * float(np.finfo(self._dtype).tiny))
        for part in self._parts:
            for vector in (part.vectors[name] for name in self.fading if name in part.vectors):
                self.sweep(vector, floor, part.work)

    def sweep(self, vector: Array, floor: Array, work: Array) -> None:
        """Replace entries that have faded near the smallest floats: here, by 0.

        Parameters
        ----------
        vector : ndarray
            Part of a vector named in `fading`.
        floor : ndarray ()
            Entries below it in size have faded.
        work : ndarray
            Scratch of the same size.
        """
        np.abs(vector, out=work)
        np.greater_equal(work, floor, out=work)
        np.multiply(vector, work, out=vector)  # 0 where it was below the floor

    def _shrink(self, p: Array, shrunk: Array, rate: Array | None, decay: Array | None, alpha: float) -> None:
        np.copyto(shrunk, p)
        for factor in (rate, decay):
            if factor is not None:
                np.multiply(shrunk, factor, out=shrunk)
        self._add_scaled(shrunk, p, -alpha * self.weight_decay)  # w <- w - alpha lambda w: 1 - alpha lambda would round

    def _scalar(self, name: str, value: float) -> Array:
        """A number as a 0-d array of the vectors' dtype: ufuncs take it in half the time of a float."""
        kept = self._scalars.get(name)
        if kept is None:
            kept = self._scalars[name] = np.empty((), self._dtype)
        kept.fill(value)
        return kept

    # -- the vectors -------------------------------------------------------------------------------------------

    def vectors(self, params: Array, grads: Array, marks: Marks | None = None) -> dict[str, Array]:
        """The kept vectors for these parameters, by name: the optimizer's own arrays, made when it first meets them.

        Parameters
        ----------
        params, grads, marks
            As in `step`.

        Raises
        ------
        TypeError, ValueError
            As `step` does.
        """
        seen = self._seen
        if params is not seen[0] or grads is not seen[1] or marks is not seen[2]:
            self._meet(params, grads, marks)
        return dict(self._state or {})

    def _meet(self, params: Array, grads: Array, marks: Marks | None) -> None:
        """Check vectors that are new since the last step, and split everything into parts."""
        self._check(params, grads, marks)
        if self._state is None:
            self._state = {slot: np.zeros(params.shape, params.dtype) for slot in self.slots}
            self.start(self._state)
        blas = products(params.dtype)
        self._dtype, self._scalars = params.dtype, {}
        self._axpy, self._add_scaled, self._mix = blas.axpy, blas.add_scaled, blas.mix
        whole = not self.slots and not self.weight_decay
        length = params.size if whole else min(params.size, CHUNK_BYTES // params.itemsize)
        work, shrunk, *scratch = (np.empty(length, params.dtype) for _ in range(2 + len(self.scratch)))
        rates, decays = (None, None) if marks is None else (marks.rate, marks.decay)
        self._parts = []
        for part in stretches(params.size, rates, length):
            n = part.stop - part.start
            vectors = {slot: kept[part] for slot, kept in self._state.items()}
            vectors |= {name: array[:n] for name, array in zip(self.scratch, scratch, strict=True)}
            rate, decay = (None if v is None or (v[part] == 1).all() else v[part] for v in (rates, decays))
            decayed = decay is None or bool(decay.any())
            self._parts.append(_Part(params[part], grads[part], work[:n], shrunk[:n], vectors, rate, decay, decayed))
        self._seen = (params, grads, marks)

    def _check(self, params: Array, grads: Array, marks: Marks | None) -> None:
        who = type(self).__name__
        for name, array in (("params", params), ("grads", grads)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{who}.step expects {name} to be a NumPy array, got {type(array).__name__}.")
        if params.ndim != 1 or params.dtype not in (np.float32, np.float64) or not params.flags.carray:
            raise ValueError(
                f"{who}.step moves params in place: it expects a contiguous, writeable vector of float32 or float64, "
                f"got shape {params.shape}, {params.dtype}, {_layout(params)}."
            )
        if grads.shape != params.shape or grads.dtype != params.dtype:
            raise ValueError(
                f"{who}.step expects grads like params, {params.shape} {params.dtype}, got {grads.shape} {grads.dtype}."
            )
        for name, mark in () if marks is None else (("rate", marks.rate), ("decay", marks.decay)):
            if mark is not None and (mark.shape != params.shape or mark.dtype != params.dtype):
                raise ValueError(
                    f"{who}.step expects marks.{name} like params, {params.shape} {params.dtype}, got {mark.shape} "
                    f"{mark.dtype}."
                )
        for slot, kept in (self._state or {}).items():
            if kept.shape != params.shape or kept.dtype != params.dtype:
                raise ValueError(
                    f"{who} has kept {slot} of {kept.size} parameters, {kept.dtype}, got {params.size}, "
                    f"{params.dtype}: make a new optimizer for another vector."
                )

    # -- the state ---------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget the steps and the kept vectors; the learning rate stays as it is.

        Examples
        --------
        >>> import numpy as np
        >>> import densenet as dn
        >>> optimizer = dn.SGD(learning_rate=0.1, momentum=0.9)
        >>> optimizer.step(np.zeros(2), np.ones(2))
        >>> optimizer.reset()
        >>> optimizer.steps, list(optimizer.state_dict())
        (0, ['steps', 'learning_rate'])
        """
        fresh = type(self)(**self.config())
        self.steps, self._state, self._seen, self._owner = 0, None, (None, None, None), None
        for name in self.numbers:
            setattr(self, name, getattr(fresh, name))

    def attach(self, model: object) -> None:
        """Work for this model from now on; a Trainer calls it before its steps.

        Steps and vectors that were kept for a model that is gone are forgotten. A copy and a loaded state belong to
        the first model that they meet.

        Raises
        ------
        ValueError
            If steps and vectors are kept for another model that is still there.
        """
        if self._owner is not None:
            if self._owner() is model:
                return
            if self.steps:
                self._forget_a_model_that_is_gone()
        self._owner = weakref.ref(model)

    def _forget_a_model_that_is_gone(self) -> None:
        if self._owner is not None and self._owner() is not None:
            gc.collect()  # a model's layers refer to it: that it is gone shows only now
            if self._owner() is not None:
                raise ValueError(
                    f"{self!r} keeps {self.steps} steps of another model: give this Trainer a new optimizer or "
                    "copy.deepcopy(optimizer), or call optimizer.reset() first."
                )
        self.reset()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, besides the constructor's other arguments.

        Returns
        -------
        dict
            ``steps``, ``learning_rate`` (a float or the Schedule), the rule's numbers, and copies of the kept vectors
            (none before the first step), by name.

        Examples
        --------
        >>> import numpy as np
        >>> import densenet as dn
        >>> optimizer = dn.SGD(learning_rate=0.1, momentum=0.9)
        >>> optimizer.step(np.zeros(2), np.array([1.0, 2.0]))
        >>> optimizer.state_dict()
        {'steps': 1, 'learning_rate': 0.1, 'v': array([1., 2.])}
        """
        numbers = {name: getattr(self, name) for name in ("steps", "learning_rate", *self.numbers)}
        return numbers | {slot: kept.copy() for slot, kept in (self._state or {}).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take `state_dict`'s values back, by copy; all of them or, on an error, none.

        Raises
        ------
        ValueError
            If it is not the state of an optimizer like this one, or of vectors of another size than those kept here.
        """
        who = type(self).__name__
        named = {"steps", "learning_rate", *self.numbers}
        if set(state) not in (named, named | set(self.slots)):
            raise ValueError(f"{who} expects a state with {sorted(named | set(self.slots))}, got {sorted(state)}.")
        arrays = None
        if self.slots and self.slots[0] in state:
            arrays = {slot: np.array(state[slot], order="C") for slot in self.slots}
            like = next(iter((self._state or arrays).values()))
            for slot, array in arrays.items():
                if array.ndim != 1 or array.shape != like.shape or array.dtype != like.dtype or array.dtype.kind != "f":
                    raise ValueError(
                        f"{who} expects {slot} in the state to be a vector like {like.shape} {like.dtype}, got "
                        f"{array.shape} {array.dtype}."
                    )
        steps = nonnegative_int(state["steps"], who, "steps in the state")
        for name in self.numbers:
            if not is_number(state[name]) or not math.isfinite(state[name]):
                raise ValueError(f"{who} expects {name} in the state to be a finite number, got {state[name]!r}.")
        self.learning_rate = state["learning_rate"]
        self.steps = steps
        for name in self.numbers:
            setattr(self, name, float(state[name]))
        self._state, self._seen = arrays, (None, None, None)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the parts: copies and pickles carry configuration, steps and kept vectors."""
        return without_caches(self.__dict__, frozenset({"_learning_rate", "_state"}))


def stretches(size: int, rates: Array | None, length: int | None = None) -> Iterator[slice]:
    """The parts of a vector of that size that are not frozen (rate 0), cut to `length` at most."""
    found = [(0, size)]
    if rates is not None:
        moving = np.concatenate(([False], rates != 0, [False]))
        edges = np.flatnonzero(moving[1:] != moving[:-1]).tolist()
        found = list(zip(edges[::2], edges[1::2], strict=True))
    for start, end in found:
        for at in range(start, end, max(length or size, 1)):
            yield slice(at, min(at + (length or size), end))


def _layout(array: Array) -> str:
    flags = array.flags
    words = ["contiguous" if flags.c_contiguous else "not contiguous", "writeable" if flags.writeable else "read-only"]
    return ", ".join(words if flags.aligned else [*words, "unaligned"])
