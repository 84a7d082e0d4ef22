"""The command line: words in, tables and JSON out. It holds no logic of its own."""
