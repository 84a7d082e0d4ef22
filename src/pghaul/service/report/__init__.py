"""A run's report, for who has to answer for it: gathered once, told as text, as data and as one page."""
