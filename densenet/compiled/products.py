"""Small matrix products without BLAS, whose calls cost more than their arithmetic there.

The result is made tile by tile: some rows of up to 16 columns stay in the processor's registers while the sum over q is
taken, and are written once. Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), section
6.2, describe such an inner kernel; what they pack beforehand is small enough here to be read where it stands.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from densenet.compiled.primitives import OPTIONS, number, vector

_HEIGHTS = {16: 4, 8: 8, 4: 8, 2: 8, 1: 8}
"""Rows of a tile by its columns: as many sums as hide the time that one takes, and as registers hold."""


def _tile(rows: int, columns: int) -> Any:
    """A kernel of out[p, j] = b[j] + sum_q x(p, q) y[q, j] for this many p and j; addresses, and steps in bytes."""

    def tile(
        context: Any, like: Any, x: Any, down: Any, along: Any, y: Any, b: Any, out: Any, step: Any, terms: Any
    ) -> Any:
        dtype, i64 = like.dtype, types.int64

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            _, x, down, along, y, b, out, step, terms = values
            kind, word = context.get_value_type(dtype), ir.IntType(64)
            lanes, places = ir.VectorType(kind, columns), ir.VectorType(ir.IntType(32), columns)

            def load(address: Any, form: Any) -> Any:
                value = builder.load(builder.inttoptr(address, form.as_pointer()))
                value.align = dtype.bitwidth // 8
                return value

            def below(address: Any, stride: Any, i: Any) -> Any:
                return builder.add(address, builder.mul(i, stride))

            has_b = builder.icmp_signed("!=", b, ir.Constant(word, 0))
            start = builder.select(has_b, load(builder.select(has_b, b, y), lanes), ir.Constant(lanes, None))
            sums = [cgutils.alloca_once(builder, lanes) for _ in range(rows)]
            for total in sums:
                builder.store(start, total)
            with cgutils.for_range(builder, terms) as loop:
                y_row, x_column = load(below(y, step, loop.index), lanes), below(x, along, loop.index)
                for i, total in enumerate(sums):
                    entry = load(below(x_column, down, ir.Constant(word, i)), kind)
                    first = builder.insert_element(ir.Constant(lanes, ir.Undefined), entry, ir.IntType(32)(0))
                    factor = builder.shuffle_vector(first, first, ir.Constant(places, None))
                    product = builder.fmul(factor, y_row, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
            for i, total in enumerate(sums):
                at = builder.inttoptr(below(out, step, ir.Constant(word, i)), lanes.as_pointer())
                builder.store(builder.load(total), at).align = dtype.bitwidth // 8
            return context.get_dummy_value()

        return types.void(like, *[i64] * 8), generate

    return intrinsic(tile)


def _strips(width: int) -> Any:
    """All rows, so many columns at a time; the last strip overlaps the one before if `width` leaves a rest."""
    height = _HEIGHTS[width]
    tile, row = _tile(height, width), _tile(1, width)

    @register_jitable(**OPTIONS)
    def strips(
        like: Any, x: Any, down: Any, along: Any, y: Any, b: Any, out: Any, rows: Any, terms: Any, columns: Any
    ) -> None:
        whole, step = rows - rows % height, columns * like.itemsize
        for j in range(0, columns, width):
            far = min(j, columns - width) * like.itemsize
            start = b + far if b != 0 else b
            for p in range(0, whole, height):
                tile(like, x + p * down, down, along, y + far, start, out + far + p * step, step, terms)
            for p in range(whole, rows):
                row(like, x + p * down, down, along, y + far, start, out + far + p * step, step, terms)

    return strips


_strips_16, _strips_8, _strips_4, _strips_2, _strips_1 = (_strips(width) for width in _HEIGHTS)


@register_jitable(**OPTIONS)
def product(
    like: Any, x: Any, down: Any, along: Any, y: Any, b: Any, out: Any, rows: Any, terms: Any, columns: Any
) -> None:
    """out[p, j] = b[j] + sum_q x(p, q) y[q, j]; x(p, q) stands `down` p + `along` q numbers after x. No b: 0."""
    down, along = down * like.itemsize, along * like.itemsize
    if columns >= 16:
        _strips_16(like, x, down, along, y, b, out, rows, terms, columns)
    elif columns >= 8:
        _strips_8(like, x, down, along, y, b, out, rows, terms, columns)
    elif columns >= 4:
        _strips_4(like, x, down, along, y, b, out, rows, terms, columns)
    elif columns >= 2:
        _strips_2(like, x, down, along, y, b, out, rows, terms, columns)
    else:
        _strips_1(like, x, down, along, y, b, out, rows, terms, columns)


@register_jitable(**OPTIONS)
def transpose(like: Any, x: Any, out: Any, rows: Any, columns: Any) -> None:
    """out <- x^T, for x (rows, columns)."""
    size = like.itemsize
    for i in range(rows):
        row, column = vector(like, x + i * columns * size, columns), vector(like, out + i * size, rows * columns - i)
        for j in range(columns):
            column[j * rows] = row[j]


@register_jitable(**OPTIONS)
def column_sums(like: Any, x: Any, out: Any, rows: Any, columns: Any) -> None:
    """out[j] = sum_i x[i, j]."""
    total = vector(like, out, columns)
    for j in range(len(total)):
        total[j] = number(like, 0.0)
    for i in range(rows):
        row = vector(like, x + i * columns * like.itemsize, columns)
        for j in range(len(total)):
            total[j] = total[j] + row[j]
