"""What people define in notebooks, and what it gives: run and pickled by one Python, opened and run by another.

Plain enough for Python 3.9. Every name of CASES is pickled; its lambda is what it should give wherever it is.
"""

import asyncio
import collections
import contextlib
import dataclasses
import enum
import functools
import pathlib
import typing
from dataclasses import dataclass, field

K = 3


def plain(x, y=2, *more, z=K, **named):
    """A doc string."""
    return [x * i + z for i in range(y) if i or (lambda q: q)(1)]


def outer(n):
    def inner(x):
        return x + n

    return inner


closure = outer(5)
square, cube = (lambda x: x**2), (lambda x: x**3)


def decorate(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return "wrapped", function(*args, **kwargs)

    return wrapper


@decorate
def decorated(x):
    return x * 2


@functools.lru_cache(maxsize=None)
def cached(n):
    return n if n < 2 else cached(n - 1) + cached(n - 2)


def generator(n):
    try:
        for i in range(n):
            yield {j: [k for k in range(j)] for j in range(i)}
    finally:
        pass


def comprehensive(rows):
    total = sum(x * y for x, y in zip(rows, (z for z in reversed(rows))))
    table = {key: {value for value in range(key)} for key in rows if all(other >= 0 for other in rows)}
    return total, table, [[(a, b) for b in range(a)] for a in rows], (lambda: [K for _ in rows])()


async def numbers():
    yield 1


@contextlib.asynccontextmanager
async def around():
    yield


async def coroutine(x):
    async with around():
        await asyncio.sleep(0)
        return [y async for y in numbers()] + [x]


@contextlib.contextmanager
def managed():
    yield 4


def manager():
    with managed() as value:
        return value


def raising(x):
    try:
        return 1 / x
    except ZeroDivisionError as error:
        raise Failed(x, "two") from error


class Failed(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)
        self.first = first


class Base:
    __secret = 1
    kind: int = 3

    def __init__(self, x):
        self.x = x
        self.__y = x

    def get(self):
        return self.__y + self.__secret

    @property
    def prop(self):
        return self.x

    @classmethod
    def make(cls):
        return cls(9)

    @staticmethod
    def fixed():
        return 7

    @functools.cached_property
    def slow(self):
        return self.x * 100


class Derived(Base):
    def get(self):
        return super().get() * 2


instance = Derived(4)


@dataclass(order=True)
class Point:
    x: int
    y: float = 2.0
    none: typing.Optional[int] = None
    tags: list = field(default_factory=list, compare=False)

    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5


@dataclass(frozen=True)
class Fixed:
    x: int = 1


@dataclass
class Deeper(Point):
    z: int = 0


point, fixed, deeper = Point(3, 4.0), Fixed(5), Deeper(1)


class Color(enum.Enum):
    RED = 1
    GREEN = 2

    def shout(self):
        return self.name + "!"


class Bits(enum.IntFlag):
    A = 1
    B = 2


color = Color.GREEN


class Named(typing.NamedTuple):
    a: int
    b: str = "b"

    def both(self):
        return (self.a, self.b)


Pair = collections.namedtuple("Pair", "x y", defaults=[5])
named, pair = Named(1), Pair(1)
path = pathlib.Path("/tmp/x")


class Sized(typing.Protocol):
    def size(self) -> int: ...


T = typing.TypeVar("T")


class Generic(typing.Generic[T]):
    def __init__(self, x: T):
        self.x = x


generic = Generic(3)
partial = functools.partial(plain, 2, y=4)
exec("def sourceless(): return 1")


def drain(coro):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


def caught(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__, error.args, type(error.__cause__).__name__


@functools.total_ordering
class Ordered:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    def __lt__(self, other):
        return self.x < other.x


ordered = Ordered(1)

CASES = {
    "plain": lambda: plain(2, 4),
    "closure": lambda: closure(1),
    "square": lambda: square(5),
    "cube": lambda: cube(5),
    "decorated": lambda: decorated(4),
    "cached": lambda: cached(20),
    "generator": lambda: list(generator(4)),
    "comprehensive": lambda: comprehensive([3, 1, 2]),
    "coroutine": lambda: drain(coroutine(3)),
    "manager": lambda: manager(),
    "raising": lambda: caught(raising, 0),
    "Failed": lambda: Failed(1, 2).first,
    "Base": lambda: (Base(2).get(), Base.make().prop, Base.fixed(), Base(1).slow),
    "Derived": lambda: Derived(2).get(),
    "instance": lambda: (instance.get(), instance.prop),
    "Point": lambda: (Point(1), Point(1) < Point(2), Point(1) == Point(1), Point(3, 4).norm()),
    "point": lambda: (point, point == type(point)(3, 4.0)),
    "fixed": lambda: (fixed, hash(fixed) == hash(type(fixed)(5))),
    "deeper": lambda: (deeper, dataclasses.asdict(deeper)),
    "Color": lambda: (list(Color), Color.RED.shout(), Color(1) is Color.RED),
    "Bits": lambda: (Bits.A | Bits.B).value,
    "color": lambda: (color, color.shout()),
    "Named": lambda: (Named(5), Named(5).both(), Named(1)._replace(a=3), Named._make([1, 2])),
    "named": lambda: (named, named.both()),
    "Pair": lambda: (Pair(2), Pair(1)._asdict()),
    "pair": lambda: pair,
    "path": lambda: path,
    "Sized": lambda: Sized.__name__,
    "generic": lambda: generic.x,
    "partial": lambda: partial(),
    "ordered": lambda: ordered <= type(ordered)(3),
    "sourceless": lambda: sourceless(),  # noqa: F821
}
