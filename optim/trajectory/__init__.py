"""Watching an optimizer walk: record what it does, draw it, see it move.

    path = record(rosenbrock, lambda params: optim.Adam(params, lr=0.05), steps=300)
    draw([path]).savefig("path.png")
    animate([path], "path.gif")

Public: `Trajectory`, `record`; the pictures `draw`, `draw_progress`, `draw_state`, which return Matplotlib figures; and
`animate`, which writes a file. `recording.py` needs NumPy alone.
"""

from .animating import animate
from .drawing import draw, draw_progress, draw_state
from .recording import Trajectory, record

__all__ = ["Trajectory", "record", "draw", "draw_progress", "draw_state", "animate"]
