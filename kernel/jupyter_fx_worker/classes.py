"""Classes that any Python can open: what `dataclass` and `namedtuple` generate is generated again, not sent.

Between equal versions of Python a class travels as cloudpickle sends it. Between different ones the methods that these
two made have no source that could be compiled (`codes`): they are taken out of the class, and its own Python makes
them anew from the fields. What else differs in the insides of the standard library is evened out here too.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import types
import typing
from typing import Any

import cloudpickle
from cloudpickle.cloudpickle import _class_reduce, _make_skeleton_class

from jupyter_fx_worker import codes

__all__ = ["REDUCERS", "reduced"]

_FIELD = ("default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only", "doc")
# What the two may have made.
_OF_DATACLASS = ("init", "repr", "eq", "lt", "le", "gt", "ge", "hash", "setattr", "delattr", "replace")
_OF_TUPLE = ("__new__", "_make", "_replace", "_asdict", "__getnewargs__", "__repr__")
_GENERATED = frozenset((*(f"__{name}__" for name in _OF_DATACLASS), *_OF_TUPLE))
_FLAGS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
# A class attribute of this name would be set by the class machinery of that version alone.
_VERSIONS_OWN = ("__static_attributes__", "__firstlineno__", "__type_params__")


def reduced(cls: Any, generated: set[int]) -> Any:
    """Return cloudpickle's reduction of a class; its state is set by `_set_state`.

    The ids of code objects that the other side makes anew if it has to are added to `generated`.
    """
    reduction = _class_reduce(cls)
    if type(reduction) is not tuple or len(reduction) != 6:
        return reduction
    make, arguments, (attributes, slots), items, pairs, _setter = reduction
    if vars(cls).get("__slots__") and make is _make_skeleton_class:
        # Set afterwards they would be a mere attribute, and its objects would have a __dict__ that they lack elsewhere.
        arguments = (*arguments[:3], {**arguments[3], "__slots__": cls.__slots__}, *arguments[4:])
    attributes = {name: _named(value) for name, value in attributes.items() if not _of_typing(value)}
    if "__dataclass_params__" in attributes or "_fields" in attributes:
        generated.update(id(code) for name in _GENERATED & set(attributes) for code in _codes(attributes[name]))
    return make, arguments, (tuple(codes.PYTHON), (attributes, slots)), items, pairs, _set_state


def _of_typing(value: Any) -> bool:
    """Whether this is what `typing` puts into every protocol: it does so again where the class is made."""
    return getattr(getattr(value, "__func__", value), "__module__", None) == "typing" and _is_function(value)


def _is_function(value: Any) -> bool:
    return isinstance(getattr(value, "__func__", value), types.FunctionType)


class _Named:
    """A function inside of `dataclasses`: None where that has no such."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return _inside, (self._name,)


def _named(value: Any) -> Any:
    if not isinstance(value, types.FunctionType):
        return value
    name = str(value.__qualname__)
    return _Named(name) if getattr(dataclasses, name, None) is value else value


def _inside(name: str) -> Any:
    return getattr(dataclasses, name, _Named)


def _set_state(cls: Any, told: tuple[tuple[int, int], Any]) -> Any:
    version, (attributes, slots) = told
    if list(version) == codes.PYTHON:
        return cloudpickle.cloudpickle._class_setstate(cls, (attributes, slots))  # noqa: SLF001
    attributes = {
        name: value for name, value in attributes.items() if name not in _VERSIONS_OWN and value is not _Named
    }
    template: Any = object
    if "__dataclass_params__" in attributes:
        template = _dataclass_like(cls, attributes)
    elif "_fields" in attributes and issubclass(cls, tuple):
        template = _tuple_like(cls, attributes)
    anew = []
    for name in _GENERATED & set(attributes) & set(vars(template)):
        stubs = [code for code in _codes(attributes[name]) if codes.is_stub(code)]
        if stubs:
            codes.forgive(stubs)
            anew.append(name)
            del attributes[name]
    cls = cloudpickle.cloudpickle._class_setstate(cls, (attributes, slots))  # noqa: SLF001
    for name in anew:
        setattr(cls, name, _moved(vars(template)[name], template, cls))
    return cls


def _codes(value: Any) -> list[Any]:
    """The code objects that a method, and what it wraps, consist of."""
    found: list[Any] = []
    todo = [getattr(value, "__func__", value)]
    while todo:
        one = todo.pop()
        if isinstance(one, types.FunctionType) and one.__code__ not in found:
            found.append(one.__code__)
            todo += [getattr(one, "__wrapped__", None), *(_content(cell) for cell in one.__closure__ or ())]
    return found


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _dataclass_like(cls: Any, attributes: dict[str, Any]) -> Any:
    """Return a dataclass with these fields and without bases, whose methods fit."""
    fields: dict[str, Any] = attributes["__dataclass_fields__"]
    flags = {name: getattr(attributes["__dataclass_params__"], name) for name in _FLAGS}
    listed = [(name, field.type, _build_field(*_reduce_field(field)[1])) for name, field in fields.items()]
    return dataclasses.make_dataclass(cls.__name__, listed, **flags)


def _tuple_like(cls: Any, attributes: dict[str, Any]) -> Any:
    names, known = attributes["_fields"], attributes.get("_field_defaults", {})
    defaults = [known[name] for name in names if name in known]
    make: Any = collections.namedtuple  # noqa: PYI024 - its fields are known at run time only
    return make(cls.__name__, names, defaults=defaults, module=cls.__module__)


def _moved(method: Any, template: Any, cls: Any) -> Any:
    """Return a method of the template as one of the class."""
    for one in (method, getattr(method, "__wrapped__", None)):
        if isinstance(one, types.FunctionType):
            one.__qualname__ = f"{cls.__qualname__}.{one.__name__}"
            for cell in one.__closure__ or ():
                if _content(cell) is template:
                    cell.cell_contents = cls
    return method


# --- the insides of dataclasses ---


def _reduce_field(field: Any) -> Any:
    told: dict[str, Any] = {}
    for name in _FIELD:
        value = getattr(field, name, None)
        if name == "metadata":
            told[name] = dict(value or {})
        elif value is not dataclasses.MISSING and not (value is None and name in ("hash", "doc", "kw_only")):
            told[name] = value
    return _build_field, (told, field.name, field.type, field._field_type)  # noqa: SLF001 - has no public name


def _build_field(told: dict[str, Any], name: Any, kind: Any, what: Any) -> Any:
    known = {"metadata", *dataclasses.Field.__slots__}
    later = {key: told.pop(key) for key in list(told) if key not in known}
    if later.get("kw_only") is True:
        raise TypeError(f"the field {name} of a dataclass is keyword-only, which this Python's dataclasses do not know")
    told["kw_only"] = told.get("kw_only", False)
    if "kw_only" not in known:
        del told["kw_only"]
    field: Any = dataclasses.field(**told)
    field.name, field.type, field._field_type = name, kind, what  # noqa: SLF001 - as above
    return field


def _reduce_params(params: Any) -> Any:
    return _build_params, ({name: getattr(params, name) for name in type(params).__slots__},)


def _build_params(told: dict[str, Any]) -> Any:
    kind = _PARAMS
    made = kind.__new__(kind)
    for name in kind.__slots__:
        setattr(made, name, told.get(name, name == "match_args"))
    return made


def _reduce_missing(_missing: Any) -> str:
    return "MISSING"


def _reduce_property(cached: Any) -> Any:
    return _build_property, (cached.func, cached.attrname)


def _build_property(function: Any, name: Any) -> Any:
    made: Any = functools.cached_property(function)
    made.attrname = name
    return made


def _reduce_forward(reference: Any) -> Any:
    """Of an annotation in quotes; by itself it holds compiled code."""
    told = reference.__forward_arg__, getattr(reference, "__forward_is_argument__", True)
    return _build_forward, (*told, getattr(reference, "__forward_module__", None))


def _build_forward(text: str, is_argument: bool, module: Any) -> Any:
    made: Any = typing.ForwardRef(text, is_argument)
    if module is not None:
        made.__forward_module__ = module
    return made


# Neither has a public name.
_PARAMS: Any = getattr(dataclasses, "_DataclassParams")  # noqa: B009
REDUCERS: dict[Any, Any] = {
    dataclasses.Field: _reduce_field,
    _PARAMS: _reduce_params,
    type(dataclasses.MISSING): _reduce_missing,
    typing.ForwardRef: _reduce_forward,
    functools.cached_property: _reduce_property,
}
