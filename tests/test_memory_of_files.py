"""What a file asks of memory is in proportion to what it holds."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

import densenet as dn
from densenet.persistence import files

needs_holes = pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason="this system does not tell where holes are")


def peak_of(call):
    """Largest memory that Python and NumPy took during the call, and what it raised."""
    tracemalloc.start()
    try:
        call()
        error = None
    except Exception as caught:
        error = caught
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, error


def doubling(times, first=()):
    return dn.Sequential([*first, *(dn.Concatenate([[], []]) for _ in range(times))], seed=0)


@pytest.mark.parametrize(
    "model",
    [
        lambda: doubling(35),
        lambda: doubling(35, [dn.Dense(1, 1)]),
        lambda: doubling(35, [dn.Residual([dn.Tanh()])]),
        lambda: dn.Sequential([dn.Concatenate([[dn.Concatenate([[], []]) for _ in range(35)], []])]),
    ],
)
def test_widths_that_nothing_bears_out_are_refused(tmp_path, model):
    model().save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_size < 20_000
    peak, error = peak_of(lambda: dn.load(tmp_path / "model.npz"))
    assert isinstance(error, dn.CheckpointError)
    assert "max_width=" in str(error)
    assert peak < 4 << 20


def test_a_wide_layer_is_loaded_when_asked_or_borne_out(tmp_path):
    path = tmp_path / "model.npz"
    doubling(5).save(path)
    with pytest.raises(dn.CheckpointError, match="Concatenate with 32 columns, more than 16"):
        dn.load(path, max_width=16)
    assert dn.load(path, max_width=32).predict([[1.0]]).shape == (1, 32)
    dn.mlp([3, 40, 2], seed=0).save(path)
    assert dn.load(path, max_width=1).n_out == 2  # its own arrays are as large
    with pytest.raises(ValueError, match="max_width"):
        dn.load(path, max_width=0)


def sparse_npz(path, rows):
    """An .npz with a right layout whose one array is a hole."""
    model = dn.Sequential([dn.Dense(2, 1, use_bias=False)])
    model.save(path)
    content = files.read_file(path)
    fake = SimpleNamespace(dtype=np.dtype("<f4"), shape=(rows, 1))
    config = files._pack_config("model", content.tree, {"layers.0.W": fake})
    start = files._npy_header(np.dtype(np.uint8), (len(config),)) + config
    head = files._Entry("densenet", len(start), 0).local() + start
    array = files._npy_header(np.dtype("<f4"), (rows, 1))
    head += files._Entry("layers.0.W", len(array) + 4 * rows, 0).local() + array
    sha = files._Entry("sha256", len(files._npy_header(np.dtype(np.uint8), (32,))) + 32, 0).local()
    names = [files._Entry(name, 0, 0) for name in ("densenet", "layers.0.W", "sha256")]
    size = len(head) + 4 * rows + len(sha) + len(files._npy_header(np.dtype(np.uint8), (32,))) + 32
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(size + len(files._directory(names, 0)))


@needs_holes
def test_a_sparse_npz_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "model.npz"
    sparse_npz(path, 1 << 34)
    assert path.stat().st_size > 1 << 35
    peak, error = peak_of(lambda: dn.load(path))
    assert isinstance(error, dn.CheckpointError)
    assert "holes" in str(error)
    assert peak < 4 << 20


@needs_holes
def test_small_holes_are_no_fault(tmp_path):
    path = tmp_path / "zeros.idx"
    with open(path, "wb") as file:
        file.write(b"\0\0\x08\x01" + struct.pack(">I", 1 << 20))
        file.truncate(8 + (1 << 20))
    assert dn.datasets.read_idx(path).shape == (1 << 20,)


@needs_holes
def test_a_sparse_idx_is_refused(tmp_path):
    path = tmp_path / "zeros.idx"
    with open(path, "wb") as file:
        file.write(b"\0\0\x08\x02" + struct.pack(">II", 1 << 16, 1 << 17))
        file.truncate(12 + (1 << 33))
    peak, error = peak_of(lambda: dn.datasets.read_idx(path))
    assert isinstance(error, ValueError)
    assert "holes" in str(error)
    assert peak < 4 << 20


def test_a_compressed_idx_unpacks_in_proportion_to_its_size(tmp_path):
    path = tmp_path / "zeros.idx.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"\0\0\x08\x02" + struct.pack(">II", 1 << 10, 1 << 20))
        for _ in range(1 << 10):
            file.write(bytes(1 << 20))
    peak, error = peak_of(lambda: dn.datasets.read_idx(path))
    assert isinstance(error, ValueError)
    assert "unpack it with gunzip" in str(error)
    assert peak < 200 << 20
    with gzip.open(path, "wb") as file:
        file.write(b"\0\0\x08\x01" + struct.pack(">I", 1 << 20) + bytes(1 << 20))
    assert dn.datasets.read_idx(path).shape == (1 << 20,)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are opened in another way there")
def test_holes_are_looked_for_without_moving_the_file(tmp_path):
    path = tmp_path / "some.bin"
    path.write_bytes(bytes(range(200)) * 100)
    from densenet._files import too_sparse

    with open(path, "rb") as file:
        file.read(7)
        assert not too_sparse(file)
        assert file.read(3) == bytes([7, 8, 9])
        assert file.tell() == 10
