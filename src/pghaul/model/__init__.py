"""The vocabulary of pghaul: values and errors, free of any driver."""
