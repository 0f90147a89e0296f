"""Where launches find their databases: a server for as long as cells ask for it, a fresh clone for every launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness import deploy, plan, present
from harness.domain.cell import Cell
from harness.domain.deployed import Server
from harness.domain.design import design_kind
from harness.domain.events import DatabaseFilling, Emit, Note, ServerStarting
from harness.domain.experiment import Experiment
from harness.domain.load import Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where launches find their code and their databases; without a server when the target already runs elsewhere."""

    server: Server | None
    prefix: str
    sides: deploy.Checkouts
    template_for: Callable[[Cell], str]
    """the name of what a cell's database is a copy of, filled when it is first asked for"""

    @contextmanager
    def databases(self, launches: Sequence[Launch]) -> Iterator[Mapping[str, str]]:
        """Launch id -> URL of a fresh clone of its template, dropped at exit."""
        server = self.server
        if server is None:
            yield {}
            return
        # all of them first: a service that fills one must not disturb another's start
        templates = {launch.id: self.template_for(launch.cell) for launch in launches}
        names = {launch.id: f"{self.prefix}{launch.id.replace('-', '_')}" for launch in launches}
        with ExitStack() as stack:
            for launch_id, name in names.items():
                stack.enter_context(deploy.clone(server, templates[launch_id], name))
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
    of all `cells` are imported to try. The commits that `cells` name are checked out for as long as the block takes.
    """
    # a server that is not ours keeps its templates until the end: cells may come back to them
    with ExitStack() as kept, ExitStack() as stack:
        if deploy.others_at_work():
            emit(Note(text="Another poolbench is at work on this machine: each disturbs the other's figures."))
        sides = kept.enter_context(deploy.checkouts(cells))
        _say_what_is_changed(sides, cells, emit)
        current: tuple[tuple[object, ...], Place] | None = None
        untried = {_app_of(cell): cell for cell in map(sides.deployed, reversed(cells))}

        def place_for(cell: Cell) -> Place:
            nonlocal current
            wanted = (cell.database, cell.target.url is None)
            if current is None or current[0] != wanted:
                stack.close()
                deployed = sides.deployed(cell)
                apps = [*({_app_of(deployed): deployed} | untried).values()]
                server = None if cell.target.url else _started(stack, cell, apps, emit)
                untried.clear()
                current = (wanted, _place(server, sides, stack, kept, f"poolbench_{run_id[-4:]}_", emit))
            if current[1].server is not None:
                current[1].template_for(cell)
            return current[1]

        yield place_for


def _app_of(cell: Cell) -> tuple[object, ...]:
    return cell.target.app, cell.target.dir, cell.target.python


def _say_what_is_changed(sides: deploy.Checkouts, cells: Sequence[Cell], emit: Emit) -> None:
    """Where versions are compared, of a side that is no commit, say so."""
    if any(cell.arm or cell.target.ref for cell in cells):
        for cell in {_app_of(cell): cell for cell in reversed(cells)}.values():
            version = sides.version_of(cell)
            if version is not None and version.changes:
                emit(Note(text=present.working_tree_text(cell, version)))


def _started(stack: ExitStack, cell: Cell, apps: Sequence[Cell], emit: Emit) -> Server:
    rows = cell.database.rows if cell.target.is_reference and not cell.database.prepare else None
    emit(ServerStarting(provider=cell.database.provider, rows=rows))
    with ExitStack() as trying:
        for each in apps:
            trying.enter_context(deploy.importing(each))
        return stack.enter_context(deploy.start_database(cell.database))


def _place(  # noqa: PLR0917 -- called once, right above
    server: Server | None, sides: deploy.Checkouts, stack: ExitStack, kept: ExitStack, prefix: str, emit: Emit
) -> Place:
    filled: dict[tuple[object, ...], str] = {}

    def said(elapsed_s: float, command: str, last_line: str) -> None:
        emit(DatabaseFilling(elapsed_s=elapsed_s, command=command, last_line=last_line))

    def template_for(cell: Cell) -> str:
        assert server is not None
        cell = sides.deployed(cell)
        target = cell.target
        through = (target.seeding, target.title) if target.seeding else ()
        wanted = (target.is_reference, target.dir, target.python, through)
        if wanted not in filled:
            # An own app without a command gets an empty database: heroes are the reference app's.
            commands = cell.database.commands or (None if target.is_reference else ())
            template = deploy.template(server, cell.database, commands, cell=cell, say=said)
            filled[wanted] = (stack if server.owned else kept).enter_context(template)
        return filled[wanted]

    return Place(server=server, prefix=prefix, sides=sides, template_for=template_for)
