"""The building blocks of kernels: arrays from addresses, BLAS by address, numbers of the model's dtype.

A kernel is a plain function ``kernel(a, c, s, r)``, compiled to machine code that is called by its address: `a` holds
addresses and sizes, `c` constants in the model's dtype, `s` and `r` the integers and floats of the current step
(`slots`). No address is a global, so that machine code can be kept in a file.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False, "fastmath": {"contract"}}
"""A division by 0 is what IEEE says, and a b + c may be rounded once. Nothing assumes that there is no NaN."""


def _dtype(like: Any) -> Any:
    return getattr(like, "dtype", like)


@intrinsic
def number(context: Any, like: Any, value: Any) -> Any:
    """`value` as a number of the dtype of `like`."""
    dtype = _dtype(like)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.cast(builder, values[1], types.float64, dtype)

    return dtype(like, types.float64), generate


@intrinsic
def _pointer(context: Any, like: Any, address: Any) -> Any:
    made = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[1], context.get_value_type(made))

    return made(like, types.int64), generate


@intrinsic
def _int_pointer(context: Any, address: Any) -> Any:
    made = types.CPointer(types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(made))

    return made(types.int64), generate


@intrinsic
def _float_pointer(context: Any, address: Any) -> Any:
    made = types.CPointer(types.float64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(made))

    return made(types.int64), generate


@register_jitable(**OPTIONS)
def vector(like: Any, address: Any, n: Any) -> Any:
    """The n numbers at `address`, of the dtype of `like`."""
    return carray(_pointer(like, address), n)


@register_jitable(**OPTIONS)
def integers(address: Any, n: Any) -> Any:
    """The n 64-bit integers at `address`."""
    return carray(_int_pointer(address), n)


@register_jitable(**OPTIONS)
def doubles(address: Any, n: Any) -> Any:
    """The n float64 at `address`."""
    return carray(_float_pointer(address), n)


@register_jitable(**OPTIONS)
def frame(a: Any, c: Any, s: Any, r: Any) -> Any:
    """A kernel's four pointers as arrays."""
    return carray(a, 14), carray(c, 8), carray(s, 32), carray(r, 16)


@intrinsic
def call(context: Any, kernel: Any, a: Any, c: Any, s: Any, r: Any) -> Any:
    """Call the kernel at an address; all are addresses."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [pointer.as_pointer()] * 2 + [word] * 4)
        unused = [cgutils.alloca_once(builder, pointer) for _ in range(2)]  # numba's places for a result, a failure
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), [*unused, *values[1:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


def _spill(builder: Any, value: Any) -> Any:
    """A value in memory: BLAS takes everything by address. The slot is made once a function, not once a call."""
    slot = cgutils.alloca_once(builder, value.type)
    builder.store(value, slot)
    return slot


def _invoke(context: Any, builder: Any, address: Any, values: list[Any]) -> None:
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer] * len(values))
    function = builder.inttoptr(address, kind.as_pointer())
    builder.call(function, [builder.bitcast(v, pointer) if isinstance(v.type, ir.PointerType) else v for v in values])


@intrinsic
def gemm(
    context: Any,
    like: Any,
    routine: Any,
    ta: Any,
    tb: Any,
    m: Any,
    n: Any,
    k: Any,
    x: Any,
    ldx: Any,
    y: Any,
    ldy: Any,
    beta: Any,
    z: Any,
    ldz: Any,
) -> Any:
    """z <- x y + beta z in BLAS's own order, columns first: letters, sizes and strides as BLAS has them."""
    dtype, i64 = like.dtype, types.int64

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, routine, ta, tb, m, n, k, x, ldx, y, ldy, beta, z, ldz = values
        i8, i32 = ir.IntType(8), ir.IntType(32)
        pointer = i8.as_pointer()
        letters = [_spill(builder, builder.trunc(v, i8)) for v in (ta, tb)]
        m, n, k, ldx, ldy, ldz = (_spill(builder, builder.trunc(v, i32)) for v in (m, n, k, ldx, ldy, ldz))
        alpha = _spill(builder, ir.Constant(context.get_value_type(dtype), 1.0))
        to = [builder.inttoptr(v, pointer) for v in (x, y, z)]
        arguments = [*letters, m, n, k, alpha, to[0], ldx, to[1], ldy, _spill(builder, beta), to[2], ldz]
        _invoke(context, builder, routine, arguments)
        return context.get_dummy_value()

    return types.void(like, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, dtype, i64, i64), generate


@intrinsic
def gemv(context: Any, like: Any, routine: Any, t: Any, m: Any, n: Any, x: Any, ldx: Any, v: Any, out: Any) -> Any:
    """out <- x v in BLAS's own order, columns first."""
    dtype, i64 = like.dtype, types.int64

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, routine, t, m, n, x, ldx, v, out = values
        i8, i32 = ir.IntType(8), ir.IntType(32)
        letter = _spill(builder, builder.trunc(t, i8))
        m, n, ldx = (_spill(builder, builder.trunc(w, i32)) for w in (m, n, ldx))
        kind = context.get_value_type(dtype)
        alpha, beta = _spill(builder, ir.Constant(kind, 1.0)), _spill(builder, ir.Constant(kind, 0.0))
        one = _spill(builder, ir.Constant(i32, 1))
        x, v, out = (builder.inttoptr(w, i8.as_pointer()) for w in (x, v, out))
        _invoke(context, builder, routine, [letter, m, n, alpha, x, ldx, v, one, beta, out, one])
        return context.get_dummy_value()

    return types.void(like, i64, i64, i64, i64, i64, i64, i64, i64), generate


@intrinsic
def axpy(context: Any, like: Any, routine: Any, n: Any, c: Any, x: Any, out: Any) -> Any:
    """out <- out + c x, for vectors."""
    dtype, i64 = like.dtype, types.int64

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, routine, n, c, x, out = values
        pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        one = _spill(builder, ir.Constant(i32, 1))
        x, out = (builder.inttoptr(w, pointer) for w in (x, out))
        n, c = _spill(builder, builder.trunc(n, i32)), _spill(builder, c)
        _invoke(context, builder, routine, [n, c, x, one, out, one])
        return context.get_dummy_value()

    return types.void(like, i64, i64, dtype, i64, i64), generate


# -- the bits of a float -----------------------------------------------------------------------------------------------

_BIAS = {"float32": (32, 23, 127), "float64": (64, 52, 1023)}


def magic(dtype: Any) -> float:
    """1.5 2^(bits of the mantissa): adding it rounds to a whole number, which the lowest bits then hold."""
    return 1.5 * 2.0 ** _BIAS[str(dtype)][1]


@intrinsic
def nearest(context: Any, y: Any) -> Any:
    """The whole number nearest to y, for |y| < 2^20, as a float."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        big = ir.Constant(values[0].type, magic(y))
        return builder.fsub(builder.fadd(values[0], big), big)

    return y(y), generate


@intrinsic
def scaled(context: Any, e: Any, k: Any) -> Any:
    """e 2^k for a whole k, in two halves, so that neither overflows; below the smallest normal float, too."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        e, k = values
        bits, mantissa, bias = _BIAS[str(signature.args[0])]
        word = ir.IntType(bits)
        big = ir.Constant(e.type, magic(signature.args[0]))
        whole = builder.sub(builder.bitcast(builder.fadd(k, big), word), builder.bitcast(big, word))
        half = builder.ashr(whole, ir.Constant(word, 1))
        for part in (half, builder.sub(whole, half)):
            raised = builder.shl(builder.add(part, ir.Constant(word, bias)), ir.Constant(word, mantissa))
            e = builder.fmul(e, builder.bitcast(raised, e.type))
        return e

    return e(e, k), generate


@intrinsic
def root(context: Any, x: Any) -> Any:
    """The square root, as one instruction that also works on several numbers at a time; NaN below 0."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [values[0].type]), values)

    return x(x), generate


@intrinsic
def with_sign(context: Any, size: Any, sign: Any) -> Any:
    """|size| with the sign of the other."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = values[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, values)

    return size(size, sign), generate


def series(name: str, coefficients: Any) -> Any:
    """A polynomial by Horner's rule: `coefficients` of ("float32" or "float64"), from the constant up."""

    def polynomial(context: Any, x: Any) -> Any:
        numbers = coefficients(str(x))

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kind = values[0].type
            total = ir.Constant(kind, numbers[-1])
            for coefficient in reversed(numbers[:-1]):
                product = builder.fmul(total, values[0], flags=("contract",))
                total = builder.fadd(product, ir.Constant(kind, coefficient), flags=("contract",))
            return total

        return x(x), generate

    polynomial.__name__ = name
    return intrinsic(polynomial)
