"""One table of 14 mixed columns from MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import mariadb
from benchmarks.bench import Bench
from benchmarks.foreign import TABLE, Foreign, moved
from benchmarks.result import Result

ROWS = 1_000_000
BAR, BEST_BAR = 0.33, 0.8  # of pgloader, and of the best
CREATE = f"""
CREATE TABLE {TABLE} (
    id int NOT NULL PRIMARY KEY, visits int unsigned NOT NULL, amount decimal(12,2) NOT NULL, ratio double,
    code varchar(40) NOT NULL, note text, made_at datetime NOT NULL, seen_at datetime(6), day date, spent time,
    state enum('new', 'paid', 'packed', 'sent') NOT NULL, active tinyint(1) NOT NULL, facts json, photo blob)
"""  # fmt: skip
# Doubles that are exact in binary, so that their sum does not depend on the order.
FILL = f"""
INSERT INTO {TABLE}
SELECT seq, 4000000000 + seq % 1000, seq % 1000003 / 100, seq / 8, concat('code-', md5(seq)),
       IF(seq % 5 = 0, NULL, concat('비고 ', seq, ': 펌프 압력이 정상 범위입니다')),
       '2024-01-01' + INTERVAL seq % 30000000 SECOND, '2024-01-01 00:00:00.000001' + INTERVAL seq MICROSECOND,
       '2000-01-01' + INTERVAL seq % 9000 DAY, sec_to_time(seq % 86400), 1 + seq % 4, seq % 2,
       concat('{{"n": ', seq, ', "이름": "가나다"}}'), unhex(md5(seq))
FROM seq_1_to_:rows
"""
CONTENT = f"""
SELECT count(*), sum(id)::text, sum(visits)::text, sum(amount)::numeric(20,2)::text, sum(ratio::numeric)::numeric(20,3)::text,
       sum(octet_length(code)), sum(octet_length(note)), count(note), max(made_at)::timestamp::text,
       max(seen_at)::timestamp::text, max(day)::date::text, count(spent), count(state), count(active), count(facts),
       count(photo)
FROM {TABLE}
"""  # noqa: E501
# The same figures by the source's words.
WANTED = f"""
SELECT count(*), CAST(sum(id) AS char), CAST(sum(visits) AS char), CAST(sum(amount) AS char),
       CAST(CAST(sum(ratio) AS decimal(20,3)) AS char), CAST(sum(octet_length(code)) AS signed),
       CAST(sum(octet_length(note)) AS signed), count(note), CAST(max(made_at) AS char), CAST(max(seen_at) AS char),
       CAST(max(day) AS char), count(spent), count(state), count(active), count(facts), count(photo)
FROM {TABLE}
"""
# Sling takes bytes for text, and PostgreSQL refuses them: it is given hexadecimal digits.
SLING = f"""
select id, visits, amount, ratio, code, note, made_at, seen_at, day, spent, state, active, facts, hex(photo) as photo
from {mariadb.DATABASE}.{TABLE}
"""
# Its own types but for moments, which have no zone there and none with us.
PGLOADER = """
CAST type datetime to timestamp drop default drop not null using zero-dates-to-null
ALTER SCHEMA 'bench' RENAME TO 'public'
"""


def mysql(bench: Bench) -> Iterator[Result]:
    """A million rows; nothing but its name where there is no server."""
    program = mariadb.program()
    if program is None:
        bench.say("  mariadbd: not installed (Debian: mariadb-server), left out")
        return
    bench.pair.fresh_source("mysql")
    rows = bench.rows(ROWS)
    with mariadb.running(program) as server:
        server.run(CREATE, FILL.replace(":rows", str(rows)), f"ANALYZE TABLE {TABLE}")
        case = Foreign(
            name="mysql",
            url=server.url,
            sling_url=server.url,
            sling_stream=SLING.strip().replace("\n", " "),
            rows=rows,
            content=CONTENT,
            wanted=server.ask(WANTED),
            pgloader=PGLOADER,
            pid=server.pid,
        )
        bench.say(f"  {rows:,} rows of 14 columns in MariaDB")
        yield from moved(bench, case, bar=BAR, best_bar=BEST_BAR)
