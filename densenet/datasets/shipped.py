"""Two small sets of real measurements that ship with the package, so that every example runs without a download.

Where the numbers come from, who took them and under which licence stands in ``data/README.md`` beside them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densenet.datasets.readers import read_csv

IRIS_FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
"""Columns of `load_iris`'s x, in centimetres."""

IRIS_CLASSES = ("setosa", "versicolor", "virginica")
"""Names of `load_iris`'s classes 0, 1 and 2."""

_DATA = Path(__file__).parent / "data"


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Handwritten digits, 8 x 8 pixels: x = (number of dark dots in each 4 x 4 block of the scan) / 16.

    The scans of 13 writers: the test part of the UCI set "Optical Recognition of Handwritten Digits", CC BY 4.0.

    Returns
    -------
    x : ndarray (1797, 64), float32
        Grey values in [0, 1], row by row of the image: ``x[i].reshape(8, 8)``.
    y : ndarray (1797,), int64
        The digits 0 to 9.

    References
    ----------
    .. [1] Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (1998), UCI Machine Learning Repository,
       https://doi.org/10.24432/C50P49.

    Examples
    --------
    >>> from densenet import datasets
    >>> x, y = datasets.load_digits()
    >>> x.shape, x.dtype, y[:10].tolist()
    ((1797, 64), dtype('float32'), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    with np.load(_DATA / "digits.npz") as data:
        return data["pixels"].astype(np.float32) / np.float32(16), data["digits"].astype(np.int64)


def load_iris() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Sepals and petals of 150 iris flowers of three species, 50 of each.

    The UCI set "Iris", CC BY 4.0, with the values of Fisher's paper in the two rows where the UCI file differs from it:
    row 34 (petal width 0.2, not 0.1) and row 37 (sepal width 3.6, not 3.1; petal length 1.4, not 1.5), from 0.

    Returns
    -------
    x : ndarray (150, 4), float32
        Centimetres, columns as in `IRIS_FEATURES`.
    y : ndarray (150,), int64
        Species, numbered as in `IRIS_CLASSES`.

    References
    ----------
    .. [1] Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936), table I.
    .. [2] Fisher, "Iris" (1936), UCI Machine Learning Repository, https://doi.org/10.24432/C56C76.

    Examples
    --------
    >>> from densenet import datasets
    >>> x, y = datasets.load_iris()
    >>> print(x[0], datasets.IRIS_CLASSES[y[0]])
    [5.1 3.5 1.4 0.2] setosa
    """
    table = read_csv(_DATA / "iris.csv", target="species")
    x = np.column_stack([table[name] for name in IRIS_FEATURES]).astype(np.float32)
    return x, np.array([IRIS_CLASSES.index(species) for species in table["species"]], np.int64)
