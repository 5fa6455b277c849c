"""plot.py: memory over time, one colour a setting, by gnuplot.

Reached from rss.py. Solid: RSS (PSS with several processes). Dashed, in the same colour: the same
less LazyFree, drawn where there was any. Of each setting the round with the median area is shown.
"""
import os
import shutil
import subprocess

import figures
from program import Refused

COLOURS = ("#1b6ca8", "#e08214", "#4d9221", "#8073ac", "#b2182b", "#666666", "#c51b7d", "#00868b")
WIDTH, HEIGHT = 900, 520
TITLE_CHARACTERS = 84


def check(output):
    """Said before the runs, not after them."""
    if not output.endswith((".svg", ".png")):
        raise Refused(2, f"--plot {output}: the name ends in .svg or .png")
    if not shutil.which("gnuplot"):
        raise Refused(2, "--plot needs gnuplot, which is not installed")


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def block(name, points):
    rows = "\n".join(f"{at:.4f} {nbytes / figures.MIB:.4f}" for at, nbytes in points)
    return f"{name} << EOD\n{rows}\nEOD"


def curves(c):
    """(title, points, colour, is dashed) of each line, dashed ones drawn last."""
    solid, dashed = [], []
    for k, name in enumerate(c.names()):
        run = figures.representative(c.counted[name], c.basis)
        colour = COLOURS[k % len(COLOURS)]
        solid.append((name, figures.curve(run, c.basis), colour, False))
        if max((s.lazy or 0 for s in run.sampler.samples), default=0) >= figures.LAZY_TELLING:
            dashed.append((f"{name}, less LazyFree", figures.curve_less_lazy(run, c.basis),
                           colour, True))
    return [line for line in solid + dashed if len(line[1]) > 1]


def script(c, output, title):
    kind = "svg background '#ffffff'" if output.endswith(".svg") else "pngcairo"
    lines = [
        f"set terminal {kind} size {WIDTH},{HEIGHT} font 'sans,12'",
        f"set output {quoted(output)}",
        f"set title {quoted(title)} noenhanced",
        "set xlabel 'seconds since the start' offset 0,0.3", f"set ylabel '{c.basis}, MiB'",
        "set yrange [0:*]", "set xrange [0:*]", "set format y '%.0f'",
        "set grid lt 1 lc rgb '#e4e4e4'", "set border 3", "set tics nomirror",
        "set key outside bottom center horizontal noenhanced", "set tmargin 3", "set bmargin 6", "set rmargin 3",
    ]
    parts = []
    for i, (name, points, colour, is_dashed) in enumerate(curves(c)):
        lines.append(block(f"$d{i}", points))
        parts.append(f"$d{i} with lines lw 2 dt {2 if is_dashed else 1} lc rgb '{colour}' "
                     f"title {quoted(name)}")
    if not parts:
        return None
    return "\n".join(lines + ["plot " + ", ".join(parts)]) + "\n"


def draw(c, output, argv):
    """Writes the file; the reason in a line if gnuplot could not, else None."""
    title = " ".join(" ".join([os.path.basename(argv[0])] + argv[1:]).split())
    if len(title) > TITLE_CHARACTERS:
        title = title[:TITLE_CHARACTERS - 3] + "..."
    commands = script(c, output, f"Memory of: {title}")
    if not commands:
        return f"--plot {output}: fewer than two samples, nothing to draw"
    done = subprocess.run(["gnuplot"], input=commands, text=True, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return f"--plot {output}: gnuplot: {said[-1] if said else done.returncode}"
    return None
