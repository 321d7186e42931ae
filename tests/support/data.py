"""Hypothesis strategies of data: a spec, and values that conform to it exactly."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from queue_connector.model.datatypes import DataSpec, Kind

INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
STRUCT = [["name", "U8"], ["x", "float64"], ["n", "uint64"], ["on", "bool"], ["m", "float32", [2]]]
NESTED = [["id", "int16"], ["inner", [["re", "complex64"], ["label", "U3"]], [2]]]
TIMED = [["ts", "datetime64[ns]"], ["az", "float64"]]
DTYPES = (
    "str", "U6", "object", "bytes", "bool", *INTEGERS, "float32", "float64", ">f4", ">i8",
    "complex64", "complex128", "datetime64[ns]", "datetime64[s]", STRUCT, NESTED, TIMED,
)  # fmt: skip
SHAPES = {
    "scalar": (), "1-D": (3,), "2-D": (2, 3), "3-D": (2, 1, 3), "dynamic": (-1,),
    "dynamic rows": (-1, 2), "dynamic columns": (2, -1), "empty": (0,), "empty rows": (0, 3),
    "empty columns": (3, 0),
}  # fmt: skip

TEXT = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["", "nan", "Ω≈ç", "😀\U0010ffff", "'\"\\", "\n\x00x", "[{(", "]})"]
)
PADDED_TEXT = TEXT.filter(lambda text: not text.endswith("\0"))
NUMBERS = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, float("nan"), float("inf")])


NOTHING = st.none()


def json_like(*, keys=TEXT, leaves=NOTHING):
    scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | NUMBERS | TEXT | leaves
    return st.recursive(
        scalars,
        lambda items: st.lists(items, max_size=4) | st.dictionaries(keys, items, max_size=4),
        max_leaves=12,
    )


def lengths(shape):
    return st.tuples(*[st.integers(0, 5) if n < 0 else st.just(n) for n in shape])


def elements(dtype):
    """Of one field, or of an array of a plain dtype."""
    if dtype.kind == "U":
        return PADDED_TEXT.map(lambda text: text[: dtype.itemsize // 4].rstrip("\0"))
    return hnp.from_dtype(dtype)


@st.composite
def structs(draw, dtype, shape):
    array = np.zeros(shape, dtype)
    for name in dtype.names:
        field = dtype.fields[name][0]
        base, inner = field.subdtype or (field, ())
        full = (*shape, *inner)
        if base.names:
            array[name] = draw(structs(base, full))
        else:
            array[name] = draw(hnp.arrays(base, full, elements=elements(base)))
    return array


@st.composite
def values(draw, spec: DataSpec):
    """A datum as `conform` makes them."""
    if spec.kind is Kind.OBJECT:
        return draw(json_like())
    if spec.kind is Kind.BYTES:
        return ("", draw(st.binary(max_size=20)))
    if spec.kind is Kind.STR and not spec.shape:
        text = draw(PADDED_TEXT)
        return text[: spec.dtype.itemsize // 4].rstrip("\0") if spec.dtype.itemsize else text
    shape = draw(lengths(spec.shape))
    if spec.kind is Kind.STRUCT:
        array = draw(structs(spec.dtype, shape))
    elif spec.kind is Kind.STR:
        dtype = spec.dtype if spec.dtype.itemsize else np.dtype("U6")
        array = draw(hnp.arrays(dtype, shape, elements=elements(dtype)))
    else:
        array = draw(hnp.arrays(spec.dtype, shape))
    return array if spec.shape else array[()]


def same(left, right) -> bool:
    """Equal in type, shape and every bit that counts; NaN equals NaN, -0.0 is not 0.0."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        if type(left) is not type(right) or left.shape != right.shape:
            return False
        if left.dtype.kind == "U" and right.dtype.kind == "U":
            return left.tolist() == right.tolist()
        return left.dtype == right.dtype and same_items(left, right)
    if isinstance(left, np.generic) or isinstance(right, np.generic):
        return type(left) is type(right) and same(np.asarray(left), np.asarray(right))
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return repr(left) == repr(right)
    return left == right


def same_items(left, right) -> bool:
    if left.dtype.names:
        return all(same(left[name], right[name]) for name in left.dtype.names)
    if left.dtype.kind == "f":
        nan = np.isnan(left)
        signs = np.signbit(left) == np.signbit(right)
        return bool(np.all((nan & np.isnan(right)) | ((left == right) & signs)))
    if left.dtype.kind == "c":
        return same(left.real, right.real) and same(left.imag, right.imag)
    if left.dtype.kind == "M":
        return bool(np.all((left == right) | (np.isnat(left) & np.isnat(right))))
    return bool(np.all(left == right))
