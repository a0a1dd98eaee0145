"""Run by one Python to pickle what `things.py` defines (`write`), by another to open and try it (`read`).

Stands on the worker package alone, so that any interpreter can run it.
"""

import linecache
import pickle
import sys
import types
from pathlib import Path


def define(source):
    """As a notebook does: in a namespace that is `__main__`, its text known as a cell's."""
    name = "<fx-cell:things-1>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space = sys.modules["__main__"].__dict__
    exec(compile(source, name, "exec", dont_inherit=True), space)
    return space


def write(source, target):
    from jupyter_fx_worker import envelope

    space = define(source)
    made = {}
    for name, expected in space["CASES"].items():
        parts = envelope.dumps(space[name], "result")
        made[name] = b"".join(bytes(part) for part in parts), repr(expected())
    Path(target).write_bytes(pickle.dumps(made, 4))


def read(source, target):
    from jupyter_fx_worker import envelope

    code = compile(source, "<things>", "exec", dont_inherit=True)
    for name, (data, expected) in pickle.loads(Path(target).read_bytes()).items():
        try:
            value = envelope.loads(bytearray(data))[1]
            space = {"__name__": "elsewhere"}
            exec(code, space)
            cases = space["CASES"][name]
            # The case as it is written, but of what came: nothing else that it names is used in its place.
            told = types.FunctionType(cases.__code__, {**space, name: value})
            got = repr(told())
            print(f"{name}\t{'same' if got == expected else f'{got} != {expected}'}")
        except Exception as error:
            print(f"{name}\t{type(error).__name__}: {error}")


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]).read_text(), sys.argv[3])
