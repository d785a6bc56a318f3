"""What is said of an endpoint: on what it can be said, and which of several counts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from starlette.endpoints import HTTPEndpoint

from ratelimit import as_operation, operation
from ratelimit.routes.marks import MADE, MarkedApp, mark_of
from tests.routes import marks_forgotten

__all__ = ["marks_forgotten"]


def wrapping(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def plain() -> Callable[[], str]:
    def endpoint() -> str:
        return "ok"

    return endpoint


def name_of(target: Any, method: str | None = None) -> str | None:
    mark = mark_of(target, method)
    return mark and mark.operation


def test_of_functions() -> None:
    """A function is marked itself, sync or async, and stays what it was."""

    @operation("create")
    async def endpoint() -> str:
        return "ok"

    function = plain()
    assert operation("search")(function) is function
    assert (name_of(endpoint), name_of(function), name_of(plain())) == ("create", "search", None)
    assert function() == "ok"


def test_the_innermost_counts() -> None:
    """Of several marks the innermost counts, in whatever order they are with decorators that use functools.wraps."""
    assert name_of(operation("a")(operation("b")(plain()))) == "b"
    assert name_of(operation("a")(wrapping(operation("b")(plain())))) == "b"
    assert name_of(wrapping(operation("b")(wrapping(plain())))) == "b"
    assert name_of(operation("a")(wrapping(plain()))) == "a"
    assert name_of(functools.partial(operation("b")(plain()))) == "b"
    assert name_of(operation("a")(functools.partial(operation("b")(plain())))) == "b"


def test_a_second_operation_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A function that two routes share is one operation: that the other does not count is said, and where it is."""
    function = plain()
    operation("search")(function)
    operation("search")(function)
    assert caplog.text == ""
    operation("heavy_write")(function)
    assert name_of(function) == "search"
    assert f'operation("heavy_write") at {__file__}' in caplog.text
    assert 'does not count: what it is on is "search" already' in caplog.text


def test_a_mark_below_a_decorator() -> None:
    """A mark that is made on the function after it was wrapped is found all the same."""
    function = plain()
    wrapper = wrapping(function)
    operation("late")(function)
    assert name_of(wrapper) == "late"


def test_of_classes() -> None:
    """Of a class its own mark counts, else what it inherits; before both that of the method that answers."""

    class View(HTTPEndpoint):
        async def get(self, request: Any) -> None: ...

        @operation("heavy_write")
        async def post(self, request: Any) -> None: ...

    assert (name_of(View, "get"), name_of(View, "post"), name_of(View, "delete")) == (None, "heavy_write", None)
    operation("a")(View)
    assert (name_of(View, "get"), name_of(View, "head"), name_of(View, "post")) == ("a", "a", "heavy_write")

    class Inheriting(View): ...

    assert name_of(Inheriting, "get") == "a"
    assert operation("b")(Inheriting) is Inheriting
    assert (name_of(Inheriting, "get"), name_of(View, "get")) == ("b", "a")


def test_of_methods_and_callables() -> None:
    """A bound method, an object that is called and one without a dict can be marked too."""

    class Called:
        def __call__(self) -> str:
            return "called"

        def method(self) -> str:
            return "method"

    class Slotted:
        __slots__ = ()

        def __call__(self) -> str:
            return "slotted"

    def three(a: int, b: int, c: int) -> int:
        return a + b + c

    for target in (Called(), Called().method, Slotted(), len, functools.partial(three), staticmethod(three)):
        assert name_of(operation("a")(target)) == "a"
    assert operation("a")(Slotted())() == "slotted"
    assert operation("a")(Called().method)() == "method"


def test_objects_of_a_marked_class() -> None:
    """An object answers as what its class is marked, or the method of it that is called; also one without a dict."""

    class View:
        def __call__(self, request: Any) -> None: ...

    class Slotted:
        __slots__ = ()

        @operation("called")
        def __call__(self, request: Any) -> None: ...

    assert (name_of(View()), name_of(operation("a")(View)()), name_of(operation("b")(View()))) == (None, "a", "a")
    assert name_of(Slotted()) == "called"


def test_static_methods() -> None:
    """The mark is on the function, which is all that a class gives of a static method."""

    class Views:
        @operation("over")
        @staticmethod
        def over() -> str:
            return "ok"

        @staticmethod
        @operation("under")
        def under() -> str:
            return "ok"

    assert (name_of(Views.over), name_of(Views.under), Views.over()) == ("over", "under", "ok")


async def serve(scope: Any, receive: Any, send: Any) -> None: ...


def test_of_apps() -> None:
    """An app that is served can be marked twice, each time as another operation: it is no mark of the app itself."""

    class App:
        routes: tuple[()] = ()

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    for app in (App(), serve):
        first, second = operation("a")(app), operation("b")(app)
        assert isinstance(first, MarkedApp)
        assert isinstance(second, MarkedApp)
        assert (first.mark.operation, second.mark.operation, name_of(app)) == ("a", "b", None)
        assert (name_of(first), name_of(operation("c")(first))) == ("a", "a")
    assert operation("a")(App()).routes == ()
    with pytest.raises(AttributeError):
        MarkedApp.__new__(MarkedApp).anything  # noqa: B018 - as a copy is made


def test_mistakes_are_told_where_they_are_written() -> None:
    """A name that is none, units that are none, and a target that is not called raise at once."""
    with pytest.raises(ValueError, match="is not a text in quotes"):
        operation(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exempt"):
        operation("exempt")
    with pytest.raises(ValueError, match="exempt"):
        as_operation("exempt")
    with pytest.raises(ValueError, match="-1 is too small; the least is 0"):
        operation("search", units=-1)
    with pytest.raises(ValueError, match='"many" is not a whole number'):
        operation("search", units="many")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='is for a function, a class or an app, not for "text"'):
        operation("search")("text")  # type: ignore[type-var]

    async def units(request: Any) -> int:
        return 1

    class Units:
        async def __call__(self, request: Any) -> int:
            return 1

    for wrong in (units, Units()):
        with pytest.raises(TypeError, match="units is async"):
            operation("search", units=wrong)  # type: ignore[arg-type]


def test_what_cannot_be_asked() -> None:
    """Callables that tell nothing of their parameters, and objects that fail when they are asked, cost nothing."""

    class Odd:
        __signature__ = "none"

        def __call__(self) -> None: ...

    class Failing:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

    assert name_of(operation("a")(Odd())) == "a"
    assert mark_of(Failing()) is None
    assert mark_of(None) is None


def test_marks_are_counted() -> None:
    """Each mark that is made has routes read again that were read before it."""
    before = sum(MADE)
    operation("a")(plain())
    as_operation("a")
    assert sum(MADE) == before + 3
