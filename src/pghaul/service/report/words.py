"""Every word of a report, by name: the page's template and the terminal refer to them, the catalogues collect them."""

from __future__ import annotations

from pghaul.model.text import Text, say, saying
from pghaul.model.verification import SET_ASIDE as _ASIDE
from pghaul.model.verification import Difference, Method
from pghaul.service.report.contents import Outcome

# --- the verdict ---

OUTCOME: dict[Outcome, Text] = {
    Outcome.DONE: say("Done"),
    Outcome.DIFFERENT: say("Done, with differences"),
    Outcome.INCOMPLETE: say("Not everything could be compared"),
    Outcome.FAILED: say("Failed"),
    Outcome.STOPPED: say("Stopped"),
    Outcome.RUNNING: say("Still running"),
    Outcome.PAUSED: say("Paused"),
}
RUN_MEANS: dict[Outcome, Text] = {
    Outcome.DONE: say("Everything that was asked for is on the target, and no comparison found a difference."),
    Outcome.DIFFERENT: say("The run came to its end, but source and target are not the same everywhere."),
    Outcome.FAILED: say("The run ended before its work was done. What it had committed is on the target."),
    Outcome.STOPPED: say("The run was stopped before its work was done. What it had committed is on the target."),
    Outcome.RUNNING: say("The run is not over: this is how it stood when the report was made."),
    Outcome.PAUSED: say("The run waits: this is how it stood when the report was made."),
}
VERIFICATION_MEANS: dict[Outcome, Text] = {
    Outcome.DONE: say("Source and target are the same in everything that was compared."),
    Outcome.DIFFERENT: say("Source and target are not the same."),
    Outcome.INCOMPLETE: say("What could be compared is the same; some tables could not be."),
}
EQUAL = say("The same on both sides")
SYMBOL = {  # data: no word
    Outcome.DONE: "✔",
    Outcome.DIFFERENT: "≠",
    Outcome.INCOMPLETE: "?",
    Outcome.FAILED: "✘",
    Outcome.STOPPED: "■",
    Outcome.RUNNING: "▶",
    Outcome.PAUSED: "‖",
}

# --- titles ---

TITLE_RUN = saying("Report of run {id}")
TITLE_VERIFICATION = saying("Report of verification {id}")
AT_A_GLANCE = say("At a glance")
ENDS = say("Source and target")
WHO_AND_WHEN = say("Who and when")
ASKED = say("What was asked")
RATE = say("Rate over time")
TABLES = say("Tables and their receipts")
VERIFICATIONS = say("Verifications")
CUTOVER = say("Cutover")
NOT_CARRIED = say("Not carried over")
WARNINGS = say("Warnings")
AGAIN = say("Done again")
FAILED_CHUNKS = say("Failed chunks")
PAUSES = say("Pauses")
NOTES = say("Notes")
HOW_TO_READ = say("How to read this")
NONE = say("None.")

# --- figures ---

STARTED = say("Started")
FINISHED = say("Finished")
TOOK = say("Took")
NOT_FINISHED = say("not yet")
ROWS = say("Rows")
BYTES = say("Bytes")
TABLE_COUNT = say("Tables")
CHUNKS = say("Chunks")
CHUNKS_OF = saying("{done} of {all}")
ATTEMPTS = say("Attempts")
PAUSE_COUNT = say("Pauses")
RETRIES = say("Retries")
PROVEN = say("Proven")
MEAN_RATE = say("Mean rate")
HIGHEST_RATE = say("Highest rate")
DOWNTIME = say("Downtime")
SECONDS = saying("{seconds:.1f} s")

# --- the two ends ---

SOURCE = say("Source")
TARGET = say("Target")
END: dict[str, Text] = {
    "url": say("Database"),
    "version": say("Server"),
    "encoding": say("Encoding"),
    "collation": say("Collation"),
    "character_type": say("Character type"),
    "timezone": say("Time zone"),
    "user": say("Role"),
    "superuser": say("Superuser"),
    "standby": say("Standby"),
    "encrypted": say("Connection encrypted"),
}
YES = say("yes")
NO = say("no")
UNKNOWN = say("not recorded")

# --- attempts ---

ATTEMPT = say("Attempt")
WHO = say("Who")
WHEN = say("When")
PROGRAM = say("pghaul")
PYTHON = say("Python")
PLATFORM = say("Platform")

# --- the chart ---

CHART_TITLE = say("How fast the run was over its time")
CHART_TEXT = saying(
    "Bytes per second over {time}: {mean}/s on average, {most}/s at most. Attempts: {attempts}. Pauses: {pauses}."
)
CHART_KEY = say("Dashed lines: attempts begin. Shaded: pauses. Hatched: time without a sample, drawn narrow.")
CHART_NONE = say("The run was too short to be drawn.")

# --- tables ---

TABLE = say("Table")
TIME = say("Seconds")
PROOF = say("Proof")
HASHES = say("Hashes")
CHUNK = say("Chunk")
STATE = say("State")
TABLES_SUM = saying("tables: {n}")
BIGGEST = saying("What differs first, then the biggest: {n} of {all} tables.")
ALL_TABLES = saying("All {n} tables")
FOLDED = say("What is folded is not printed: unfold it first.")
BOTH = say("both")
SHORTENED = say("Hashes are shortened here; the data (`pghaul report --format json`) has them whole.")
MORE = saying("… and {n} more")
BECAME: dict[str, Text] = {
    "inserted": saying("{n} new"),
    "updated": saying("{n} updated"),
    "unchanged": saying("{n} the same"),
    "ignored": saying("{n} left out"),
    "rejected": saying("{n} set aside"),
    "deleted": saying("{n} deleted"),
}
PROVEN_BY = saying("{proof}: {n}")
DIFFERS = say("DIFFERENT")
NOT_PROVEN = say("not done")

# --- verifications ---

VERIFICATION = say("Verification")
EARLIER = saying("Earlier verifications: {n}")
VERIFIED_BY = saying("Verification {id}, by {who}")
VERIFIED_BY_NOBODY = saying("Verification {id}")
METHOD: dict[Method, Text] = {
    Method.COUNT: say("rows of both sides counted"),
    Method.CHECKSUM: say("checksums of both sides, narrowed to rows where they differ"),
}
COMPARED = saying("{tables} tables: {equal} the same, {different} different, {unknown} not compared.")
SOURCE_ROWS = say("Rows of the source")
TARGET_ROWS = say("Rows of the target")
RESULT = say("Result")
SAME = say("the same")
NOT_COMPARED = saying("not compared: {why}")
COUNTS = saying("{missing} missing, {extra} extra, {different} different")
SET_ASIDE = _ASIDE
AND_PERHAPS_MORE = say("The look ended at its limit: there may be more.")
DIFFERING_ROWS = saying("Differing rows of {table}")
COLUMNS_OF = saying("Columns of {table}")
NULLS, LEAST, GREATEST, TOTAL = say("NULLs"), say("least"), say("greatest"), say("sum")
EQUAL_TABLES = saying("The {n} tables that are the same")
KIND = say("Kind")
KEY = say("Key")
COLUMN = say("Column")
VALUE_SOURCE = say("On the source")
VALUE_TARGET = say("On the target")
KINDS: dict[Difference, Text] = {
    Difference.MISSING: say("missing on the target"),
    Difference.EXTRA: say("extra on the target"),
    Difference.DIFFERENT: say("other values"),
    Difference.TIMES: say("another number of times"),
}
TIMES = saying("{n} times")
CUT = saying("… ({n} characters)")

# --- what happened ---

DOWNTIME_WAS = saying("Nobody could write for {seconds:.1f} s: from {since} until {until}.")
DOWNTIME_UNKNOWN = say("It did not come to its end, or it was not quiet: there is no downtime to tell.")
SINCE = say("Since")
UNTIL = say("Until")
WHY = say("Why")
STILL = say("not ended")
WHAT = say("What")
NAME = say("Name")
WHAT_HAPPENED = say("What happened")
NAMED_OF = saying("{n}, from {first} to {last}")

# --- how to read this ---

READ: tuple[tuple[Text, Text], ...] = (
    (
        say("Receipt"),
        say(
            "Each chunk (a table, or a range of one) is committed on the target in one transaction together with the "
            "marker that says it is done. Its receipt says how many rows the source sent and the target stored. "
            "A chunk with a receipt is on the target whole, once; a chunk without one is not there at all."
        ),
    ),
    (
        say("Proof: rows counted"),
        say(
            "Both servers counted the same number of rows. That no row was lost or doubled in passing is shown; "
            "that every value is the same is not: it rests on COPY, which passes the bytes on untouched."
        ),
    ),
    (
        say("Proof: hash of the stream"),
        say(
            "All bytes of all rows were hashed as the source sent them, and again as the target reads them back, in "
            "the same order. Equal hashes mean equal content, every value of every copied column."
        ),
    ),
    (
        say("Proof: sum of row hashes"),
        say(
            "Each row was hashed on its own server and the hashes were added up, so that the order of rows does not "
            "matter. Equal sums mean the same rows, each as often as on the other side. What a hash leaves to chance "
            "is far less than the chance that a disk errs unseen. It guards against faults, not against "
            "somebody who forges rows on purpose."
        ),
    ),
    (
        say("What no proof says"),
        say(
            "A proof holds for the moment it was made, under the snapshot the run worked with: what was written on "
            "either side since then is not in it. Generated columns are made anew by the target. What is listed as "
            "not carried over was not compared."
        ),
    ),
    (
        say("Differences"),
        say(
            "A difference is something that both sides answered for and that is not the same. Source and target were "
            "read one after the other where no snapshot covers both: on a database that is being written to, a "
            "difference may be a row that was on its way. Verify again, or while nobody writes."
        ),
    ),
    (
        say("Seconds of a table"),
        say("They are the time that workers spent on it, added up: with two workers a run takes about half of them."),
    ),
    (
        say("The hash of this report"),
        say(
            "It is taken over the data of the report, as `pghaul report --format json` writes it. The same run gives "
            "the same hash again, as long as the state store says the same of it."
        ),
    ),
)
HASH_IS = saying("SHA-256 of the data of this report: {hash}")
MADE = saying("Made by {who} with pghaul {version} on {at}.")
TEXT_ENDS = saying("The whole of it, with all tables and differing rows, as a page: pghaul report {run} --format html")
