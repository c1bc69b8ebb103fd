"""matplotlib's figures are shown inline, in every cell."""

import contextlib
import sys

INLINE = "module://matplotlib_inline.backend_inline"


def show_inline_again() -> None:
    """Take back `matplotlib.use('Agg')` of an earlier cell: it would silence all that follow."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None:
        return
    try:
        # Past the lookup that would choose a backend.
        chosen = dict.__getitem__(matplotlib.rcParams, "backend")
        if isinstance(chosen, str) and chosen not in (INLINE, "inline"):
            matplotlib.use(INLINE)
    except Exception:
        return  # code may have put anything in its place


def close_fonts() -> None:
    """Close the font files that matplotlib keeps open.

    It does so in each fork, and writes to a hundred pages of memory then.
    """
    fonts = sys.modules.get("matplotlib.font_manager")
    if fonts is not None:
        with contextlib.suppress(AttributeError):  # another version
            fonts._get_font.cache_clear()
