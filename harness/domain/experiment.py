"""What the user asked for: an experiment and its sections.

These classes are the experiment file's schema as well: `harness.plan` validates TOML straight into them, and the
field comments are what `poolbench init` prints. `extra = "forbid"` is read by pydantic there; nothing here imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

SCHEMA_VERSION = 1

DriverMode = Literal["asyncpg", "psycopg", "psycopg_sync", "psycopg_blocking", "psycopg2"]
ASYNC_DRIVERS = ("asyncpg", "psycopg", "psycopg_blocking")
"""Of the reference app's modes those whose endpoints run on the event loop; the others need a thread each."""
PoolClass = Literal["queue", "null", "psycopg_pool"]
Isolation = Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"]
LoadModel = Literal["open", "closed"]
ArrivalProcess = Literal["poisson", "uniform"]
DesignKind = Literal["auto", "blocked", "interleaved"]
SessionScope = Literal["request", "function", "operation"]
RepositoryKind = Literal["native", "run_sync"]
UpdateMode = Literal["last_wins", "version", "for_update", "repeatable_read"]
DeleteMode = Literal["soft", "hard"]
TeamLoader = Literal["lazy", "joined", "selectin"]
Mistake = Literal["none", "global_session", "missing_commit"]
ProviderName = Literal["embedded", "container", "url"]
OnIdle = Literal["reset", "blackhole"]
Command = Annotated[tuple[str, ...], MinLen(1)]
"""a program and its arguments, run without a shell"""
ArgumentValue = str | int | float | bool | tuple[str | int | float, ...]

PLACEHOLDERS = ("db_url", "db_host", "db_port", "db_user", "db_password", "db_name", "port")
"""What `target.env` may have in braces; {db_url:postgresql+asyncpg} is the address under another scheme."""
DAY_S = 86_400
MAX_LAUNCHES = 10_000
"""cells x launches"""
MAX_TURNS = 100_000
"""stretches of load in a run"""
MAX_ARRIVALS = 100_000_000
"""of a run, whose rows take about 70 bytes each while it goes on"""

NOT_A_KEY: Mapping[str, bool] = {"not_a_key": True}
"""of a field that no experiment file can set"""
_STRICT: Mapping[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """SQLAlchemy's pool, per process of the target."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    pool_size: Annotated[int, Ge(1), Le(10_000)] = 5
    """connections kept open"""
    max_overflow: Annotated[int, Ge(0), Le(10_000)] = 10
    """connections opened beyond pool_size, closed on return"""
    pool_timeout_s: Annotated[float, Gt(0), Le(DAY_S)] = 30.0
    """how long a request waits for a connection"""
    pool_recycle_s: Annotated[int, Ge(-1), Le(365 * DAY_S)] = -1
    """age at which a connection is replaced at checkout; -1 never"""
    pool_pre_ping: bool = False
    """test each connection at checkout"""
    pool_use_lifo: bool = False
    """hand out the most recently returned connection instead of the oldest"""
    pool_prewarm: bool = False
    """open pool_size connections before the first request"""
    pool_class: PoolClass = "queue"
    """queue; null: a new connection for each checkout, with no limit; psycopg_pool: the driver's own"""

    @property
    def ceiling(self) -> int | None:
        """Most connections one process can hold; None when nothing limits it."""
        return None if self.pool_class == "null" else self.pool_size + self.max_overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The ORM session's settings."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    session_scope: SessionScope = "request"
    """a session lives until the response was sent (request), the endpoint returned (function), or for one operation"""
    repository: RepositoryKind = "native"
    """await each statement, or run sync code through AsyncSession.run_sync"""
    expire_on_commit: bool = False
    """expire every loaded object at commit"""
    refresh_after_write: bool = False
    """re-read the row after each write"""
    returning: bool = True
    """a change brings back what a trigger wrote; without it and without a refresh, the answer shows old values"""
    isolation: Isolation = "READ COMMITTED"
    """transaction isolation of every connection"""
    autocommit_reads: bool = False
    """reads without a transaction: one round trip instead of three"""
    update_mode: UpdateMode = "last_wins"
    """what becomes of two simultaneous changes: last_wins, version (one gets 409), for_update, repeatable_read (409)"""
    delete_mode: DeleteMode = "soft"
    """mark the row, or remove it"""
    team_loader: TeamLoader = "selectin"
    """how teams load their heroes: lazy (N+1), joined, selectin"""
    statement_timeout_ms: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    """after which Postgres ends a running statement; 0 never"""
    idle_in_transaction_session_timeout_ms: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    """after which Postgres ends a connection idle in a transaction; 0 never"""
    mistake: Mistake = "none"
    """a mistake to be measured: global_session (one for all requests), missing_commit (writes are flushed only)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The service under test."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    app: str = "target_app.main:create_app"
    """pkg.module:attribute, an ASGI app or a factory without arguments"""
    command: tuple[str, ...] = ()
    """starts the service instead, on 127.0.0.1:{port}, with uvicorn in the end (gunicorn's workers, fastapi run)"""
    dir: str | None = None
    """the service's folder, where it is started; a relative path counts from the experiment file"""
    python: str | None = None
    """the service's interpreter, such as .venv/bin/python; a relative path counts from the experiment file"""
    ref: Annotated[str, MinLen(1)] | None = None
    """commit, branch or tag of the service's repository, run from a worktree of it; without it as it lies there"""
    prepare: tuple[str, ...] | tuple[Command, ...] = ()
    """command, or list of commands, that fill the database through the running service: {url}, {port} and {python}"""
    engine: str = ""
    """which of an own app's engines are meant: by order (1 is the first), database or driver; empty: all"""
    driver: DriverMode = "asyncpg"
    """asyncpg, psycopg, psycopg_sync and psycopg2 (def endpoints), psycopg_blocking (the mistake: sync in async)"""
    workers: Annotated[int, Ge(1), Le(1000)] = 1
    """processes, each with a pool of its own"""
    threadpool_tokens: Annotated[int, Ge(1), Le(100_000)] = 40
    """threads for def endpoints, per process"""
    gc_freeze: bool = True
    """gc.collect() and gc.freeze() after start"""
    prepared_statement_cache_size: Annotated[int, Ge(0), Le(1_000_000)] = 100
    """statements SQLAlchemy keeps prepared per connection (asyncpg)"""
    statement_cache_size: Annotated[int, Ge(0), Le(1_000_000)] = 100
    """statements asyncpg itself keeps prepared per connection"""
    prepare_threshold: Annotated[int, Ge(-1), Le(1_000_000)] = 5
    """executions after which psycopg prepares a statement; 0 at once, -1 never"""
    pgbouncer: bool = False
    """start a PgBouncer in transaction mode between target and Postgres; the app then keeps nothing prepared"""
    pgbouncer_pool_size: Annotated[int, Ge(1), Le(10_000)] = 20
    """connections PgBouncer keeps to Postgres"""
    lab: bool = False
    """offer /lab: endpoints that sleep, hold, stream, leak and burn on purpose"""
    cpus: tuple[Annotated[int, Ge(0), Le(65_535)], ...] = ()
    """cores the target is pinned to; empty: any"""
    port: Annotated[int, Ge(0), Le(65535)] = 0
    """first port to listen on; 0: any free port"""
    start_timeout_s: Annotated[float, Gt(0), Le(DAY_S)] = 30.0
    """how long it may take until /health answers"""
    health_path: str = "/health"
    """what is asked until it answers 2xx"""
    url: str | None = None
    """base URL of a service that already runs; nothing is deployed then"""
    mine: bool = False
    """a target.url on another machine is yours, and a load is welcome there"""
    env: Annotated[Mapping[str, str], MaxLen(200)] = field(default_factory=dict)
    """further variables; {db_url}, {db_url:postgresql+asyncpg}, {db_host} ... {port} are filled in"""

    @property
    def is_reference(self) -> bool:
        """The reference app reads each setting from its environment; of an own app those that are named are changed."""
        return self.app.startswith("target_app.") and not self.command

    @property
    def seeding(self) -> tuple[tuple[str, ...], ...]:
        """What `prepare` runs, one after the other."""
        return commands_of(self.prepare)

    @property
    def title(self) -> str:
        """What the service is called: the app, or the command that starts it."""
        return " ".join(self.command) or self.app


def commands_of(prepare: Sequence[str | tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return the commands of a list of words, which is one command, or of a list of commands."""
    words = tuple(part for part in prepare if isinstance(part, str))
    return (words,) if words else tuple(part for part in prepare if not isinstance(part, str))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSpec:
    """The Postgres server and what is in it."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    provider: ProviderName = "embedded"
    """embedded (no setup), container (Docker), url (a server that already runs)"""
    url: str | None = None
    """postgresql://user:password@host:port/database, for provider url"""
    image: str = "postgres:18"
    """image, for provider container"""
    rows: Annotated[int, Ge(1), Le(100_000_000)] = 10_000
    """heroes to seed; one team for each hundred"""
    prepare: tuple[str, ...] | tuple[Command, ...] = ()
    """command, or list of commands, that fill the database; {python} is the service's; empty: the reference app's"""
    settings: Annotated[Mapping[str, str | int | float | bool], MaxLen(200)] = field(default_factory=dict)
    """server settings, as in postgresql.conf"""

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """What `prepare` runs, one after the other."""
        return commands_of(self.prepare)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What lies between the target and Postgres; anything but the defaults puts a relay there."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    rtt_ms: Annotated[float, Ge(0), Le(10_000)] = 0.0
    """round trip that is added, half of it each way"""
    idle_timeout_s: Annotated[float, Gt(0), Le(DAY_S)] | None = None
    """connections idle for this long are dropped, as firewalls and address translation do"""
    on_idle: OnIdle = "reset"
    """how they are dropped: reset (the next use fails) or blackhole (the next use gets no answer)"""

    @property
    def needs_relay(self) -> bool:
        return self.rtt_ms > 0 or self.idle_timeout_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Load generators on other machines, which connect to this one (docs/distributed.md)."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    expect: Annotated[int, Ge(1), Le(1000)]
    """how many are waited for"""
    bind: str = "127.0.0.1:5557"
    """host:port they connect to"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent to the target."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    scenario: str = "mixed"
    """a shipped scenario's name, or the path of a locustfile"""
    arguments: Annotated[Mapping[str, ArgumentValue], MaxLen(200)] = field(default_factory=dict)
    """the scenario's own command-line arguments, by name; true gives a flag, a list several values"""
    user_classes: tuple[str, ...] = ()
    """names of the scenario's user classes that take part; empty: all"""
    tags: tuple[str, ...] = ()
    """only tasks with one of these tags; empty: all"""
    exclude_tags: tuple[str, ...] = ()
    """no task with one of these tags"""
    model: LoadModel = "open"
    """open: arrivals on a schedule, latency from the intended time; closed: users that wait for each answer"""
    rate_rps: Annotated[float, Gt(0), Le(100_000)] | None = None
    """arrivals a second (open)"""
    rate: str | None = None
    """a share of what a staircase finds the strongest cell to carry, as "60%" (open)"""
    users: Annotated[int, Ge(1), Le(100_000)] | None = None
    """concurrent users (closed)"""
    arrivals: ArrivalProcess = "poisson"
    """poisson or uniform gaps between arrivals (open)"""
    warmup_s: Annotated[float, Ge(0), Le(DAY_S)] = 2.0
    """load before the measurement, per launch"""
    measure_s: Annotated[float, Gt(0), Le(DAY_S)] = 10.0
    """measured load, per launch"""
    request_timeout_s: Annotated[float, Gt(0), Le(DAY_S)] = 10.0
    """a request without an answer by then is a timeout"""
    processes: Annotated[int, Ge(1), Le(64)] = 1
    """generator processes on this machine, which share the schedule"""
    workers: Workers | None = None
    """generators on other machines instead: { expect = 2, bind = "0.0.0.0:5557" }"""

    @property
    def has_several_generators(self) -> bool:
        """Whether generator processes share the arrivals."""
        return self.workers is not None or self.processes > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How often and in which order cells are measured."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    kind: DesignKind = "auto"
    """interleaved: cells hot together, in turns; blocked: one at a time; auto: in turns where they change nothing"""
    launches: Annotated[int, Ge(1), Le(MAX_LAUNCHES)] = 3
    """fresh starts of every cell"""
    segment_s: Annotated[float, Gt(0), Le(DAY_S)] = 1.0
    """length of an interleaved turn, which then goes on until the service has nothing in progress"""
    guard_s: Annotated[float, Ge(0), Le(DAY_S)] = 0.05
    """pause between two turns"""
    margin: Annotated[float, Gt(0), Le(10)] = 0.25
    """how much slower than any other the smallest pool may be and still be recommended: 0.25 is 25 %"""
    seed: int = 1
    """draws orders, arrivals and tasks"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is promised of some requests; empty fields promise nothing."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    p50_ms: Annotated[float, Gt(0)] | None = None
    """half of what is offered is answered within this time"""
    p95_ms: Annotated[float, Gt(0)] | None = None
    """19 of 20 are"""
    p99_ms: Annotated[float, Gt(0)] | None = None
    """99 of 100 are"""
    error_rate: Annotated[float, Ge(0), Le(1)] | None = None
    """share of offered arrivals that may fail, time out, be dropped or stay unfinished"""

    @property
    def is_given(self) -> bool:
        """Whether anything is promised at all."""
        return any(limit is not None for limit in (self.p50_ms, self.p95_ms, self.p99_ms, self.error_rate))

    @property
    def latency_ms(self) -> float | None:
        """Within which one request is good: the limit of the highest percentile promised; None without one."""
        return next((limit for limit in (self.p99_ms, self.p95_ms, self.p50_ms) if limit is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo(Limits):
    """What the service promises of everything, and of single endpoints beside it."""

    endpoints: Annotated[Mapping[str, Limits], MaxLen(200)] = field(default_factory=dict, metadata=NOT_A_KEY)
    """of each endpoint, as its name stands in the report: the tables within [slo], such as [slo."GET /heroes/{id}"]"""

    @property
    def promised(self) -> Mapping[str, Limits]:
        """What is promised of what: of "*" (everything) and of each endpoint of which anything is."""
        return {name: limits for name, limits in (("*", self), *self.endpoints.items()) if limits.is_given}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeUser:
    """One who asks at a fixed rate beside the load, as a readiness check does: judged apart, in no other figure."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    request: str = ""
    """what is asked, such as "GET /ready"; empty: nothing"""
    rate_rps: Annotated[float, Gt(0), Le(100)] = 0.2
    """requests a second, evenly spaced, while the launch is under load"""
    slo: Limits = field(default_factory=Limits)
    """what is promised of it; it counts for the cell's SLO"""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"probe user {self.request}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that a gate judges beside its primary metric."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    metric: str
    """a column of summary.csv, or statements_per_request, transactions_, checkouts_ or round_trips_per_request"""
    endpoint: str = "*"
    """as its name stands in the report; "*": everything, of an exact metric each endpoint and status by itself"""
    margin: str | None = None
    """change that does not matter, as "10%"; of a share of requests in points; without it the gate's margin"""
    max_increase: Annotated[float, Ge(0)] | None = None
    """most that an exact metric may grow by"""
    max: float | None = None
    """most that the head may have, whatever the base has"""
    min: float | None = None
    """least that the head may have, whatever the base has"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """How two sides are judged, by `poolbench compare` and `poolbench gate`."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    primary: str = "p95_ms"
    """the metric that the verdict is about: a column of summary.csv"""
    margin: str = "10%"
    """change of it that does not matter, and the smallest that is to be found"""
    on_inconclusive: Literal["pass", "fail"] = "pass"
    """what no proof either way comes to: pass (exit code 0) or fail (3)"""
    stage_limit_s: Annotated[float, Gt(0), Le(DAY_S)] = 450.0
    """time for the launches of a stage; the second is measured only on an alarm"""
    rule: tuple[Rule, ...] = field(default=(), metadata=NOT_A_KEY)
    """further rules, each a table [[gate.rule]]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How `poolbench capacity` searches for the highest rate that meets the SLO; load.rate_rps is tried first."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    precision: str = "10%"
    """by how much the rate that meets the SLO and the one that does not may differ"""
    confirmations: Annotated[int, Ge(1), Le(20)] = 3
    """fresh launches that have to agree at each of the two"""
    limit_rps: Annotated[float, Gt(0), Le(100_000)] = 2000.0
    """the highest rate that is tried"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tune:
    """How `poolbench tune` looks for the smallest size that is good enough, of those that the matrix has."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    good_enough: Literal["auto", "margin", "slo"] = "auto"
    """near the best (margin), or what meets the SLO (slo); auto: the SLO where one is given"""
    margin: str = "15%"
    """by how much the p95 may be slower than the best size's"""
    blocks: Annotated[int, Ge(6), Le(1000)] = 36
    """most fresh launches of a size, before it is given up"""
    replicas: Annotated[int, Ge(1), Le(100_000)] | None = None
    """instances of the service in production: a size with which their connections do not fit is not tried"""
    max_connections: Annotated[int, Ge(1), Le(262_143)] = 100
    """of production's Postgres"""
    reserved: Annotated[int, Ge(0), Le(262_143)] = 3
    """of these, what it keeps back"""
    jobs: Annotated[int, Ge(0), Le(100_000)] = 0
    """of these, what jobs take, straight to Postgres"""
    surge: str = "25%"
    """replicas that a rolling deploy starts before old ones end: a share, or a count"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What somebody says, and what would have to be seen if it were so; `poolbench claims` judges it."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    number: Annotated[int, Ge(0), Le(100_000)] = 0
    """by which it is asked for; 0: the experiment settles no claim"""
    statement: str = ""
    """what is said, as it is said"""
    expect: str = ""
    """comparisons of metrics of the arms, joined by "and", that hold if it is so: p95_ms(on) > 1.1 * p95_ms(off)"""
    own_service: bool = False
    """whether it can be asked of any service: arms then set keys that every service has, and the load is its own"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """What is sampled while the load runs."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    interval_s: Annotated[float, Gt(0), Le(DAY_S)] = 0.1
    """mean time between two readings, jittered by 20 % so that nothing periodic aliases"""
    probe: bool = True
    """put harness.probe on the target's path"""
    detail: bool = False
    """note which line of the service takes each connection; off, since that takes the service some time"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One TOML file, validated: the base sections and the matrix that varies some of their keys."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    schema_version: Literal[1]
    """the format of this file"""
    name: str
    """what its runs are called: up to 60 letters, digits, - and _"""
    question: str = ""
    """what it is to find out; the report repeats it"""
    matrix: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """dotted key ("pool.pool_size") -> the values it takes; the cells are their product"""
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """sides to be compared ([arms.base], [arms.head]), each with the keys it overrides; each has all of the matrix"""
    pool: Pool = field(default_factory=Pool)
    session: Session = field(default_factory=Session)
    target: Target = field(default_factory=Target)
    database: DatabaseSpec = field(default_factory=DatabaseSpec)
    network: Network = field(default_factory=Network)
    load: Load = field(default_factory=Load)
    design: Design = field(default_factory=Design)
    slo: Slo = field(default_factory=Slo)
    probe_user: ProbeUser = field(default_factory=ProbeUser)
    observe: Observe = field(default_factory=Observe)
    gate: Gate = field(default_factory=Gate)
    capacity: Capacity = field(default_factory=Capacity)
    tune: Tune = field(default_factory=Tune)
    claim: Claim = field(default_factory=Claim)
    named: tuple[str, ...] = field(default=(), metadata=NOT_A_KEY)
    """the dotted keys that the file, its matrix or --set name; no key itself"""
    commits: Mapping[str, str] = field(default_factory=dict, metadata=NOT_A_KEY)
    """what each `target.ref` meant as the file was read: full hash by name; no key itself"""
