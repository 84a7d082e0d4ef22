"""A small endpoint that speaks TDS 7.4, the protocol of SQL Server: written from the MS-TDS specification, for tests."""
