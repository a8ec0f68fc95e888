"""What an optimizer is: a rule that moves a vector of parameters against its gradient.

Every rule here has the form w <- w - alpha u, where u is made of the gradient and of vectors that the optimizer keeps.
It sees flat vectors, not layers; what a layer wants for one of its arrays (frozen, undecayed, another rate) comes along
as vectors, the `Marks`. Long vectors are worked through in parts that stay in the cache.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from densenet._blas import products
from densenet._memory import without_caches
from densenet._types import Array
from densenet._validation import is_number
from densenet.optimizers.schedules import Schedule

CHUNK = 32_768
"""Entries worked on at a time."""


@dataclass(frozen=True)
class Marks:
    """How each parameter is to be treated, as flat vectors; None stands for all ones.

    Attributes
    ----------
    rate : ndarray or None
        Factor of the whole update; 0 where a parameter is frozen.
    decay : ndarray or None
        1 where `weight_decay` acts, 0 where not.
    """

    rate: Array | None = None
    decay: Array | None = None


class Optimizer(ABC):
    """A rule w <- w - alpha u on flat vectors.

    One of one's own names the vectors it keeps, and gives the direction::

        class SignSGD(dn.Optimizer):                       # w <- w - alpha sign(g)
            def direction(self, g, work, state, alpha):
                return np.sign(g, out=work), alpha

    Parameters
    ----------
    learning_rate : float or Schedule
        alpha.
    weight_decay : float, default 0.0

    Attributes
    ----------
    learning_rate : float or Schedule
    rate : float
        alpha of the next step.
    steps : int
        Steps done.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the vectors that are kept, zero at first."""
    decoupled: ClassVar[bool] = False
    """Whether weight decay shrinks the weights directly instead of joining the gradient."""
    numbers: ClassVar[tuple[str, ...]] = ()
    """Names of numbers that are kept beside the vectors."""

    weight_decay: float = 0.0

    def __init__(self, learning_rate: float | Schedule) -> None:
        self.learning_rate = learning_rate
        self.steps = 0
        self.state: dict[str, Array] = {}

    # -- the rate ----------------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float | Schedule:
        """alpha, or the schedule it follows."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        if not isinstance(value, Schedule) and (not is_number(value) or not math.isfinite(value) or value <= 0):
            raise ValueError(
                f"{type(self).__name__} expects learning_rate to be a finite number above 0 or a Schedule, got {value!r}."
            )
        self._learning_rate = value if isinstance(value, Schedule) else float(value)

    @property
    def rate(self) -> float:
        """alpha of the next step."""
        rate = self._learning_rate
        return rate(self.steps) if isinstance(rate, Schedule) else rate

    # -- the rule ----------------------------------------------------------------------------------------------

    @abstractmethod
    def direction(self, g: Array, work: Array, state: dict[str, Array], alpha: float) -> tuple[Array, float]:
        """u and c for a part of the vector: the update is w <- w - c u.

        Parameters
        ----------
        g : ndarray
            dE/dw, with coupled decay; it must not be written.
        work : ndarray
            Scratch of the same size; u may be it.
        state : dict of ndarray
            The same part of the kept vectors, by name.
        alpha : float
            The rate of this step.
        """

    def step(self, params: Array, grads: Array, marks: Marks | None = None) -> None:
        """Move `params` in place.

        Parameters
        ----------
        params, grads : ndarray (n,)
            Of one dtype; `grads` is not written.
        marks : Marks, optional
            Frozen, undecayed and differently rated parameters; without them all are treated alike.

        Raises
        ------
        ValueError
            If the vectors' shapes differ, or their size is not that of the steps before.
        """
        if params.shape != self._shape:
            self._prepare(params, grads)
        alpha = self.rate
        self.steps += 1
        self.begin_step()
        rate, decay = (None, None) if marks is None else (marks.rate, marks.decay)
        for part, state, work in self._parts:
            p, g = (params, grads) if part is None else (params[part], grads[part])
            scale = rate if rate is None or part is None else rate[part]
            if self.weight_decay:
                g = self._decay(p, g, alpha, scale, decay if decay is None or part is None else decay[part])
            u, c = self.direction(g, work, state, alpha)
            if scale is not None:
                u = np.multiply(u, scale, out=work)
            self._add_scaled(u, p, -c)  # w <- w - c u

    def begin_step(self) -> None:  # noqa: B027  most rules have nothing to prepare
        """Compute what depends on `steps` alone (1 at the first), before `direction` is called for every part."""

    def _decay(self, p: Array, g: Array, alpha: float, scale: Array | None, mask: Array | None) -> Array:
        decayed = self._decayed[: p.size]
        if mask is None:
            np.multiply(p, self.weight_decay, out=decayed)
        else:
            np.multiply(p, mask, out=decayed)
            np.multiply(decayed, self.weight_decay, out=decayed)
        if not self.decoupled:
            return np.add(decayed, g, out=decayed)  # g <- g + lambda w
        if scale is not None:
            np.multiply(decayed, scale, out=decayed)
        self._add_scaled(decayed, p, -alpha)  # w <- w - alpha lambda w
        return g

    # -- the state ---------------------------------------------------------------------------------------------

    _shape: tuple[int, ...] = ()

    def _prepare(self, params: Array, grads: Array) -> None:
        """Make the kept vectors and the parts they are worked on in."""
        name = type(self).__name__
        if params.ndim != 1 or params.shape != grads.shape or params.dtype != grads.dtype:
            raise ValueError(
                f"{name}.step expects params and grads of one shape (n,) and dtype, got {params.shape} {params.dtype} "
                f"and {grads.shape} {grads.dtype}."
            )
        if not self.state:
            self.state = {slot: np.zeros_like(params) for slot in self.slots}
            self.start_state()
        for slot, kept in self.state.items():
            if kept.shape != params.shape:
                raise ValueError(
                    f"{name} has state for {kept.size} parameters ({slot}), got {params.size}: use a new optimizer."
                )
        self._shape, self._add_scaled = params.shape, products(params.dtype).add_scaled
        size = min(CHUNK, params.size)
        self._decayed = np.empty(size, params.dtype)
        work = np.empty(size, params.dtype)
        if params.size <= CHUNK:
            self._parts: list[tuple[slice | None, dict[str, Array], Array]] = [(None, self.state, work)]
            return
        self._parts = []
        for start in range(0, params.size, CHUNK):
            part = slice(start, min(start + CHUNK, params.size))
            self._parts.append((part, {k: v[part] for k, v in self.state.items()}, work[: part.stop - start]))

    def start_state(self) -> None:  # noqa: B027
        """Fill kept vectors that do not start at 0."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: steps, rate, numbers and kept vectors (copied), by name."""
        numbers = {name: getattr(self, name) for name in ("steps", *self.numbers)}
        if not isinstance(self._learning_rate, Schedule):
            numbers["learning_rate"] = self._learning_rate
        return numbers | {slot: kept.copy() for slot, kept in self.state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back.

        Raises
        ------
        ValueError
            If it is not of an optimizer of this kind.
        """
        who, given = type(self).__name__, set(state) - {"learning_rate"}
        numbers, slots = {"steps", *self.numbers}, set(self.slots)
        if given not in (numbers, numbers | slots):
            raise ValueError(f"{who} expects a state with {sorted(numbers | slots)}, got {sorted(given)}.")
        arrays = {slot: np.array(state[slot]) for slot in self.slots if slot in state}
        if len({(array.shape, array.dtype) for array in arrays.values()}) > 1:
            raise ValueError(f"{who} expects state vectors of one size, got {[a.shape for a in arrays.values()]}.")
        self.steps = int(state["steps"])
        for name in self.numbers:
            setattr(self, name, float(state[name]))
        if "learning_rate" in state and not isinstance(self._learning_rate, Schedule):
            self.learning_rate = float(state["learning_rate"])
        self.state, self._shape = arrays, ()

    def __getstate__(self) -> dict[str, Any]:
        return without_caches(self.__dict__, frozenset({"_learning_rate"}))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if name == "learning_rate" or value != parameter.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"
