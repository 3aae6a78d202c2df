"""Figures, printed by ``make bench``: medians of runs taken side by side."""
