"""Colours say sign and size, and can be read on a light and a dark page."""

import math

import pytest

from tinygrad_llm.drawing.colours import BLUE, GREEN, INK, ORANGE, PURPLE, RED, UNDER_TEXT, signed

LIGHT, DARK = (255, 255, 255), (17, 17, 17)  # grounds of JupyterLab's themes
BLACK, WHITE = (33, 33, 33), (255, 255, 255)  # and the text on them


def rgb(hue):
    return tuple(int(hue[i : i + 2], 16) for i in (1, 3, 5))


def over(hue, opacity, ground):
    return tuple(c * opacity + g * (1.0 - opacity) for c, g in zip(rgb(hue), ground, strict=True))


def contrast(a, b):
    """The contrast ratio of WCAG 2.1, 1.4.3."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("hue", [BLUE, ORANGE, GREEN, PURPLE, RED])
def test_every_hue_is_seen_and_bears_text_on_light_and_dark_pages(hue):
    assert contrast(rgb(hue), LIGHT) > 3 and contrast(rgb(hue), DARK) > 3
    assert contrast(over(hue, UNDER_TEXT, LIGHT), BLACK) > 4.5
    assert contrast(over(hue, UNDER_TEXT, DARK), WHITE) > 4.5


def test_a_colour_says_sign_and_size():
    assert signed(0.0, 1.0)[1] == 0.0
    assert signed(1.0, 2.0) == (ORANGE, 0.5) and signed(-2.0, 2.0, most=0.3) == (BLUE, 0.3)
    assert signed(math.inf, 1.0) == (ORANGE, 1.0) and signed(math.nan, 1.0) == (INK, 1.0)
    assert signed(0.0, 0.0)[1] == 0.0
