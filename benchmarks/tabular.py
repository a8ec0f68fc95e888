"""The estimators beside scikit-learn's: scores of the recipe for tables over several seeds, and the time of `fit`.

Every seed draws a test quarter of each data set that ships with scikit-learn; all contenders see the same rows. The
recipe is taken as it is, and so are the others' defaults, behind a StandardScaler where they need one.
"""

from __future__ import annotations

import statistics
import warnings
from typing import Any

import _common as common
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import densenet as dn

SETS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes (R2)": datasets.load_diabetes,
}
CONTENDERS = ("recipe", "densenet", "scikit-learn MLP", "boosted trees", "linear")


def contender(name: str, classes: bool, seed: int) -> Any:
    """A new estimator."""
    if name == "recipe":
        return (dn.DenseClassifier if classes else dn.DenseRegressor)(preset="tabular", random_state=seed)
    if name == "boosted trees":
        return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=seed)
    if name == "linear":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000) if classes else RidgeCV())
    kinds = (dn.DenseClassifier, dn.DenseRegressor) if name == "densenet" else (MLPClassifier, MLPRegressor)
    return make_pipeline(StandardScaler(), kinds[not classes](random_state=seed))


def scores(load: Any, seeds: int) -> dict[str, list[float]]:
    """Every contender's test score for every seed."""
    x, y = load(return_X_y=True)
    classes = y.dtype.kind == "i"
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for seed in range(seeds):
        a, b, c, d = train_test_split(x, y, random_state=seed, stratify=y if classes else None)
        for name in CONTENDERS:
            common.progress(f"{load.__name__} seed {seed}: {name}")
            found[name].append(contender(name, classes, seed).fit(a, c).score(b, d))
    common.progress("")
    return found


def fit_times(rounds: int, epochs: int) -> list[dict[str, Any]]:
    """`fit` on digits in float32, ours beside scikit-learn's, and both scores on a test quarter."""
    x, y = dn.datasets.load_digits()
    a, b, c, d = train_test_split(x, y, random_state=0)
    found = []
    for solver, batch in (("adam", "auto"), ("adam", 32), ("sgd", 32)):
        settings = {
            "solver": solver,
            "batch_size": batch,
            "max_iter": epochs,
            "random_state": 0,
            "n_iter_no_change": epochs,
        }
        pair = {"densenet": dn.DenseClassifier(**settings), "scikit-learn": MLPClassifier(**settings)}
        times = common.interleave(
            {n: lambda e=e: e.fit(a, c) for n, e in pair.items()}, rounds, say=f"fit {solver} {batch}"
        )
        found.append(
            {
                "solver": solver,
                "batch": batch,
                "seconds": {n: statistics.median(t) for n, t in times.items()},
                "ratio": common.spread(common.ratios(times, "scikit-learn", "densenet")),
                "score": {n: e.score(b, d) for n, e in pair.items()},
            }
        )
    return found


def main() -> None:
    """Scores, then times."""
    options = common.parser(__doc__)
    options.add_argument("--seeds", type=int, help="splits of every data set (default: 10)")
    args = options.parse_args()
    warnings.simplefilter("ignore")  # the default number of epochs is not enough for convergence everywhere
    seeds = args.seeds or (1 if args.smoke else 10)
    results = {name: scores(load, seeds) for name, load in list(SETS.items())[: 1 if args.smoke else None]}
    rows = []
    for name, found in results.items():
        cells = [f"{statistics.mean(s):.3f} +- {statistics.stdev(s) if len(s) > 1 else 0:.3f}" for s in found.values()]
        rows.append((name, *cells))
    common.save(args.out, "tabular", results, ("data", *CONTENDERS), rows)
    times = fit_times(args.rounds or (2 if args.smoke else 7), 3 if args.smoke else 100)
    print()
    head = ("solver", "batch", "ms densenet", "ms scikit-learn", "ratio", "score", "score scikit-learn")
    table = [
        (t["solver"], t["batch"], *(1e3 * s for s in t["seconds"].values()), t["ratio"][1], *t["score"].values())
        for t in times
    ]
    common.save(args.out, "tabular_fit", times, head, table)


if __name__ == "__main__":
    main()
