"""Tables with targets, those that compete on them, and the figures that all are judged by."""

from __future__ import annotations

import tomllib
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import densenet as dn

TEST_SHARE = 0.25
MOST_NATIVE_CATEGORIES = 255
"""What scikit-learn's boosted trees take as one column of categories."""
OURS = ("network", "ensemble")
MEMBERS = 5
"""Networks of the ensemble."""


@dataclass
class Table:
    """A table that is to be learned: columns, a target, and whether it is classes."""

    name: str
    x: pd.DataFrame
    y: np.ndarray
    classes: bool

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and rows to be judged by, classes in proportion where each has two rows."""
        many = self.classes and np.bincount(self.y).min() > 1
        rows = np.arange(len(self.y))
        return tuple(train_test_split(rows, test_size=TEST_SHARE, random_state=seed, stratify=self.y if many else None))


def read(folder: Path, names: list[str] | None = None, most_rows: int | None = None) -> list[Table]:
    """The folder's tables as `tables.toml` describes them, those with fewest rows first.

    Of more than `most_rows` rows, so many are drawn.
    """
    described = tomllib.loads((folder / "tables.toml").read_text(encoding="utf-8"))
    if unknown := set(names or ()) - set(described):
        raise SystemExit(
            f"{folder / 'tables.toml'} has no {', '.join(sorted(unknown))}; it has {', '.join(described)}."
        )
    tables = []
    for name in names or described:
        entry = described[name]
        frame = pd.read_csv(folder / f"{name}.csv", na_values=["?", "nan"]).drop(columns=entry.get("drop", []))
        frame = frame.dropna(subset=[entry["target"]])
        if most_rows and len(frame) > most_rows:
            frame = frame.sample(most_rows, random_state=0)
        target, classes = frame.pop(entry["target"]).to_numpy(), entry["task"] == "classification"
        y = np.unique(target, return_inverse=True)[1] if classes else target.astype(float)
        tables.append(Table(name, frame.reset_index(drop=True), y, classes))
    return sorted(tables, key=lambda table: len(table.y))


def words(x: pd.DataFrame) -> list[str]:
    """The columns that are no numbers."""
    return [name for name in x if not pd.api.types.is_numeric_dtype(x[name]) or x[name].dtype == bool]


def with_categories(x: pd.DataFrame) -> pd.DataFrame:
    """Columns of words as pandas' categories; numbers of categories where there are very many."""
    made = {name: x[name].astype("category") for name in words(x)}
    few = {name: c if len(c.cat.categories) <= MOST_NATIVE_CATEGORIES else c.cat.codes for name, c in made.items()}
    return x.assign(**few)


def one_hot(scale: bool) -> Any:
    """Words to one-hot columns, means for missing numbers."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler()) if scale else SimpleImputer()
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
    )


BAG = 8


class BagOfBoosted:
    """The mean of boosted trees, each of which holds a fold out that says when to stop."""

    def __init__(self, classes: bool, seed: int) -> None:
        self.classes, self.seed = classes, seed

    def fit(self, x: pd.DataFrame, y: np.ndarray) -> BagOfBoosted:
        from densenet.tabular import folds

        kind = HistGradientBoostingClassifier if self.classes else HistGradientBoostingRegressor
        self.classes_ = np.unique(y)
        self.members = []
        for i, (a, b) in enumerate(folds(len(y), BAG, np.random.default_rng(self.seed), y if self.classes else None)):
            model = kind(random_state=self.seed + i, early_stopping=True, max_iter=1000, n_iter_no_change=20)
            self.members.append(model.fit(x.iloc[a], y[a], X_val=x.iloc[b], y_val=y[b]))
        return self

    def predict_proba(self, x: pd.DataFrame) -> np.ndarray:
        return np.mean([member.predict_proba(x) for member in self.members], axis=0)

    def predict(self, x: pd.DataFrame) -> np.ndarray:
        return np.mean([member.predict(x) for member in self.members], axis=0)


def boosted(classes: bool, seed: int) -> Any:
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=seed)


def lightgbm(classes: bool, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classes else LGBMRegressor)(random_state=seed, verbose=-1, n_jobs=1)


def catboost(classes: bool, seed: int) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if classes else CatBoostRegressor
    return kind(random_seed=seed, verbose=False, allow_writing_files=False, thread_count=1)


def forest(classes: bool, seed: int) -> Any:
    return make_pipeline(
        one_hot(scale=False), (RandomForestClassifier if classes else RandomForestRegressor)(random_state=seed)
    )


def mlp(classes: bool, seed: int) -> Any:
    return make_pipeline(one_hot(scale=True), (MLPClassifier if classes else MLPRegressor)(random_state=seed))


def linear(classes: bool, seed: int) -> Any:
    return make_pipeline(one_hot(scale=True), LogisticRegression(max_iter=1000) if classes else RidgeCV())


def realmlp(classes: bool, seed: int) -> Any:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    return (RealMLP_TD_Classifier if classes else RealMLP_TD_Regressor)(random_state=seed, device="cpu")


def ours(classes: bool, seed: int, members: int = 1) -> Any:
    kind = dn.DenseClassifier if classes else dn.DenseRegressor
    return kind(preset="tabular", random_state=seed, n_members=members)


CONTENDERS = {
    "boosted trees": boosted,
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "bag of eight": BagOfBoosted,
    "forest": forest,
    "scikit-learn MLP": mlp,
    "linear": linear,
    "RealMLP": realmlp,
    "network": ours,
    "ensemble": lambda classes, seed: ours(classes, seed, MEMBERS),
}
"""By name, a function of (classes, seed) that makes an estimator."""
NEEDS = {"LightGBM": "lightgbm", "CatBoost": "catboost", "RealMLP": "pytabkit"}
NATIVE = ("boosted trees", "LightGBM", "bag of eight")
"""Those that take columns of categories as such."""


def installed(name: str) -> bool:
    """Whether a contender's library is there."""
    return name not in NEEDS or find_spec(NEEDS[name]) is not None


def inputs(name: str, table: Table) -> pd.DataFrame:
    """The columns as a contender takes them."""
    if name in NATIVE:
        return with_categories(table.x)
    if name == "CatBoost":
        return table.x.assign(
            **{word: table.x[word].astype(object).fillna("missing").astype(str) for word in words(table.x)}
        )
    return table.x.assign(**{word: table.x[word].astype(object) for word in words(table.x)})


def fit(name: str, table: Table, x: pd.DataFrame, rows: np.ndarray, seed: int) -> Any:
    """A fitted contender."""
    extra = {"cat_features": words(table.x)} if name == "CatBoost" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the default number of epochs is not enough for convergence everywhere
        return CONTENDERS[name](table.classes, seed).fit(x.iloc[rows], table.y[rows], **extra)


def figures(model: Any, table: Table, x: pd.DataFrame, rows: np.ndarray, n: int) -> dict[str, float]:
    """What is said of rows that no contender has seen, by a model of n training rows."""
    truth, k = table.y[rows], 1 + table.y.max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if table.classes:
            p = np.zeros((len(rows), int(k)))
            p[:, model.classes_.astype(int)] = model.predict_proba(x.iloc[rows])
            return of_probabilities(p, truth, n)
        said = model.predict(x.iloc[rows])
        found = {"R2": float(r2_score(truth, said)), "RMSE": float(root_mean_squared_error(truth, said))}
        if hasattr(model, "members_"):
            low, high = model.predict_interval(x.iloc[rows])
            found |= {
                "coverage": float(((low <= truth) & (truth <= high)).mean()),
                "width": float((high - low).mean() / table.y.std()),
            }
    return found


def of_probabilities(p: np.ndarray, truth: np.ndarray, n: int) -> dict[str, float]:
    """Figures of probabilities (rows, k), which are smoothed first: (p n + 1/k) / (n + 1)."""
    k = p.shape[1]
    right = float((p.argmax(axis=1) == truth).mean())
    p = (p * n + 1 / k) / (n + 1)
    p /= p.sum(axis=1, keepdims=True)
    truths = np.eye(k)[truth]
    there = np.flatnonzero(truths.any(axis=0) & ~truths.all(axis=0))  # AUC is of classes that some rows have, not all
    return {
        "accuracy": right,
        "log-loss": float(log_loss(truth, p, labels=np.arange(k))),
        "AUC": float(np.mean([roc_auc_score(truths[:, c], p[:, c]) for c in there])),
        "Brier": float(((p - truths) ** 2).sum(axis=1).mean()),
    }
