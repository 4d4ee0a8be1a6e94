"""What ratings say: screening, intervals, differences, agreement, planning, and how it is written down."""
