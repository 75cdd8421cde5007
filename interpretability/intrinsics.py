"""Instructions of the processor that kernels ask for by name."""

# intrinsics of numba get their first parameter from the compiler
# pyright: reportCallIssue=false

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic
def prefetch(_typing_context, rows, row, column):
    """Start loading rows[row, column] into the second-level cache without waiting; changes no result."""

    def generate(context, builder, _signature, arguments):
        array = context.make_array(rows)(context, builder, arguments[0])
        address = builder.bitcast(
            cgutils.get_item_pointer(context, builder, rows, array, arguments[1:]), cgutils.voidptr_t
        )
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        instruction = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        to_read, second_level, data = number(0), number(2), number(1)
        builder.call(instruction, [address, to_read, second_level, data])
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp), generate


@intrinsic
def trailing_zeros(_typing_context, bits):
    """Number of the lowest bit of a uint64 that is set; some bit must be."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate
