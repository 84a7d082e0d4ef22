"""How a chunk is loaded that holds rows which the target refuses: those are set aside, all others are loaded."""
