"""A small endpoint that speaks TDS 7.4, the protocol of SQL Server: written from MS-TDS, for tests."""
