"""Between a source's record batches and the writer: values, characters, masking. pyarrow, and no row by itself."""
