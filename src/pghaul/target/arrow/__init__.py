"""Record batches into a PostgreSQL table: which form each column has, what is refused, and the bytes of COPY.

Imported by what moves Arrow only: pyarrow, numpy and pgpq are no part of a relay worker.
"""
