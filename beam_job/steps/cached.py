"""A function of Arrow types in; the same function with its newest results kept, out."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")
MOST = 1024


def cached(function: Callable[[*Arguments], T]) -> Callable[[*Arguments], T]:
    """Keep results by their arguments: a batch may have thousands of files, and a stream has few types and layouts.

    Types that another library registered may not be hashable; for those the function is called each time.
    """
    kept = lru_cache(MOST)(function)

    @wraps(function)
    def call(*args: *Arguments) -> T:
        try:
            hash(args)
        except TypeError:
            return function(*args)
        return kept(*args)

    return call
