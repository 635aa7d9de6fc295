"""Animating: a path as it is walked, and the moments that push it, side by side.

Public: `animate`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .drawing import draw_ground, draw_height, draw_memory, draw_path, new_figure, shared_surface
from .recording import Trajectory


def animate(paths: Sequence[Trajectory], file: str | Path, frames: int = 60, fps: int = 12) -> Path:
    """Write a film of paths on their surface: ``.gif`` needs nothing but Matplotlib, ``.mp4`` the program ffmpeg.

    Beside one path its optimizer's state moves, a panel for each name (Adam: first and second moment, each of x and y).
    Beside several paths, or one without state, their heights do.

    Parameters
    ----------
    file
        Where to, by its suffix.
    frames
        How many pictures, evenly over the steps of the longest path.
    fps
        Pictures in a second.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ValueError
        For no paths, paths not recorded on one surface, another suffix, no frames.
    ImportError
        Where Matplotlib is missing, naming the extra to install.
    FileNotFoundError
        For ``.mp4`` where ffmpeg is missing.
    """
    file, surface = Path(file), shared_surface("animate", paths)
    if frames < 1 or fps < 1:
        raise ValueError(f"animate: frames = {frames}, fps = {fps}; wanted both >= 1")
    if file.suffix not in WRITERS:
        raise ValueError(f"animate: {file.name} ends in {file.suffix!r}, wanted {' or '.join(map(repr, WRITERS))}")
    if file.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise FileNotFoundError("animate: .mp4 needs the program ffmpeg (apt install ffmpeg); .gif does without")

    names = [*paths[0].state] if len(paths) == 1 else []
    width, height = np.ptp(surface.domain, axis=1)
    widths = [width / height, *[1.2] * (len(names) or 1)]
    figure = new_figure("animate", figsize=(4 * sum(widths), 4), dpi=80)
    ground, *others = figure.subplots(1, len(widths), width_ratios=widths)
    draw_ground(ground, surface)
    moving = [Moving(draw_path(ground, path, k), path.steps) for k, path in enumerate(paths)]
    if len(paths) == 1:
        ground.set_title(f"{paths[0].name} on {surface.name}")
    for axes, name in zip(others, names):
        draw_memory(axes, paths[0], name)
    if not names:
        draw_height(others[0], paths, surface)
        figure.legend(handles=others[0].lines, loc="outside right upper")
    moving += [Moving(line, line.get_xdata()) for axes in others for line in axes.lines]

    steps = np.linspace(0, max(path.steps[-1] for path in paths), frames)
    WRITERS[file.suffix](file, photograph(figure, moving, steps), fps)
    return file


class Moving:
    """A line that grows with the steps, and a dot at its end."""

    def __init__(self, line: Any, steps: Any) -> None:
        self.line, self.steps = line, np.asarray(steps)
        self.x, self.y = line.get_data()
        line.set(marker="o", markevery=slice(-1, None), animated=True)

    def show_until(self, step: float) -> None:
        """Show what had happened after so many steps."""
        shown = np.searchsorted(self.steps, step, side="right")
        self.line.set_data(self.x[:shown], self.y[:shown])


def photograph(figure: Any, moving: Sequence[Moving], steps: Any) -> list[Any]:
    """Pictures of a figure after so many steps, arrays ``(height, width, 3)``, both even, of bytes.

    What does not move is drawn once, so that 60 frames of Adam take 0.5 s; all drawn anew, as Matplotlib's own writers
    do, took 6.3 s.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    pictures = []
    for step in steps:
        canvas.restore_region(background)
        for each in moving:
            each.show_until(step)
            each.line.axes.draw_artist(each.line)
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
        height, width, _ = picture.shape
        pictures.append(picture[: height // 2 * 2, : width // 2 * 2].copy())
    return pictures


def write_gif(file: Path, pictures: list[Any], fps: int) -> None:
    """The film as GIF, which plays for ever. All pictures share the colours of the last, which has every line."""
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    palette = images[-1].quantize()
    first, *others = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    first.save(file, save_all=True, append_images=others, duration=1000 // fps, loop=0)


def write_mp4(file: Path, pictures: list[Any], fps: int) -> None:
    """The film as MP4, in the colour format that every browser plays."""
    height, width, _ = pictures[0].shape
    raw = f"-f rawvideo -pixel_format rgb24 -video_size {width}x{height} -framerate {fps} -i -".split()
    command = ["ffmpeg", "-y", "-loglevel", "error", *raw, "-pix_fmt", "yuv420p", str(file)]
    subprocess.run(command, input=b"".join(map(np.ndarray.tobytes, pictures)), check=True)


WRITERS = {".gif": write_gif, ".mp4": write_mp4}
