"""The line: profile, size and driver. No other package knows about escape codes.

**Why cells are sent and not widgets.** Textual's compositor sends every changed widget completely:
16 to 25 kB to switch a page, 25 seconds at 9600 baud. ``output`` reads Textual's output into a grid
of cells, compares it with what the terminal shows, and sends the fewest bytes that turn one into
the other: 1 to 2 kB. When nothing changes, it sends nothing. It is never more than one frame ahead
of the line, so a key that is held down does not build up a backlog.

**Why input is decoded here.** One byte that is not UTF-8 ends a stock Textual program, XON is its
quit key, and an unknown reply from the terminal would be typed into the program. ``input`` ignores
noise. Only this package uses private names of Textual, and
``tests/terminal/test_textual_names.py`` checks each of them.
"""
