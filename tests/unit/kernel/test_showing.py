"""Where and when a card and a cell's text are shown: quiet when all is well, under what was printed, in few pieces."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest

from jupyter_fx.protocol.messages import Event, EventKind
from jupyter_fx_kernel import running
from jupyter_fx_kernel.card import Card
from jupyter_fx_kernel.outputs import Outputs
from jupyter_fx_kernel.showing import CardView
from tests.unit.kernel.cards import full


class Screen:
    """A notebook's outputs: displays in place, by their ids."""

    def __init__(self) -> None:
        self.displays: list[list[Any]] = []

    def publish(self, data: Any, _metadata: Any, *, transient: dict[str, Any], update: bool) -> None:
        name = transient["display_id"]
        if update:
            for display in self.displays:
                if display[0] == name:
                    display[1] = data
        else:
            self.displays.append([name, data])

    @property
    def lines(self) -> list[str]:
        return [data.get("text/plain", "") for _, data in self.displays]


class Printed:
    count = 0
    midline = False


def shown(state: str = "running", elapsed: float = 1.0) -> tuple[Card, CardView, Screen, Any]:
    screen, printed = Screen(), Printed()
    card = full(state=state, elapsed=elapsed)
    return card, CardView(card, screen.publish, rich=True, outputs=printed), screen, printed  # type: ignore[arg-type]


def no_value(_do: Callable[[], None]) -> bool:
    return False


def test_a_quick_cell_that_goes_well_shows_no_card() -> None:
    card, view, screen, _ = shown(elapsed=0.2)
    view.refresh()
    card.state = "succeeded"
    view.finish(later=no_value)
    assert screen.displays == []


def test_a_quick_cell_that_fails_shows_one() -> None:
    card, view, screen, _ = shown(elapsed=0.2)
    card.state = "failed"
    view.finish(later=no_value)
    assert screen.lines == [card.line]


def test_a_card_with_nothing_under_it_stays_where_it_is() -> None:
    card, view, screen, _ = shown()
    view.refresh()
    card.state = "succeeded"
    view.finish(later=no_value)
    assert screen.lines == ["✓ polaris · 1.0 s"]


def test_a_card_ends_up_under_what_was_printed_after_it() -> None:
    card, view, screen, printed = shown()
    view.refresh()
    printed.count += 1
    card.state = "succeeded"
    view.finish(later=no_value)
    assert screen.lines == ["", "✓ polaris · 1.0 s"]
    # With HTML in it, also an empty one, JupyterLab would load MathJax.
    assert list(screen.displays[0][1]) == ["text/plain"]


@pytest.mark.parametrize("seen", [False, True])
def test_a_card_ends_up_under_the_cells_value(seen: bool) -> None:
    card, view, screen, _ = shown()
    if seen:
        view.refresh()
    waiting: list[Callable[[], None]] = []

    def later(do: Callable[[], None]) -> bool:
        waiting.append(do)
        return True

    card.state = "succeeded"
    view.finish(later=later)
    screen.displays.append(["Out", {"text/plain": "42"}])
    for do in waiting:
        do()
    assert screen.lines[-2:] == ["42", "✓ polaris · 1.0 s"]


def test_the_same_end_is_not_told_twice() -> None:
    card, view, screen, _ = shown(state="failed")
    view.refresh()
    before = screen.displays[0][1]
    card.elapsed += 1
    view.refresh()
    assert screen.displays[0][1] is before


class Terminal:
    def __init__(self, *, tty: bool) -> None:
        self.tty = tty
        self.text = ""

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""


def in_terminal(monkeypatch: pytest.MonkeyPatch, *, tty: bool) -> tuple[Card, CardView, Terminal, Any]:
    terminal = Terminal(tty=tty)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    card, printed = full(elapsed=1.0, state="queued", why="Slurm job 4711 is pending"), Printed()
    return card, CardView(card, lambda *_a, **_k: None, rich=False, outputs=printed), terminal, printed  # type: ignore[arg-type]


def test_a_terminal_has_one_line_that_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    card, view, terminal, printed = in_terminal(monkeypatch, tty=True)
    view.refresh()
    assert "\n" not in terminal.text
    assert "pending" in terminal.text
    assert "as of" not in terminal.text
    printed.midline = True
    view.clear()
    written = terminal.text
    view.refresh()  # a line of the cell's own has no end yet: nothing is drawn into it
    assert terminal.text == written
    printed.midline = False
    view.refresh()
    card.state, card.why = "succeeded", ""
    view.finish(later=no_value)
    assert terminal.text.endswith("\r\x1b[K✓ polaris · 1.0 s\n")


def test_where_lines_cannot_be_written_again_only_news_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    card, view, terminal, _ = in_terminal(monkeypatch, tty=False)
    view.refresh()
    view.refresh()
    card.state, card.why = "succeeded", ""
    card.notices.append("big stays on polaris")
    view.finish(later=no_value)
    assert terminal.text.count("\n") == 3
    assert "\x1b" not in terminal.text


def test_outputs_say_when_a_value_is_about_to_be_shown() -> None:
    class Events:
        registered: list[Callable[[], None]] = []

        def register(self, _name: str, do: Callable[[], None]) -> None:
            self.registered.append(do)

        def unregister(self, _name: str, do: Callable[[], None]) -> None:
            self.registered.remove(do)

    class Shell:
        events = Events()

    outputs = Outputs(Shell())
    done: list[int] = []
    outputs.after_result(shown=True)
    assert not outputs.when_result_is_shown(lambda: done.append(1))
    outputs.result = {"data": {"text/plain": "42"}}
    outputs.after_result(shown=True)
    assert outputs.when_result_is_shown(lambda: done.append(1))
    Shell.events.registered[0]()
    assert (done, Shell.events.registered) == ([1], [])


def text(number: int, words: str, kind: EventKind = EventKind.STDOUT) -> Event:
    return Event("t", number, kind, 0.0, words.encode())


def test_text_is_handed_over_in_pieces_and_stays_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    outputs = Outputs(object())
    outputs.before = lambda: told.append("cleared")
    for number in range(50):
        outputs.put(text(number, f"line {number}\n"))
    assert (capsys.readouterr().out, outputs.count) == ("", 0)
    outputs.put(text(50, "oh\n", EventKind.STDERR))
    outputs.flush()
    seen = capsys.readouterr()
    assert seen.out == "".join(f"line {number}\n" for number in range(50))
    assert (seen.err, outputs.count, told) == ("oh\n", 1, ["cleared"])
    outputs.flush()
    assert outputs.count == 1


def test_the_more_a_cell_has_written_the_larger_its_pieces() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        outputs = Outputs(object())
        paces = []
        for number in range(40):
            outputs.put(text(number, "x" * 4000))
            paces.append(outputs.pace)
            outputs.flush()
        outputs.put(text(40, "a line that is waited for\n"))
        assert outputs.pace == 1.0
        outputs.flush()
    assert paces[0] == 0.1
    assert paces == sorted(paces)
    assert max(paces) == 4.0


def test_what_floods_in_is_not_kept_in_memory() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as screen:
        outputs = Outputs(object())
        for number in range(10):
            outputs.put(text(number, "x" * 60_000))
        assert len(screen.getvalue()) >= 600_000 - 128 * 1024


class Asked:
    """A shell of which nothing is shown."""

    display_pub = type("Publisher", (), {"publish": staticmethod(lambda *_a, **_k: None)})


def test_text_whose_line_never_ends_is_seen_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dots come faster than a line's end is waited for: each one must not begin that wait anew."""
    now = [100.0]
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(running, "_DRAIN", 0)
    screen = io.StringIO()
    monkeypatch.setattr("sys.stdout", screen)
    follower = running.Follower(Asked(), full(), rich=True)
    seen = 0
    for number in range(40):
        now[0] += 0.05
        follower.put(text(number, "."))
        word = follower._next()
        if word is not None:
            follower._show(word)
        seen = max(seen, len(screen.getvalue()))
        assert number - seen < 6


def test_a_card_of_which_only_the_time_is_new_is_drawn_with_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each drawing costs the front end a frame: text and card come together, and nothing waits for ever."""
    now: list[float] = [100.0]
    told: list[tuple[str, float]] = []

    class Told(io.StringIO):
        def write(self, text: str) -> int:
            told.append(("text", now[0]))
            return super().write(text)

    class Shell:
        display_pub = type("Publisher", (), {"publish": staticmethod(lambda *_a, **_k: told.append(("card", now[0])))})

    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(running, "_DRAIN", 0)
    monkeypatch.setattr("sys.stdout", Told())
    card = full()
    card.state, card.submitted = "running", running.time.time()
    follower = running.Follower(Shell(), card, rich=True)
    now[0] += 1
    follower._refresh()
    assert [what for what, _ in told] == ["card"]
    for number in range(400):
        now[0] += 0.05
        follower.put(text(number, "a line\n"))
        word = follower._next()
        if word is not None:
            follower._show(word)
        follower._refresh()
    cards = [when for what, when in told if what == "card"][1:]
    assert len(cards) >= 3
    assert {when for what, when in told if what == "text"} >= set(cards)
