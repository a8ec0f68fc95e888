"""The nonlinear regression problems of the NIST StRD collection, each as a layer with the problem's parameters.

Formulas are those of the problems' descriptions; data, starting values and certified answers are in the folder data,
nist_strd.json, which names its sources. Derivatives come from the complex step, exact to the last digits.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import densenet as dn

PROBLEMS = json.loads((Path(__file__).parent / "data" / "nist_strd.json").read_text(encoding="utf-8"))["problems"]


def gauss(b, x):
    first, second = np.exp(-(((x - b[3]) / b[4]) ** 2)), np.exp(-(((x - b[6]) / b[7]) ** 2))
    return b[0] * np.exp(-b[1] * x) + b[2] * first + b[5] * second


def lanczos(b, x):
    return b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)


def cubic_ratio(b, x):
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def enso(b, x):
    wave = 2 * np.pi * x
    y = b[0] + b[1] * np.cos(wave / 12) + b[2] * np.sin(wave / 12)
    y = y + b[4] * np.cos(wave / b[3]) + b[5] * np.sin(wave / b[3])
    return y + b[7] * np.cos(wave / b[6]) + b[8] * np.sin(wave / b[6])


FORMULAS = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
    "Chwirut1": lambda b, x: np.exp(-b[0] * x) / (b[1] + b[2] * x),
    "Chwirut2": lambda b, x: np.exp(-b[0] * x) / (b[1] + b[2] * x),
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "ENSO": enso,
    "Eckerle4": lambda b, x: b[0] / b[1] * np.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": gauss,
    "Gauss2": gauss,
    "Gauss3": gauss,
    "Hahn1": cubic_ratio,
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Lanczos3": lanczos,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * np.exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4]),
    "Misra1a": lambda b, x: b[0] * (1 - np.exp(-b[1] * x)),
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2.0),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda b, x: b[0] - b[1] * x[:, :1] * np.exp(-b[2] * x[:, 1:]),
    "Rat42": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi,
    "Thurber": cubic_ratio,
}


class Formula(dn.Layer):
    """Y = f(b, X), one column, for a formula that takes complex numbers."""

    b, db = dn.Parameter(), dn.Parameter()

    def __init__(self, name, n_in, size):
        self.name, self.n_in, self.size = name, n_in, size
        self.n_out = 1

    def parameter_shapes(self):
        return {"b": (self.size,)}

    def forward(self, x, training=True):
        self._x = x
        return self.infer(x)

    def infer(self, x, out=None):
        with np.errstate(all="ignore"):
            y = FORMULAS[self.name](self.b, x)
        if out is None:
            return y
        out[...] = y
        return out

    def _rows(self):
        """dy_s/db_i."""
        columns = []
        with np.errstate(all="ignore"):
            for i in range(self.size):
                moved = self.b.astype(complex)
                moved[i] += 1e-100j
                columns.append(FORMULAS[self.name](moved, self._x)[:, 0].imag / 1e-100)
        return np.stack(columns, axis=1)

    def backward(self, delta):
        self.db[...] = delta[:, 0] @ self._rows()
        return np.zeros_like(self._x)  # x is the data

    def backward_samples(self, delta, out):
        np.multiply(delta, self._rows(), out=out)
        return np.zeros_like(self._x)


def problem(name, start):
    """A float64 model at a start (1 or 2), and the data."""
    facts = PROBLEMS[name]
    x, y = np.array(facts["x"]), np.array(facts["y"])
    if name == "Nelson":
        y = np.log(y)
    model = dn.Sequential([Formula(name, x.shape[1], len(facts["certified"]))], dtype="float64")
    model.params = facts[f"start{start}"]
    return model, x, y


def digits(name, params):
    """Correct digits of the worst parameter, at most the 11 that are certified."""
    certified = np.array(PROBLEMS[name]["certified"])
    error = np.abs((params - certified) / certified).max()
    return 11.0 if error == 0 else min(11.0, -np.log10(error)) if np.isfinite(error) else 0.0
