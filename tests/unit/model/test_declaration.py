"""Whoever writes a descriptor is told what is wrong with its class, where it stands."""

import pathlib
from typing import Any, Literal

import attrs
import pytest

from queue_connector.model.convert import structure
from queue_connector.model.declaration import check_declaration, check_registered, registered
from queue_connector.model.endpoints import SourceDescriptor, sources
from queue_connector.model.errors import ConfigError
from queue_connector.model.option import Descriptor, option


def descriptor(annotation, field=None):
    """A class with one field, as a plugin's module would hold it."""

    class Written(Descriptor):
        key: annotation = option(doc="x") if field is None else field  # type: ignore[valid-type]

    return attrs.frozen(kw_only=True)(Written)


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int | None,
        Any,
        Literal["a", "b"],
        list[int],
        list[tuple[int, str]],
        tuple[int, ...],
        dict[str, list[float]],
        SourceDescriptor | list[SourceDescriptor],
    ],
)
def test_what_json_has_is_permitted(annotation):
    check_declaration(descriptor(annotation))


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        (pathlib.Path, "is of the type <class 'pathlib.*Path'>, which JSON has not; permitted: s"),
        (list[pathlib.Path], "is of the type <class 'pathlib.*Path'>"),
        (dict[str, bytes | None], "is of the type <class 'bytes'>"),
        (set[int], r"is of the type set\[int\]"),
        (list, r".*write list\[…\]"),
        (dict[int, str], r".*write list\[…\], tuple\[…\] or dict\[str, …\]"),
        (int | float, ".*JSON cannot tell the members of this union apart"),
    ],
)
def test_a_field_of_another_type_is_refused_by_its_name(annotation, told):
    with pytest.raises(TypeError, match=rf"the field 'key' of the descriptor .*Written {told}"):
        check_declaration(descriptor(annotation))


def test_a_field_that_is_not_explained_is_refused_by_its_name():
    cls = descriptor(str, attrs.field(default=""))
    with pytest.raises(TypeError, match=r"field 'key' of .*Written is not explained: write key: …"):
        structure({}, cls)


def test_a_class_without_the_decorator_is_refused_by_its_name():
    class Forgotten(Descriptor):
        key: str = option(doc="x")

    with pytest.raises(TypeError, match=r"Forgotten is no attrs class: write @attrs\.frozen"):
        structure({"key": "x"}, Forgotten)


def test_a_name_that_only_type_checkers_know_is_refused():
    with pytest.raises(TypeError, match=r"Written cannot be read: name 'Unheard'"):
        check_declaration(descriptor("Unheard"))


def test_what_is_refused_is_registered_no_longer():
    known = registered()
    sources.register("Unexplained")(descriptor(str, attrs.field(default="")))
    with pytest.raises(TypeError, match="is not explained"):
        check_registered(known)
    assert "Unexplained" not in sources


def test_choices_are_a_list_of_texts_or_what_gives_them():
    for choices in (("a", "b"), ["a", "b"], lambda: ("a", "b")):
        cls = descriptor(str, option(doc="x", choices=choices))
        assert structure({"key": "b"}, cls).key == "b"
        with pytest.raises(ConfigError, match="expected 'a' or 'b', found text 'c'"):
            structure({"key": "c"}, cls)
