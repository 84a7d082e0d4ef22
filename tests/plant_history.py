"""A plant's history as kept on PostgreSQL 9.3: inheritance, CHECKs in epoch milliseconds of local days, a registry.

One SQL script that any server from 9.3 on takes, for `@pytest.mark.template(source=Plant(...).script())` or a real one:

    python -m tests.plant_history postgresql://me@host/database

- point_history: a child a day, its primary key (path_id, issued_date), CLUSTERed on it; a BEFORE INSERT trigger with
  dynamic EXECUTE on the parent, and rows left in the parent from before there were children
- trend_history: a child a month, one INSTEAD rule on the parent for each
- energy_display: a child a month, issued_date is a timestamp
- running_time_history: a child a month, a trigger
- partition_table_info: the registry of all of them
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo


class Fault(Enum):
    """What is wrong with one child of point_history; the value is the number of its day."""

    OVERLAP = 1  # its CHECK reaches an hour into the next day
    NO_CHECK = 3
    GAP = 5  # it is not there
    REGISTRY = 7  # the registry lets it end a day later than its CHECK
    NOT_VALID = 9  # its CHECK was never validated


TABLES = """
CREATE TABLE {s}.point_history (
    path_id int8 NOT NULL, issued_date int8 NOT NULL, changed_value varchar(100), connection_status bool);
CREATE TABLE {s}.trend_history (path_id int8 NOT NULL, issued_date int8 NOT NULL, trend_value float8);
CREATE TABLE {s}.energy_display (
    path_id int8 NOT NULL, issued_date timestamp NOT NULL, consumption numeric(12,3), unit_name varchar(20));
CREATE TABLE {s}.running_time_history (path_id int8 NOT NULL, issued_date int8 NOT NULL, seconds int4 DEFAULT 0);
CREATE TABLE {s}.partition_table_info (
    table_name varchar(64), table_data varchar(64), from_date int8, to_date int8, use_flag bool, save_date timestamp,
    cluster_index varchar(64));
"""

LEFT = """
INSERT INTO {s}.point_history SELECT -g, {at} + g * 1000, 'left ' || g, NULL FROM generate_series(1, {n}) g;
"""

# Every child's first and last moment hold rows: what is cut wrongly by one of them is found.
CHILD = """
CREATE TABLE {s}.{child} ({check}CONSTRAINT {child}_pkey PRIMARY KEY (path_id, issued_date)) INHERITS ({s}.{parent});
INSERT INTO {s}.{child} SELECT g % {paths}, {at}, {values}
FROM generate_series(0, {rows} - 1) g;
"""
CLUSTERED = "ALTER TABLE {s}.{child} CLUSTER ON {child}_pkey;\n"
NOT_VALID = "ALTER TABLE {s}.{child} ADD CHECK (issued_date >= {low} AND issued_date <= {high}) NOT VALID;\n"
REGISTERED = """
INSERT INTO {s}.partition_table_info
VALUES ('{parent}', '{child}', {low}, {high}, true, '2024-01-01', {cluster});
"""
RULE = """
CREATE RULE {child}_insert AS ON INSERT TO {s}.{parent}
WHERE NEW.issued_date >= {low} AND NEW.issued_date <= {high}
DO INSTEAD INSERT INTO {s}.{child} VALUES (NEW.path_id, NEW.issued_date, NEW.trend_value);
"""
ROUTED = """
CREATE FUNCTION {s}.{parent}_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'INSERT INTO {s}.{parent}_' || to_char({moment}, '{suffix}') || ' SELECT ($1).*' USING NEW;
    RETURN NULL;
END $$;
CREATE TRIGGER {parent}_insert BEFORE INSERT ON {s}.{parent}
FOR EACH ROW EXECUTE PROCEDURE {s}.{parent}_insert();
"""

VALUES = {
    "point_history": "CASE WHEN g % 7 = 0 THEN NULL ELSE '값 ' || g END, g % 3 = 0",
    "trend_history": "g / 3.0",
    "energy_display": "g / 8.0, 'kWh'",
    "running_time_history": "g % 3600",
}
ROUTES = {
    "point_history": "YYMMDD",
    "energy_display": "YYMM",
    "running_time_history": "YYMM",
}


@dataclass(frozen=True, kw_only=True)
class Child:
    """One child and what it may hold; `until` is the day after its last."""

    parent: str
    name: str
    since: date
    until: date


@dataclass(frozen=True, kw_only=True)
class Plant:
    """How much of it: by default 400 children. The months end with the last day's."""

    first: date = date(2024, 9, 1)
    days: int = 270
    trend_months: int = 59
    energy_months: int = 36
    running_months: int = 35
    rows_per_day: int = 100
    rows_per_month: int = 100
    paths: int = 10
    left_in_parent: int = 20  # rows of point_history itself: half lie before the first child, half within its day
    faults: frozenset[Fault] = frozenset()
    timezone: str = "Asia/Seoul"
    schema: str = "public"

    def children(self) -> Iterator[Child]:
        """All of them, by parent and date."""
        for n in range(self.days):
            day = self.first + timedelta(days=n)
            if not (Fault.GAP in self.faults and n == Fault.GAP.value):
                yield Child(parent="point_history", name=f"point_history_{day:%y%m%d}", since=day, until=_next(day))
        last = (self.first + timedelta(days=self.days - 1)).replace(day=1)
        for parent, months in (
            ("trend_history", self.trend_months),
            ("energy_display", self.energy_months),
            ("running_time_history", self.running_months),
        ):
            for n in range(months - 1, -1, -1):
                month = _months_before(last, n)
                until = _months_before(last, n - 1)
                yield Child(parent=parent, name=f"{parent}_{month:%y%m}", since=month, until=until)

    def names(self, parent: str) -> list[str]:
        """The children of one parent, with their schema."""
        return [f"{self.schema}.{c.name}" for c in self.children() if c.parent == parent]

    def rows(self, parent: str) -> int:
        """How many rows the whole tree holds."""
        each = self.rows_per_day if parent == "point_history" else self.rows_per_month
        left = self.left_in_parent if parent == "point_history" else 0
        return each * len(self.names(parent)) + left

    def moment(self, day: date) -> int:
        """Local midnight in epoch milliseconds."""
        return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.timezone)).timestamp()) * 1000

    def script(self, *, analyze: bool = True) -> str:
        """SQL that makes it, schema and rows."""
        parts = [] if self.schema == "public" else [f"CREATE SCHEMA {self.schema};"]
        parts.append(TABLES.format(s=self.schema))
        half = self.left_in_parent // 2
        for at, n in ((self.moment(self.first) - 86_400_000, half), (self.moment(self.first), half)):
            parts.append(LEFT.format(s=self.schema, at=at, n=n))
        parts += [self._child(child) for child in self.children()]
        parts += [self._routed(parent, suffix) for parent, suffix in ROUTES.items()]
        if analyze:
            parts += [f"ANALYZE {self.schema}.{n};" for n in ("partition_table_info", *VALUES)]
            parts += [f"ANALYZE {self.schema}.{c.name};" for c in self.children()]
        return "".join(parts)

    def _child(self, child: Child) -> str:
        low, high = self.moment(child.since), self.moment(child.until) - 1
        fault = self._fault(child)
        rows = self.rows_per_day if child.parent == "point_history" else self.rows_per_month
        step = f"({high - low}::int8 * (g / {self.paths})) / {max(1, rows // self.paths - 1)}"
        names = {"s": self.schema, "parent": child.parent, "child": child.name, "low": low, "high": high}
        check = (
            f"CHECK (issued_date >= {low} AND issued_date <= {high + (3_600_000 if fault is Fault.OVERLAP else 0)}), "
        )
        at = f"{low} + {step}"
        if child.parent == "energy_display":
            check = f"CHECK (issued_date >= '{child.since}' AND issued_date < '{child.until}'), "
            at = f"timestamp '{child.since}' + {step} * interval '1 millisecond'"
        if fault in {Fault.NO_CHECK, Fault.NOT_VALID}:
            check = ""
        sql = CHILD.format(**names, check=check, at=at, rows=rows, paths=self.paths, values=VALUES[child.parent])
        clustered = child.parent == "point_history"
        sql += CLUSTERED.format(**names) if clustered else ""
        sql += NOT_VALID.format(**names) if fault is Fault.NOT_VALID else ""
        sql += RULE.format(**names) if child.parent == "trend_history" else ""
        names["high"] = high + (86_400_000 if fault is Fault.REGISTRY else 0)
        return sql + REGISTERED.format(**names, cluster=f"'{child.name}_pkey'" if clustered else "NULL")

    def _fault(self, child: Child) -> Fault | None:
        day = (child.since - self.first).days
        return next((f for f in self.faults if child.parent == "point_history" and f.value == day), None)

    def _routed(self, parent: str, suffix: str) -> str:
        local = f"to_timestamp(NEW.issued_date / 1000) AT TIME ZONE ''{self.timezone}''".replace("''", "'")
        moment = "NEW.issued_date" if parent == "energy_display" else local
        return ROUTED.format(s=self.schema, parent=parent, moment=moment, suffix=suffix)


def _next(day: date) -> date:
    return day + timedelta(days=1)


def _months_before(month: date, count: int) -> date:
    at = month.year * 12 + month.month - 1 - count
    return date(at // 12, at % 12 + 1, 1)


SMALL = Plant(days=12, trend_months=3, energy_months=2, running_months=2, rows_per_day=60, rows_per_month=60)
FAULTY = Plant(
    days=12,
    trend_months=1,
    energy_months=1,
    running_months=1,
    rows_per_day=20,
    rows_per_month=20,
    faults=frozenset(Fault),
)


def main() -> None:
    """Make the whole of it in the database that the URL names."""
    import psycopg  # noqa: PLC0415

    with psycopg.connect(sys.argv[1], autocommit=True) as session:
        session.execute(Plant().script().encode())


if __name__ == "__main__":
    main()
