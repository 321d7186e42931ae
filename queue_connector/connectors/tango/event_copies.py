"""Send large events from a copy, as small ones are sent: the pusher never waits for a subscriber.

From 2,048 elements on cppTango hands ZeroMQ the memory of the event itself, and waits until that is
no longer needed: until the connection of each subscriber has taken the event. It waits inside
``push_event``, with the mutex of all pushes, and PyTango calls it with the device's monitor and
Python's interpreter lock held, so that one client that is stopped stops the whole process. There
is no option for it, and no type of data that goes another way.

`install` puts a function of our own between cppTango and ``zmq_msg_init_data``, by which alone it
sends without a copy: it copies the memory, makes the message of the copy, and tells cppTango at
once that the memory is free. It counts the bytes of the copies that have not gone yet.

* where     Linux on x86-64; elsewhere `install` says why not, and large events are as before
* how       the entry of that function in libtango's own table of imported functions; libzmq, and
            whoever else uses it, stays as it is. The function is machine code, since neither a
            callback into Python (it needs the interpreter lock, which the lane holds while it
            waits for the mutex that Tango's polling thread holds) nor a compiler is at hand.
* source    cppTango, ``ZmqEventSupplier::push_event``; ZeroMQ manual, ``zmq_msg_init_data``; System
            V ABI, "Dynamic linking"
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from collections.abc import Iterator

from .libraries import loaded, maps

_PAGE = 4096
_RTLD_DI_LINKMAP = 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23
_GLOB_DAT, _JUMP_SLOT = 6, 7

_CODE = bytes.fromhex(
    # copy(message, data, size, release, hint): without release, nobody waits, so nothing changes
    "f30f1efa 4885c9 0f8482000000"  # endbr64; if (!release) goto zero_copy
    "53 55 4154 4155 4156 4889fb 4889f5 4989d4 4989cd 4d89c6"  # keep what was given
    "4889d7 ff15db0f0000 4885c0 7446"  # if (!(to = malloc(size))) goto no_memory
    "4889c7 4889ee 4c89e2 ff15cf0f0000"  # memcpy(to, data, size)
    "4889df 4889c6 4c89e2 488d0d44000000 4d89e0"  # message, to, size, gone, size
    "f04c0125a40f0000 ff15be0f0000 89c3"  # waiting += size; result = zmq_msg_init_data(...)
    "4889ef 4c89f6 41ffd5 89d8"  # release(data, hint)
    "415e 415d 415c 5d 5b c3"  # return result
    # no_memory: take back what was kept
    "4889df 4889ee 4c89e2 4c89e9 4d89f0 415e 415d 415c 5d 5b"
    "ff258b0f0000"  # zero_copy: return zmq_msg_init_data(message, data, size, release, hint)
    # gone(data, size): a copy is not needed any more
    "f30f1efa f04829355f0f0000 ff25710f0000"  # waiting -= size; free(data)
)
"""Compiled by hand, readable in the comments; it finds `_Table` one page after its own begin."""


class _Table(ctypes.Structure):
    _fields_ = (
        ("waiting", ctypes.c_int64),
        ("malloc", ctypes.c_void_p),
        ("memcpy", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
        ("zmq_msg_init_data", ctypes.c_void_p),
    )


class _LinkMap(ctypes.Structure):
    _fields_ = (("base", ctypes.c_size_t), ("name", ctypes.c_char_p), ("dynamic", ctypes.c_size_t))


class _Dynamic(ctypes.Structure):
    _fields_ = (("tag", ctypes.c_int64), ("value", ctypes.c_uint64))


class _Relocation(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("info", ctypes.c_uint64), ("addend", ctypes.c_int64))


class CannotCopyError(Exception):
    """Large events cannot be sent from a copy here, with the reason."""


_table: _Table | None = None


def install() -> None:
    """Let this process send large events from a copy, from now on; once is enough.

    Raises:
        CannotCopyError: it cannot be done here; nothing was changed.
    """
    global _table
    if _table is not None:
        return
    if (found := (sys.platform, platform.machine())) != ("linux", "x86_64"):
        raise CannotCopyError(f"it is known how for Linux on x86-64 only, not for {found}")
    try:
        libtango = loaded("libtango")
        slot = _slot(libtango, b"zmq_msg_init_data")
        code, table = _make(_address(libtango.zmq_msg_init_data))
        _write(slot, code)
    except (OSError, AttributeError, LookupError) as error:
        raise CannotCopyError(str(error)) from error
    _table = table


def waiting() -> int:
    """Bytes of large events that have been pushed, and that some subscriber has not taken yet."""
    return 0 if _table is None else _table.waiting


def _address(function: object) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert address is not None
    return address


def _make(zmq_msg_init_data: int) -> tuple[int, _Table]:
    """The function, where it can be called, and its table; both stay for ever."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    begin = libc.mmap(None, 2 * _PAGE, mmap.PROT_READ | mmap.PROT_WRITE, anonymous, -1, 0)
    if begin in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "no memory for it")
    ctypes.memmove(begin, _CODE, len(_CODE))
    table = _Table.from_address(begin + _PAGE)
    for name in ("malloc", "memcpy", "free"):
        setattr(table, name, _address(getattr(libc, name)))
    table.zmq_msg_init_data = zmq_msg_init_data
    _protect(begin, mmap.PROT_READ | mmap.PROT_EXEC)
    return begin, table


def _protect(address: int, protection: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    page = ctypes.c_void_p(address - address % _PAGE)
    if libc.mprotect(page, ctypes.c_size_t(_PAGE), protection):
        raise OSError(ctypes.get_errno(), "the system does not allow to change what may be run")


def _write(slot: int, function: int) -> None:
    """Set one entry of a table of imported functions, which may be read-only."""
    writable = "w" in _permissions(slot)
    if not writable:
        _protect(slot, mmap.PROT_READ | mmap.PROT_WRITE)
    ctypes.c_size_t.from_address(slot).value = function  # aligned: one store, whoever calls it now
    if not writable:
        _protect(slot, mmap.PROT_READ)


def _slot(library: ctypes.CDLL, name: bytes) -> int:
    """Where a library keeps the address of a function that it imports."""
    link_map = ctypes.POINTER(_LinkMap)()
    if ctypes.CDLL(None).dlinfo(
        ctypes.c_void_p(library._handle), _RTLD_DI_LINKMAP, ctypes.byref(link_map)
    ):
        raise LookupError("the linker does not tell where libtango is")
    base = link_map.contents.base
    tags = dict(_dynamic(link_map.contents.dynamic))
    symbols, strings = tags[_DT_SYMTAB], tags[_DT_STRTAB]
    for table, size in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
        count = tags.get(size, 0) // ctypes.sizeof(_Relocation)
        for entry in (_Relocation * count).from_address(tags.get(table, base)):
            if entry.info & 0xFFFFFFFF not in (_GLOB_DAT, _JUMP_SLOT):
                continue
            text = ctypes.c_uint32.from_address(symbols + 24 * (entry.info >> 32)).value
            if ctypes.string_at(strings + text) == name:
                return int(base + entry.offset)
    raise LookupError(f"libtango does not call {name.decode()}")


def _dynamic(address: int) -> Iterator[tuple[int, int]]:
    while True:
        entry = _Dynamic.from_address(address)
        if entry.tag == 0:
            return
        yield entry.tag, entry.value
        address += ctypes.sizeof(_Dynamic)


def _permissions(address: int) -> str:
    return next((allowed for begin, end, allowed, _ in maps() if begin <= address < end), "")
