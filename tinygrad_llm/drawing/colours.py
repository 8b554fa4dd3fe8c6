"""The colours of all pictures. They can be read on a light and on a dark page, and by the colour-blind.

Nothing here asks which theme a page has. Text takes the page's own colour (`INK`), fainter text is the same colour with
an opacity, and an area is a hue with an opacity over the page's own background. What is zero is therefore as white as
a light page and as black as a dark one.

The hues are those of Okabe and Ito, "Color Universal Design" (2008), with the lightness chosen so that each has a
contrast of at least 3 against both white and #111111 (WCAG 2.1, 1.4.11, for graphics).
Used by: everything that is drawn.
"""

from __future__ import annotations

INK = "currentColor"
QUIET, FAINT, LINE = 0.68, 0.45, 0.2  # opacities of INK: text beside the point, text that hardly matters, rules

BLUE, ORANGE, GREEN, PURPLE, RED = "#2b83c9", "#d2691e", "#16906c", "#b0659f", "#d6455d"
SERIES = (BLUE, ORANGE, GREEN, PURPLE)  # of lines in one chart, in this order
NEGATIVE, POSITIVE = BLUE, ORANGE

UNDER_TEXT = 0.55  # the greatest opacity of an area with words on it: INK keeps a contrast of at least 4.5


def signed(value: float, largest: float, most: float = 1.0) -> tuple[str, float]:
    """(hue, opacity) of a number: blue below zero, orange above, clear at zero; opacity `most` at ±largest.

    A NaN has the page's text colour, as the only one.

    >>> signed(-0.5, 2.0)
    ('#2b83c9', 0.25)
    """
    if value != value:
        return INK, most
    return (POSITIVE if value > 0 else NEGATIVE), most * min(1.0, abs(value) / largest if largest else 0.0)
