"""The rehearsal on a terminal, while it is played."""

from contextlib import AbstractContextManager

from rich.console import Console
from rich.markup import escape

from cifarops.flow.rehearsal.transcript import Chapter, Line, Outcome

_MARKS: dict[Outcome, str] = {
    "done": "[green]✓[/]",
    "refused": "[yellow]⛔[/]",
    "failed": "[red]✗[/]",
    "kept": "[dim]=[/]",
    "left out": "[dim]–[/]",
}
_LAST_LINES = 12


class Terminal:
    """Tells every step: what must happen, who does what, what it showed.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def begins(self, chapter: Chapter, number: int, total: int) -> None:
        """Say which step begins and what must happen."""
        self._say(f"\n[bold][{number}/{total}] {escape(chapter.step.title)}[/]")
        self._say(f"  [dim]{escape(chapter.expects)}[/]")

    def hears(self, line: Line) -> None:
        """Say what somebody did; of a refusal, why; of a failure, the last lines."""
        took = f" [dim]{line.seconds:.1f} s[/]" if line.seconds else ""
        self._say(f"  {_MARKS[line.outcome]} [cyan]{line.who:9}[/] {escape(line.what)}{took}")
        if line.reason:
            self._say(f"      [yellow]{escape(line.reason)}[/]")
        elif line.outcome == "failed":
            for each in line.output.splitlines()[-_LAST_LINES:]:
                self._say(f"      [red]{escape(each)}[/]")

    def waits(self, what: str) -> AbstractContextManager[object]:
        """Show that something takes a while."""
        return self._console.status(escape(what))

    def ends(self, chapter: Chapter) -> None:
        """Say what the step showed."""
        self._say(f"  [bold green]→[/] {escape(chapter.step.says)} [dim]({chapter.step.seconds:.1f} s)[/]")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
