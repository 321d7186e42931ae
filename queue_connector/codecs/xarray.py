"""``xarray``: the dict form of xarray's Dataset and DataArray, as MessagePack with numpy's arrays.

* wire      what ``msgpack_numpy.packb(value.to_dict(data="array"))`` writes
* objects   are handed on as that dict, with arrays as lists: ``data_vars.gain.data`` in JMESPath.
            What is written with the keys of a Dataset or a DataArray gets arrays for its lists;
            any other object travels as `msgpack_numpy` has it
* arrays    are the data of a DataArray, of the only variable of a Dataset, or of the one that
            ``variable`` names, coordinates included. They are written as a DataArray, or as a
            Dataset with that one variable
* decode    the array form and the list form; what `msgpack_numpy` reads of them
* refused   netCDF; pickles, also as arrays of objects; datetime64
* source    xarray's documentation, "Serialization and IO"; ``to_dict`` of xarray 2026.9
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..model.datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .buffers import check_text, has_times
from .msgpack_numpy import packed, packed_object, unpacked
from .plain import check_width, plain

_NETCDF = re.compile(rb"\x89HDF\r\n\x1a\n|CDF[\x01\x02\x05]")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


@codecs.register("xarray")
class XarrayCodec(Codec):
    kinds = frozenset(
        {Kind.STR, Kind.OBJECT, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.COMPLEX, Kind.STRUCT}
    )
    max_dimensions = None
    has_variables = True

    def __init__(self, variable: str | None = None) -> None:
        self._variable = variable

    def refusal(self, spec: DataSpec) -> str:
        if has_times(spec.dtype):
            return f"the encoding {self.name!r} does not carry datetime64, as in {spec}"
        return super().refusal(spec)

    def write(self, value: Data, spec: DataSpec) -> bytes:
        if spec.kind is Kind.OBJECT:
            return packed_object(_in_array_form(value))
        check_text(value)
        array = np.asarray(value)
        dims = [f"dim_{number}" for number in range(array.ndim)]
        variable: dict[str, Any] = {"dims": dims, "attrs": {}, "data": array}
        if self._variable is None:
            return packed({**variable, "coords": {}, "name": None})
        lengths = dict(zip(dims, array.shape, strict=True))
        variables = {self._variable: variable}
        return packed({"coords": {}, "attrs": {}, "dims": lengths, "data_vars": variables})

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        if _NETCDF.match(payload):
            raise ValueError("it is netCDF; xarray's dict form in MessagePack is expected")
        if _PICKLE.match(payload):
            raise ValueError("it is a pickle, which could run code, and is refused")
        found = unpacked(payload)
        if spec.kind is Kind.OBJECT:
            return plain(found, (bytes, complex))
        data = self._data(found)
        check_width(data, spec, len(payload))
        return data

    def _data(self, found: object) -> Any:
        found = _mapping(found)
        if isinstance(variables := found.get("data_vars"), dict):
            known = {**_mapping(found.get("coords")), **variables}
            if self._variable is None and len(variables) != 1:
                names = ", ".join(map(repr, variables))
                raise ValueError(f"it has {len(variables)} variables: name one of {names}")
            name = next(iter(variables)) if self._variable is None else self._variable
            if name not in known:
                raise ValueError(f"it has no variable {name!r}, but {', '.join(map(repr, known))}")
            found = _mapping(known[name])
        elif self._variable not in (None, found.get("name")):
            coords = _mapping(found.get("coords"))
            if self._variable not in coords:
                raise ValueError(f"it is not {self._variable!r}, but {found.get('name')!r}")
            found = _mapping(coords[self._variable])
        if "data" not in found:
            raise ValueError("it is neither a Dataset nor a DataArray")
        return found["data"]


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _in_array_form(value: object) -> object:
    """A Dataset or a DataArray with arrays for lists; anything else as it is."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("data_vars"), dict):
        return {
            **value,
            **{key: _arrays(value[key]) for key in ("coords", "data_vars") if key in value},
        }
    if isinstance(value.get("dims"), list | tuple) and "data" in value:
        made = _array(value)
        return made if "coords" not in value else {**made, "coords": _arrays(value["coords"])}
    return value


def _arrays(variables: object) -> object:
    if not isinstance(variables, dict):
        return variables
    return {name: _array(variable) for name, variable in variables.items()}


def _array(variable: Any) -> Any:
    if not isinstance(variable, dict) or "data" not in variable:
        return variable
    data = variable["data"]
    if not isinstance(data, np.ndarray):
        array = np.asarray(data)
        if array.dtype.kind not in "biufcU" or array.dtype.char == "g":
            raise TypeError(f"data of {array.dtype} are not carried")
        variable = {**variable, "data": array}
    dims = variable.get("dims", ())
    if len(dims) != variable["data"].ndim:
        raise ValueError(f"{len(dims)} dims for data of {variable['data'].ndim} dimensions")
    return variable
