"""A plain network of ``densenet train``, on a Parquet file whose table memory does not hold."""

from __future__ import annotations

import argparse

import numpy as np

from densenet.cli.large import read_large, sample
from densenet.cli.plain import beside_linear, duration, new_trainer
from densenet.cli.reading import warn
from densenet.cli.results import Part, results, write_results
from densenet.training.callbacks import EarlyStopping


def train_large(args: argparse.Namespace) -> None:
    """Train on a Parquet file whose table memory does not hold."""
    large = read_large(args)
    preparation = large.preparation
    print("; ".join([f"training on {args.data}: {preparation.describe()}", *large.said]))
    warn(args, large.warnings)
    n_outputs = len(preparation.classes or [0])
    trainer = new_trainer(args, len(preparation.feature_names), n_outputs, preparation)
    history = trainer.fit(
        large.training,
        epochs=args.epochs,
        validation_data=large.validation,
        callbacks=[EarlyStopping(patience=args.patience, restore_best_weights=True)],
    )
    named = (("training", large.training), ("held out", large.held_out))
    parts = [Part(name, data.rows, data) for name, data in named]
    print(f"{duration(history)}\n{results(trainer, preparation, parts)}")
    (x, y), (x_out, y_out) = (sample(data) for _, data in named)
    n, count = len(y), len(y) + len(y_out)
    print(f"of {n:,} training rows and {count - n:,} rows held out:")
    both = np.concatenate([x, x_out]), np.concatenate([y, y_out])
    print(beside_linear(trainer, preparation, both, np.arange(n), np.arange(n, count)))
    write_results(args.output, trainer.model, trainer.loss, preparation, [history])
