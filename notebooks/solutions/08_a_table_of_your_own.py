"""The blanks of 08 A table of your own, filled in."""

standardised = (column - column.mean()) / column.std()
columns_seen = 2 + 1 + 4
error_in_units = 80 * 0.25
