"""Where launches find their databases: a server for as long as cells ask for it, a fresh clone for every launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness import deploy, plan
from harness.domain.design import design_kind
from harness.domain.events import DatabaseFilling, Emit, Note, ServerStarting
from harness.domain.evidence import Server
from harness.domain.experiment import Cell, Experiment
from harness.domain.load import Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where launches find their databases; without a server when the target already runs elsewhere."""

    server: Server | None
    template: str | None
    prefix: str

    @contextmanager
    def databases(self, launches: Sequence[Launch]) -> Iterator[Mapping[str, str]]:
        """Launch id -> URL of a fresh clone of the template, dropped at exit."""
        server, template = self.server, self.template
        if server is None or template is None:
            yield {}
            return
        names = {launch.id: f"{self.prefix}{launch.id.replace('-', '_')}" for launch in launches}
        with ExitStack() as stack:
            for name in names.values():
                stack.enter_context(deploy.clone(server, template, name))
            yield {launch_id: server.app_url(name) for launch_id, name in names.items()}

    def check_ceilings(self, experiment: Experiment, cells: Sequence[Cell]) -> None:
        """Once more with the server's own limits; the file did not tell them all."""
        if self.server is not None:
            here = [cell for cell in cells if cell.database == cells[0].database]
            kind, _ = design_kind(experiment, cells)
            plan.check_ceilings(here, kind, self.server.max_connections, self.server.reserved_connections)

    def checkpoint(self) -> None:
        if self.server is not None:
            deploy.checkpoint(self.server)


PlaceFor = Callable[[Cell], Place]


@contextmanager
def places(run_id: str, emit: Emit, cells: Sequence[Cell] = ()) -> Iterator[PlaceFor]:
    """A function that returns the place for a cell, and changes the server when the cell asks for another one.

    It emits when a server is started, and says when another run is at work. While the first server starts, the apps
    of all `cells` are imported to try.
    """
    # a server that is not ours keeps its templates until the end: cells may come back to them
    with ExitStack() as kept, ExitStack() as stack:
        if deploy.others_at_work():
            emit(Note(text="Another poolbench is at work on this machine: each disturbs the other's figures."))
        current: tuple[tuple[object, ...], Place] | None = None
        untried = {(cell.target.app, cell.target.dir): cell for cell in reversed(cells)}

        def place_for(cell: Cell) -> Place:
            nonlocal current
            target = cell.target
            through = (target.seeding, target.title) if target.seeding else ()
            wanted = (cell.database, target.url is None, target.is_reference, target.dir, through)
            if current is None or current[0] != wanted:
                stack.close()
                apps = [*({(target.app, target.dir): cell} | untried).values()]
                current = (wanted, _place(stack, kept, cell, apps, f"poolbench_{run_id[-4:]}_", emit))
                untried.clear()
            return current[1]

        yield place_for


def _place(  # noqa: PLR0917 -- called once, right above
    stack: ExitStack, kept: ExitStack, cell: Cell, apps: Sequence[Cell], prefix: str, emit: Emit
) -> Place:
    if cell.target.url is not None:
        return Place(server=None, template=None, prefix=prefix)
    rows = cell.database.rows if cell.target.is_reference and not cell.database.prepare else None
    emit(ServerStarting(provider=cell.database.provider, rows=rows))
    with ExitStack() as trying:
        for each in apps:
            trying.enter_context(deploy.importing(each))
        server = stack.enter_context(deploy.start_database(cell.database))

    def said(elapsed_s: float, command: str, last_line: str) -> None:
        emit(DatabaseFilling(elapsed_s=elapsed_s, command=command, last_line=last_line))

    # An own app without a command gets an empty database: heroes are the reference app's.
    commands = cell.database.commands or (None if cell.target.is_reference else ())
    filled = deploy.template(server, cell.database, commands, cell=cell, say=said)
    template = (stack if server.owned else kept).enter_context(filled)
    return Place(server=server, template=template, prefix=prefix)
