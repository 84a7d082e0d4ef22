"""From a source that is not PostgreSQL: what is read as Arrow record batches, and goes to COPY."""
