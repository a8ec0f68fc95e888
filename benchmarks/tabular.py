"""Networks for tables beside boosted trees, forests and others, on any folder of CSV files with a `tables.toml`.

The file names each table's target, its task and the columns to leave out. Random quarters of the rows are held out;
all contenders see the same rows, with their libraries' defaults. Results are kept after every fit: a run that is
interrupted goes on where it was. Of ours, one at a time is ranked among the others.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common as common
import _tables as tables
import numpy as np
import pandas as pd
from scipy import stats

FEW_ROWS = 1000
SPLITS = {"few": 10, "many": 5}
"""Splits of tables of fewer than 1,000 rows, and of others."""
FIRST = {True: ("accuracy", "log-loss", "AUC", "Brier"), False: ("R2", "RMSE")}
"""Figures by whether the target is classes."""
LOWER_IS_BETTER = ("log-loss", "Brier", "RMSE")
RANKED = {"accuracy or R2": ("accuracy", "R2"), "log-loss or RMSE": ("log-loss", "RMSE")}
"""What contenders are ranked by: a figure for classes, and one for numbers."""


def made_up(folder: Path) -> None:
    """Two small tables, for a run that only goes through everything."""
    rng = np.random.default_rng(0)
    size, kind = rng.normal(size=80), rng.choice(["a", "b", "c"], 80)
    price = 2 * size + (kind == "a") + 0.1 * rng.normal(size=80)
    frame = pd.DataFrame({"size": size, "kind": kind, "price": price, "dear": np.where(price > 0.5, "yes", "no")})
    frame.loc[::9, "size"] = np.nan
    (folder / "tables.toml").write_text(
        '[prices]\ntarget = "price"\ntask = "regression"\ndrop = ["dear"]\n'
        '[dear]\ntarget = "dear"\ntask = "classification"\ndrop = ["price"]\n'
    )
    for name in ("prices", "dear"):
        frame.to_csv(folder / f"{name}.csv", index=False)


# -- measuring -----------------------------------------------------------------------------------------------------


def kept(path: Path, settings: dict[str, Any], again: Sequence[str]) -> list[dict[str, Any]]:
    """The fits of earlier runs with the same settings, but for contenders that are to be measured anew."""
    if not path.is_file():
        return []
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    if results["settings"] != settings:
        raise SystemExit(f"{path} was measured with {results['settings']}, not {settings}: choose another --out.")
    return [fit for fit in results["fits"] if fit["contender"] not in again]


def measure(table: tables.Table, name: str, split: int) -> dict[str, Any]:
    """One fit and its figures."""
    train, test = table.split(split)
    x = tables.inputs(name, table)
    began = time.perf_counter()
    model = tables.fit(name, table, x, train, split)
    seconds = time.perf_counter() - began
    said = tables.figures(model, table, x, test, len(train))
    return {"table": table.name, "contender": name, "split": split, "seconds": seconds} | said


# -- judging -------------------------------------------------------------------------------------------------------


def better(figure: str, value: Any) -> Any:
    """The figure with its sign so that more is better."""
    return -value if figure in LOWER_IS_BETTER else value


def by_split(fits: Sequence[dict[str, Any]], figure: str) -> dict[str, dict[int, float]]:
    """A figure of one table by contender and split."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for fit in fits:
        if figure in fit:
            found[fit["contender"]][fit["split"]] = fit[figure]
    return found


def difference(a: dict[int, float], b: dict[int, float]) -> dict[str, Any]:
    """The mean of a - b over the splits that both have, and half of its 95 % interval.

    Test parts of random splits overlap: the variance is s^2 (1 / k + n_test / n_train) (Nadeau and Bengio, 2003).
    """
    common_splits = sorted(a.keys() & b.keys())
    d, k = np.array([a[i] - b[i] for i in common_splits]), len(common_splits)
    if k < 2:
        return {"mean": float(d.mean()) if k else None, "half": None, "splits": k}
    overlap = tables.TEST_SHARE / (1 - tables.TEST_SHARE)
    half = stats.t.ppf(0.975, k - 1) * np.sqrt(d.var(ddof=1) * (1 / k + overlap))
    return {"mean": float(d.mean()), "half": float(half), "splits": k}


def ranks(per_table: dict[str, list[dict[str, Any]]], figure_of: dict[str, str], ours: str) -> dict[str, Any]:
    """Mean ranks over the tables of one of ours and all others, on the splits that all have; 1 is best."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, fits in per_table.items():
        figure = figure_of[name]
        values = {c: v for c, v in by_split(fits, figure).items() if c == ours or c not in tables.OURS}
        splits = set.intersection(*(set(v) for v in values.values())) if ours in values else set()
        if not splits:
            continue
        means = {c: np.mean([better(figure, v[i]) for i in splits]) for c, v in values.items()}
        for c, rank in zip(means, stats.rankdata([-m for m in means.values()]), strict=True):
            found[c].append(float(rank))
    return {c: {"mean rank": float(np.mean(r)), "tables": len(r)} for c, r in found.items()}


def judged(fits: list[dict[str, Any]], task: dict[str, bool]) -> dict[str, Any]:
    """Ranks, paired differences of ours to each other contender, and coverage of the intervals."""
    per_table: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fit in fits:
        per_table[fit["table"]].append(fit)
    present = [name for name in tables.OURS if any(fit["contender"] == name for fit in fits)]
    figures = {by: {name: pair[not task[name]] for name in per_table} for by, pair in RANKED.items()}
    differences = []
    for name, own in per_table.items():
        for figure in (figures[by][name] for by in RANKED):
            values = by_split(own, figure)
            for one in present:
                for other in values:
                    if other not in tables.OURS and one in values:
                        pair = {"table": name, "figure": figure, "ours": one, "other": other}
                        d = difference(values[one], values[other])
                        d["mean"] = None if d["mean"] is None else better(figure, d["mean"])
                        differences.append(pair | d)
    covered: dict[str, list[float]] = defaultdict(list)
    for fit in fits:
        if "coverage" in fit:
            covered[fit["table"]].append(fit["coverage"])
    by_table = {name: float(np.mean(c)) for name, c in covered.items()}
    return {
        "ranks": {one: {by: ranks(per_table, figures[by], one) for by in RANKED} for one in present},
        "differences": differences,
        "coverage": {"by table": by_table, "mean": float(np.mean(list(by_table.values()))) if by_table else None},
    }


# -- showing -------------------------------------------------------------------------------------------------------


def rows_of(fits: Sequence[dict[str, Any]], task: dict[str, bool]) -> tuple[list[str], list[list[Any]]]:
    """A row for each table and figure: the mean of every contender over the splits that all of them have."""
    names = [name for name in tables.CONTENDERS if any(fit["contender"] == name for fit in fits)]
    rows = []
    for table in dict.fromkeys(fit["table"] for fit in fits):
        for figure in FIRST[task[table]]:
            values = by_split([fit for fit in fits if fit["table"] == table], figure)
            splits = set.intersection(*(set(v) for v in values.values()))
            means = {name: np.mean([v[i] for i in splits]) for name, v in values.items() if splits}
            rows.append(
                [table, figure, len(splits), *(f"{means[name]:.3f}" if name in means else "" for name in names)]
            )
    return ["table", "figure", "splits", *names], rows


def said(judgement: dict[str, Any]) -> str:
    """Mean ranks as tables, and where ours is behind by more than the interval."""
    parts = []
    for one, by in judgement["ranks"].items():
        names = sorted(by["accuracy or R2"], key=lambda c: by["accuracy or R2"][c]["mean rank"])
        lines = [(c, *(f"{by[figure][c]['mean rank']:.2f}" for figure in RANKED)) for c in names]
        parts.append(common.table((f"mean rank, {one} among the others", *RANKED), lines))
    behind = [
        f"{d['ours']} is behind {d['other']} on {d['table']}: {d['figure']} by {-d['mean']:.3f} +- {d['half']:.3f}"
        for d in judgement["differences"]
        if d["splits"] > 2 and d["mean"] + d["half"] < 0  # of two splits the interval says nothing
    ]
    if judgement["coverage"]["mean"] is not None:
        parts.append(f"90 % intervals hold {judgement['coverage']['mean']:.3f} of the targets")
    return "\n\n".join([*parts, "\n".join(behind)])


def picture(judgement: dict[str, Any]) -> Any:
    """Mean ranks, and the differences of ours to the bag of boosted trees table by table."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 1 + len(judgement["ranks"]), figsize=(5 * (1 + len(judgement["ranks"])), 4.5))
    dark, light = RANKED
    for axis, (one, by) in zip(axes, judgement["ranks"].items(), strict=False):
        names = sorted(by["accuracy or R2"], key=lambda c: -by["accuracy or R2"][c]["mean rank"])
        for offset, label in zip((0.18, -0.18), RANKED, strict=True):
            values = [by[label][c]["mean rank"] for c in names]
            shade = 1.0 if offset > 0 else 0.5
            colors = ["tab:orange" if c == one else "tab:blue" for c in names]
            bars = axis.barh(np.arange(len(names)) + offset, values, 0.34, color=colors, alpha=shade)
            axis.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
        axis.margins(x=0.12)
        axis.set(yticks=np.arange(len(names)), yticklabels=names, xlabel="mean rank (1 is best)")
        axis.set_title(f"{one}\ndark: {dark}; light: {light}", fontsize=10)
    others = [d for d in judgement["differences"] if d["other"] == "bag of eight" and d["figure"] in RANKED[dark]]
    means = {(d["ours"], d["table"]): d["mean"] or 0 for d in others}
    ours = list(dict.fromkeys(d["ours"] for d in others))
    names = sorted({table for _, table in means}, key=lambda table: means.get((ours[-1], table), 0))
    for one, color, offset in zip(ours, ("tab:green", "tab:orange"), (-0.15, 0.15), strict=False):
        pairs = {d["table"]: d for d in others if d["ours"] == one}
        at = [y + offset for y, table in enumerate(names) if table in pairs]
        shown = [pairs[table] for table in names if table in pairs]
        half = [d["half"] or 0 for d in shown]
        axes[-1].errorbar(
            [d["mean"] or 0 for d in shown], at, xerr=half, fmt="o", ms=4, color=color, capsize=2, label=one
        )
    axes[-1].axvline(0, color="0.5", lw=0.8)
    axes[-1].set(yticks=np.arange(len(names)), yticklabels=names, xlabel="accuracy or R2, corrected 95 % interval")
    axes[-1].set_title("ours minus bag of eight boosted models", fontsize=10)
    if ours:
        axes[-1].legend(fontsize=8)
    figure.tight_layout()
    return figure


def main() -> None:
    """Measure what is not measured yet, then judge all."""
    options = common.parser(__doc__)
    options.add_argument("folder", type=Path, nargs="?", help="CSV files and a tables.toml")
    options.add_argument("--tables", nargs="+", metavar="NAME", help="these tables only")
    options.add_argument("--contenders", nargs="+", choices=list(tables.CONTENDERS), help="these only")
    options.add_argument("--splits", type=int, help="splits of every table (default: 10 below 1,000 rows, else 5)")
    options.add_argument("--most-rows", type=int, help="draw so many rows of larger tables")
    options.add_argument("--again", nargs="+", default=[], metavar="NAME", help="measure these contenders anew")
    args = options.parse_args()
    temporary = tempfile.TemporaryDirectory()
    if args.folder is None:
        if not args.smoke:
            options.error("a folder with a tables.toml is needed")
        args.folder, args.splits = Path(temporary.name), 2
        args.contenders = ["boosted trees", "linear", "network"]
        tables.CONTENDERS["network"] = lambda classes, seed: tables.ours(classes, seed).set_params(max_iter=4)
        made_up(args.folder)
    sys.argv = [
        a if a != str(args.folder) else args.folder.name for a in sys.argv
    ]  # results name no folder of a machine
    settings = {"most rows": args.most_rows, "test share": tables.TEST_SHARE, "seconds": "on a shared machine"}
    fits = kept(args.out / "tabular.json", settings, args.again)
    done = {(fit["table"], fit["contender"], fit["split"]) for fit in fits}
    everything = tables.read(args.folder, None, args.most_rows)
    task = {table.name: table.classes for table in everything}
    contenders = [name for name in args.contenders or tables.CONTENDERS if tables.installed(name)]
    for table in everything:
        if args.tables and table.name not in args.tables:
            continue
        for split in range(args.splits or SPLITS["few" if len(table.y) < FEW_ROWS else "many"]):
            for name in contenders:
                if (table.name, name, split) not in done:
                    common.progress(f"{table.name}, split {split}: {name}")
                    fits.append(measure(table, name, split))
            write(args.out, fits, settings, everything, task)
    common.progress("")
    write(args.out, fits, settings, everything, task, show=True)


def write(
    out: Path,
    fits: list[dict[str, Any]],
    settings: dict[str, Any],
    everything: list[tables.Table],
    task: dict[str, bool],
    show: bool = False,
) -> None:
    """Results as they are by now; at the end with a picture, and on the screen."""
    judgement = judged(fits, task)
    shapes = {
        table.name: {
            "rows": len(table.y),
            "columns": table.x.shape[1],
            "classes": int(table.y.max()) + 1 if table.classes else None,
        }
        for table in everything
    }
    head, rows = rows_of(fits, task)
    results = {"settings": settings, "tables": shapes, **judgement, "fits": fits}
    text = common.table(head, rows) + "\n\n" + said(judgement) if show else ""
    common.save(
        out, "tabular", results, head, rows, picture(judgement) if show and judgement["ranks"] else None, show=text
    )


if __name__ == "__main__":
    main()
