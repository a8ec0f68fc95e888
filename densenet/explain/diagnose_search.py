"""The search for a mistake: from the output down, array by array, with the deltas that the given arrays imply.

At every dense layer the table's wrong deltas are made from the E(l) of the layer above; only those stay whose dW and db
are the given ones, and the search goes on from them to the layer below. So a mistake at the output is found at the
output, and below it the search goes on with the numbers that it led to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import NamedTuple

import numpy as np

from densenet._types import Array
from densenet.explain.chain import Chain, Gradients, Stage
from densenet.explain.mistakes import (
    BARE,
    BIASES,
    LOSSES,
    PASSES,
    PENALTIES,
    PENALTY,
    RATES,
    SLOPES,
    WEIGHTS,
    ZERO,
    Entry,
    Here,
)

MOST_STATES = 200
"""The most explanations that are followed at once."""

FACTOR_TOLERANCE = 1e-6
"""How far a factor may lie from a product of known numbers."""

LEAST_EVIDENCE = 3
"""How many entries have to agree on a factor that is no known number."""


class Part(NamedTuple):
    """One mistake in one layer; parts of the same kind are one mistake, in however many layers."""

    name: str
    way: str
    place: int
    array: str
    order: int = 0
    factor: float = 1.0

    @property
    def kind(self) -> tuple[str, str, str]:
        return self.name, self.way, self.array if self.name == "factor" else ""


Parts = tuple[Part, ...]


def kinds(parts: Parts) -> frozenset[tuple[str, str, str]]:
    """The different mistakes among them."""
    return frozenset(part.kind for part in parts)


@dataclass(frozen=True, eq=False)
class State:
    """An explanation of all arrays from the output down to some layer.

    Attributes
    ----------
    error, delta : ndarray (n, n_out)
        E and D of the lowest layer explained.
    penalty : float
        1 where dW is taken to hold the penalties' derivatives, else 0.
    parts : tuple of Part
    rate : float or None
        alpha, once fitted.
    proven : bool
        False while alpha does no more than a factor of the right delta would.
    evidence : float
        How many entries agree on a factor of the delta that is no known number; infinite without one.
    """

    error: Array
    delta: Array
    penalty: float
    parts: Parts = ()
    rate: float | None = None
    proven: bool = True
    evidence: float = np.inf


class Candidate(NamedTuple):
    """A delta that may stand in this layer."""

    error: Array
    delta: Array
    parts: Parts
    rate: float | None
    proven: bool


class Option(NamedTuple):
    """How one given array comes from a delta: times `factor`, None where any will do, and what is wrong beside.

    `evidence` counts the entries that agree on a factor; a known number needs none.
    """

    factor: float | None
    parts: Parts
    evidence: float = np.inf


@dataclass(frozen=True)
class Known:
    """Numbers by which a gradient is multiplied by mistake: products of -1, 2, n, k and the learning rate."""

    rows: int
    outputs: int
    rate: float | None

    @cached_property
    def table(self) -> list[tuple[float, int, str]]:
        """Value, how many factors it takes, and what it is."""
        powers: list[list[tuple[float, int, str]]] = [[(2.0**p, abs(p), f"2^{p}") for p in (-2, -1, 0, 1, 2)]]
        for value, name in ((float(self.rows), "n"), (float(self.outputs), "k")):
            powers.append([(value**p, abs(p), f"{name}^{p}") for p in ((-1, 0, 1) if value > 1 else (0,))])
        powers.append([(1.0, 0, "")] + ([(self.rate, 1, "alpha^1")] if self.rate else []))
        found = []
        for chosen in product(*powers):
            product_of = float(np.prod([c[0] for c in chosen]))
            names = [c[2] for c in chosen if c[1]]
            cost = sum(c[1] for c in chosen)
            found += [(product_of, cost, "*".join(names)), (-product_of, cost + 1, "*".join(["-1", *names]))]
        return sorted(found, key=lambda entry: entry[1:])

    def names(self, factor: float, tolerance: float) -> list[str]:
        """The simplest products equal to a factor; empty where there is none."""
        near = [(cost, name) for value, cost, name in self.table if abs(factor / value - 1) <= tolerance]
        return [name for cost, name in near if cost == near[0][0]]


class Search:
    """Explanations of given gradients by at most one or two kinds of mistakes.

    Parameters
    ----------
    chain : Chain
    given : list of (dW, db)
    tolerance : float
        Relative to an array's largest entry.
    penalties : tuple of float
        1 and 0: gradients with the penalties' derivatives, or without, are right.
    rate : float or None
        The learning rate, where it is known.
    rounded : bool
        Whether the numbers are float32.
    """

    def __init__(
        self,
        chain: Chain,
        given: Gradients,
        tolerance: float,
        penalties: tuple[float, ...],
        rate: float | None,
        rounded: bool,
    ) -> None:
        self.chain, self.given, self.tolerance, self.penalties = chain, given, tolerance, penalties
        self.known = Known(chain.rows, chain.out[-1].shape[1], rate)
        self.rounding = chain.rounding if rounded else [(np.zeros(()), np.zeros(()))] * len(chain)
        sizes = [float(np.abs(a).max(initial=0.0)) for pair in chain.gradients(True) for a in pair if a is not None]
        self.floor = 1e-9 * max(sizes)
        self.budget, self.free, self.thorough = 1, False, False
        rng = np.random.default_rng(0)
        self.probes = [rng.normal(size=W.shape[1]) for W in chain.weights]

    # -- going down ------------------------------------------------------------------------------------------------

    def run(self, budget: int, *, free: bool, thorough: bool) -> list[State]:
        """All explanations with as many kinds of mistakes.

        `free` takes factors that are no known number; `thorough` wrong deltas whose dW and db are both made wrongly.
        """
        self.budget, self.free, self.thorough = budget, free, thorough
        states = [State(self.chain.error_out, np.zeros(0), penalty) for penalty in self.penalties]
        for place in range(len(self.chain) - 1, -1, -1):
            states = [after for state in states for after in self.expand(state, place)]
            states.sort(key=lambda state: (len(kinds(state.parts)), len(state.parts)))
            del states[MOST_STATES:]
        return [s for s in states if len(kinds(s.parts)) == budget and s.evidence >= LEAST_EVIDENCE]

    def allows(self, *parts: Part) -> bool:
        """Whether mistakes of these kinds are few enough."""
        return len(kinds(parts)) <= self.budget

    def expand(self, state: State, place: int) -> Iterator[State]:
        """The explanations that reach one layer further down."""
        candidates = self.distinct(self.candidates(state, place))
        for candidate, fits in zip(candidates, self.filtered(candidates, state, place), strict=True):
            if fits:
                yield from self.matched(candidate, state, place)

    def distinct(self, candidates: Iterator[Candidate]) -> list[Candidate]:
        """All but those that are the right delta after all: a (1 - a) is no mistake in a sigmoid's layer."""
        found: list[Candidate] = []
        for candidate in candidates:
            right = found[0] if found else candidate
            if not (found and _same(candidate.delta, right.delta) and _same(candidate.error, right.error)):
                found.append(candidate)
        return found

    def candidates(self, state: State, place: int) -> Iterator[Candidate]:
        """The right delta and the table's wrong ones, from the layer above."""
        top = place == len(self.chain) - 1
        error = state.error if top else self._down(state, place)
        if error is None:
            return
        yield from self.through_slopes(error, state, (), place)
        if top:
            here = Here(self.chain, place, error, self.chain.back(place, error))
            for order, entry in enumerate(LOSSES):
                for way, delta in entry.make(here):
                    yield Candidate(delta, delta, (Part(entry.name, way, place, "", order),), state.rate, state.proven)
            return
        above = Here(self.chain, place, state.error, state.delta)
        for part, wrong in self._made(PASSES, above, state.parts):
            yield from self.through_slopes(wrong, state, (part,), place)
        yield from self.updated(error, above, state)

    def _down(self, state: State, place: int) -> Array | None:
        W = self.chain.weights[place + 1]
        return state.delta @ W.T if state.delta.shape[1] == W.shape[1] else None  # E(l-1) = D(l) W(l)^T

    def _made(
        self, entries: tuple[Entry, ...], here: Here, before: Parts, array: str = ""
    ) -> Iterator[tuple[Part, Array]]:
        """The table's wrong arrays, as far as these mistakes may be added to those before."""
        room = len(kinds(before)) < self.budget
        names = {part.name for part in before}
        for order, entry in enumerate(entries):
            if room or entry.name in names:
                for way, wrong in entry.make(here):
                    part = Part(entry.name, way, here.place, array, order)
                    if self.allows(*before, part):
                        yield part, wrong

    def through_slopes(self, error: Array, state: State, parts: Parts, place: int) -> Iterator[Candidate]:
        """D(l) from E(l): by the right slopes, then by the wrong ones of every stage."""
        if error.shape != self.chain.z[place].shape and not self.chain.stages[place]:
            return
        yield Candidate(error, self.chain.back(place, error), parts, state.rate, state.proven)
        for part, delta in self.slopes(error, (*state.parts, *parts), place):
            yield Candidate(error, delta, (*parts, part), state.rate, state.proven)

    def slopes(self, error: Array, before: Parts, place: int) -> Iterator[tuple[Part, Array]]:
        stages: list[Stage | None] = [*self.chain.stages[place]] or [None]
        for number in range(len(stages) - 1, -1, -1):
            upper = self.chain.back(place, error, number + 1) if number + 1 < len(stages) else error
            for part, after in self._made(SLOPES, Here(self.chain, place, upper, upper, stages[number]), before):
                for stage in reversed(stages[:number]):
                    assert stage is not None
                    after = stage.back(after)
                yield part, after

    def updated(self, error: Array, above: Here, state: State) -> Iterator[Candidate]:
        """Weights updated before the delta passed on: E = D (W - alpha dW)^T, alpha fitted to this layer's arrays.

        D(l) is linear in E(l), so dW and db are linear in alpha: right - alpha lost, by least squares.
        """
        place, chain = above.place, self.chain
        dW = self.given[place + 1][0]
        if dW.shape != chain.weights[place + 1].shape:
            return
        signs = [part.factor < 0 for part in state.parts if part.name == "factor" and part.array in ("delta", "both")]
        turned = sum(signs) % 2 == 1  # target minus prediction, added: dW is given with the other sign
        for order, entry in enumerate(RATES):
            for way, passed in entry.make(above):
                if not self.allows(*state.parts, Part(entry.name, way, place, "")):
                    continue
                base, lost = passed @ chain.weights[place + 1].T, passed @ dW.T
                part = Part(entry.name, way, place, "", order)
                before = (*state.parts, part)
                both = zip(self.slopes(base, before, place), self.slopes(lost, before, place), strict=True)
                ways: list[tuple[Parts, Array, Array]] = [((), chain.back(place, base), chain.back(place, lost))]
                ways += [((of,), right, off) for (of, right), (_, off) in both]
                for parts, right, off in ways:
                    rates = self.rates(right, off, state.penalty, place) if state.rate is None else [state.rate]
                    for rate in rates:
                        if rate < 0 and not turned:
                            continue
                        known = self.known.rate is not None and abs(abs(rate) / self.known.rate - 1) <= self.near
                        proven = known or not _parallel(off, right) or (state.rate is not None and state.proven)
                        yield Candidate(base - rate * lost, right - rate * off, (part, *parts), rate, proven)

    def rates(self, right: Array, lost: Array, penalty: float, place: int) -> list[float]:
        """alpha by least squares from this layer's dW and db.

        Where a second mistake may be made here: from each array alone, from one row, and beside a factor of both.
        """
        A, P, (dW, db) = self.chain.into[place], self.chain.penalties[place], self.given[place]
        if right.size < 2 or dW.shape != (A.shape[1], right.shape[1]):
            return []
        target = dW - penalty * P if P is not None else dW
        has_db = db is not None and db.shape == (right.shape[1],)

        def arrays(delta: Array, rows: slice) -> list[Array]:
            of_db = [delta[rows].sum(axis=0)] if has_db else []
            return [(A[rows].T @ delta[rows]).ravel(), *of_db]

        given = np.concatenate([target.ravel(), *([db] if db is not None and has_db else [])])
        every = slice(None)
        made, off = arrays(right, every), arrays(lost, every)
        fits = [_slope(np.concatenate(made) - given, np.concatenate(off))]
        if self.budget > 1:
            split = np.split(given, [target.size])
            fits += [_slope(m - g, t) for m, g, t in zip(made, split, off, strict=False)]
            for row in (slice(-1, None), slice(0, 1)) if len(right) > 1 else ():
                fits.append(_slope(np.concatenate(arrays(right, row)) - given, np.concatenate(arrays(lost, row))))
            (c, d), *_ = np.linalg.lstsq(np.stack([np.concatenate(made), -np.concatenate(off)], axis=1), given)
            fits.append(float(d / c) if c else 0.0)
        return list({f"{rate:.9g}": rate for rate in fits if rate and np.isfinite(rate)}.values())

    # -- comparing -------------------------------------------------------------------------------------------------

    def filtered(self, candidates: list[Candidate], state: State, place: int) -> list[bool]:
        """Whether a candidate is worth comparing: its db, or dW times one vector, is the given one up to a factor."""
        A, (dW, db) = self.chain.into[place], self.given[place]
        shape = self.chain.z[place].shape
        like = [i for i, c in enumerate(candidates) if c.delta.shape == shape]
        known = kinds(state.parts)
        fits = np.array([kinds(c.parts) <= known or c.delta.shape != shape for c in candidates], bool)
        if not like or self.thorough or self.chain.penalties[place] is not None:
            return [True] * len(candidates)
        D = np.stack([candidates[i].delta for i in like])
        for_W, for_b = self.rounding[place]
        if db is not None and db.shape == (D.shape[2],):
            fits[like] |= self._parallel(D.sum(axis=1), db, for_b)
        if dW.shape == (A.shape[1], D.shape[2]):
            r = self.probes[place]
            fits[like] |= self._parallel((D @ r) @ A, dW @ r, for_W @ np.abs(r) if for_W.ndim else for_W)
        return [bool(fit) for fit in fits]

    def _parallel(self, made: Array, given: Array, rounding: Array) -> Array:
        square = (made**2).sum(axis=1)
        c = np.divide(made @ given, square, out=np.zeros(len(made)), where=square > 0)
        off: Array = np.abs(c[:, None] * made - given).max(axis=1)
        near: Array = off <= 50 * self.tolerance * np.abs(given).max() + 10 * rounding.max(initial=0.0) + self.floor
        return near

    def close(self, given: Array, made: Array, rounding: Array) -> bool:
        """Whether two arrays of one shape are equal up to the tolerance."""
        room = max(self.tolerance * float(np.abs(made).max(initial=0.0)), 1e-3 * self.floor)
        if rounding.shape != made.shape:
            rounding = rounding.max(initial=0.0)
        return bool((np.abs(given - made) <= room + rounding).all())

    def factor(self, given: Array, made: Array, rounding: Array) -> tuple[float, float] | None:
        """c with given = c made, and its evidence; None where there is no such number."""
        square = float((made * made).sum())
        c = float((made * given).sum()) / square if square > 0 else 0.0
        if c == 0 or not np.isfinite(c) or not self.close(given / c, made, rounding / abs(c)):
            return None
        if self.known.names(c, self.near):
            return c, np.inf
        return (c, _entries(made)) if self.free or self.budget > 1 else None

    @property
    def near(self) -> float:
        """How near a known number a fitted factor has to be."""
        return max(FACTOR_TOLERANCE, self.tolerance)

    def weights(self, candidate: Candidate, state: State, place: int) -> list[Option]:
        """How the given dW may come from a delta."""
        A, P, given = self.chain.into[place], self.chain.penalties[place], self.given[place][0]
        before = (*state.parts, *candidate.parts)
        right = A.T @ candidate.delta
        if P is None:
            found = self.options([(given, ())], right, candidate, before, 0, place)
        else:
            ways = self.penalised(state, before, place)
            found = self.options(
                [(given - share * P, parts) for share, parts in ways], right, candidate, before, 0, place
            )
            for share, parts in ways if given.shape == P.shape else ():  # the factor takes the penalty along
                fitted = self.factor(given, right + share * P, self.rounding[place][0])
                if fitted is not None and share:
                    found.append(Option(fitted[0], parts, fitted[1]))
        if any(option.factor in (1.0, None) and not option.parts for option in found):
            return found[:1]
        bare = given if P is None else given - state.penalty * P
        return found + self.array_mistakes(WEIGHTS, bare, candidate, before, "dW", place)

    def penalised(self, state: State, before: Parts, place: int) -> list[tuple[float, Parts]]:
        """How much of the penalty's derivative dW may hold: what is right, then what is wrong."""
        shares = PENALTIES | {"divided by n": 1 / self.chain.rows} if state.penalty else {"added": 1.0}
        found: list[tuple[float, Parts]] = [(state.penalty, ())]
        for order, (way, share) in enumerate(shares.items()):
            part = Part(PENALTY, way, place, "dW", order)
            if share != state.penalty and self.allows(*before, part):
                found.append((share, (part,)))
        return found

    def biases(self, candidate: Candidate, state: State, place: int) -> list[Option]:
        """How the given db may come from a delta."""
        given = self.given[place][1]
        if given is None:
            return [Option(None, ())]
        before = (*state.parts, *candidate.parts)
        found = self.options([(given, ())], candidate.delta.sum(axis=0), candidate, before, 1, place)
        if any(option.factor in (1.0, None) for option in found):
            return found[:1]
        return found + self.array_mistakes(BIASES, given, candidate, before, "db", place)

    def options(
        self,
        targets: list[tuple[Array, Parts]],
        made: Array,
        candidate: Candidate,
        before: Parts,
        kind: int,
        place: int,
    ) -> list[Option]:
        found = []
        rounding = self.rounding[place][kind]
        for target, parts in targets:
            if target.shape != made.shape:
                continue
            if self.close(target, made, rounding):
                anything = float(np.abs(made).max(initial=0.0)) <= self.floor
                found.append(Option(None if anything else 1.0, parts))
                continue
            fitted = self.factor(target, made, rounding)
            if fitted is None or (fitted[1] < np.inf and self.needless(candidate, place)):
                continue
            if len(kinds(before)) < self.budget or any(part.name == "factor" for part in before):
                found.append(Option(fitted[0], parts, fitted[1]))
        return found

    def needless(self, candidate: Candidate, place: int) -> bool:
        """Whether a wrong delta is so small that a factor of the right one would do as well."""
        if not candidate.parts or _entries(candidate.delta) >= LEAST_EVIDENCE:
            return False
        return bool(np.abs(self.chain.back(place, candidate.error)).max(initial=0.0) > self.floor)

    def array_mistakes(
        self, entries: tuple[Entry, ...], given: Array, candidate: Candidate, before: Parts, array: str, place: int
    ) -> list[Option]:
        found = []
        here = Here(self.chain, place, candidate.error, candidate.delta)
        for part, wrong in self._made(entries, here, before, array):
            if wrong.shape != given.shape or (part.name == ZERO and given.any()):
                continue
            if max(np.abs(wrong).max(initial=0.0), np.abs(given).max(initial=0.0)) <= self.floor:
                found.append(Option(None, (part,)))
            elif self.close(given, wrong, np.zeros(())):
                found.append(Option(1.0, (part,)))
            elif self.budget > 1:
                fitted = self.factor(given, wrong, np.zeros(()))
                if fitted is not None:
                    found.append(Option(fitted[0], (part,), fitted[1]))
        return found

    def factor_parts(self, c: float, array: str, place: int) -> Parts:
        """A factor as a mistake, by the simplest product that it is."""
        if abs(c - 1) <= self.tolerance:
            return ()
        names = self.known.names(c, self.near)
        return (Part("factor", names[0] if names else f"{c:.6g}", place, array, 0, c),)

    def matched(self, candidate: Candidate, state: State, place: int) -> Iterator[State]:
        """The states after this layer, with every way in which both given arrays come from one delta."""
        weights = self.weights(candidate, state, place)
        for w, b in product(weights, self.biases(candidate, state, place) if weights else ()):
            if any(part.name == BARE for part in w.parts) and any(part.name == BARE for part in b.parts):
                continue  # both arrays without the slope: that is a delta without it
            for scale, parts, evidence in self.together(w, b, place):
                every = (*state.parts, *candidate.parts, *w.parts, *b.parts, *parts)
                if not self.allows(*every):
                    continue
                error, delta = scale * candidate.error, scale * candidate.delta
                if state.evidence < LEAST_EVIDENCE:  # the layers below a factor speak for it, too
                    evidence = state.evidence + _entries(self.chain.into[place].T @ delta)
                after = replace(state, error=error, delta=delta, parts=every, evidence=evidence)
                yield replace(after, rate=candidate.rate, proven=candidate.proven)

    def together(self, w: Option, b: Option, place: int) -> Iterator[tuple[float, Parts, float]]:
        """The factor of the delta itself that goes on to the layer below, the arrays' own, and their evidence."""
        cw = w.factor if w.factor is not None else b.factor
        cb = b.factor if b.factor is not None else cw
        if cw is None or cb is None:
            yield 1.0, (), np.inf
            return
        parts = partial(self.factor_parts, place=place)
        evidence = {"dW": w.evidence, "db": b.evidence if b.factor is not None else w.evidence}
        if abs(cw / cb - 1) <= 10 * self.near:
            every = sum(option.evidence for option in (w, b) if option.factor is not None)
            if every == np.inf or self.free:
                yield cw, parts(cw, "delta"), every
                if parts(cw, "delta") and every >= LEAST_EVIDENCE:
                    yield 1.0, parts(cw, "both"), np.inf
            return
        good = {array: e == np.inf or (self.free and e >= LEAST_EVIDENCE) for array, e in evidence.items()}
        if good["dW"] and good["db"]:
            yield 1.0, (*parts(cw, "dW"), *parts(cb, "db")), np.inf
        if self.budget > 1:  # a factor of the delta, and one of an array beside it
            for first, c, second, ratio in (("dW", cw, "db", cb / cw), ("db", cb, "dW", cw / cb)):
                if good[first] and parts(c, "delta") and (good[second] or self.known.names(ratio, self.near)):
                    yield c, (*parts(c, "delta"), *parts(ratio, second)), np.inf


def _entries(array: Array) -> int:
    """How many entries are not next to nothing beside the largest."""
    size = np.abs(array)
    return int(np.count_nonzero(size > 1e-3 * size.max(initial=0.0)))


def _slope(s: Array, t: Array) -> float:
    """c of s = c t, by least squares."""
    return float(s @ t) / float(t @ t) if t.any() else 0.0


def _parallel(a: Array, b: Array) -> bool:
    """Whether a is a multiple of b."""
    square = float((b * b).sum())
    c = float((a * b).sum()) / square if square > 0 else 0.0
    return bool((np.abs(a - c * b) <= 1e-6 * np.abs(a).max(initial=0.0)).all())


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays are equal but for what float64 rounds off."""
    return a.shape == b.shape and bool((np.abs(a - b) <= 1e-12 * np.abs(b).max(initial=0.0)).all())
