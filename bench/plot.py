"""A plot of lines with both axes logarithmic, as SVG; for the scripts beside it."""

import math

COLOURS = ["#1b6ca8", "#c8102e", "#2e7d32", "#e07b00", "#6a3d9a", "#00838f", "#8d6e63", "#ad1457",
           "#5d7a00", "#455a64"]


class Plot:
    LEFT, TOP, WIDTH, HEIGHT = 64, 40, 480, 330

    def __init__(self, xs, ys):
        """xs: what the axis names, whose ends are the plot's; ys: all that will be drawn."""
        self.x0, self.x1 = min(xs), max(xs)
        self.y0, self.y1 = min(ys) / 1.15, max(ys) * 1.15
        self.xs, self.count, self.lines = xs, 0, []

    def x(self, value):
        span = math.log(self.x1 / self.x0) or 1.0
        return self.LEFT + self.WIDTH * math.log(value / self.x0) / span

    def y(self, value):
        return self.TOP + self.HEIGHT * math.log(self.y1 / value) / math.log(self.y1 / self.y0)

    def add(self, text):
        self.lines.append(text)

    def axes(self, title, below):
        bottom, right = self.TOP + self.HEIGHT, self.LEFT + self.WIDTH
        self.add(f'<text x="{self.LEFT}" y="24" font-size="16" font-weight="600">{title}</text>')
        free = 0  # names that would touch are left out
        for value in self.xs:
            x = self.x(value)
            if x >= free:
                self.add(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">'
                         f'{value:g}</text>')
                free = x + 30
        self.add(f'<text x="{(self.LEFT + right) / 2}" y="{bottom + 42}" text-anchor="middle">'
                 f'{below}</text>')
        for power in range(-3, 5):
            for digit in (1, 2, 5):
                value = digit * 10.0 ** power
                if self.y0 <= value <= self.y1:
                    y = self.y(value)
                    self.add(f'<line x1="{self.LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" '
                             'stroke="#e4e4e4"/>')
                    self.add(f'<text x="{self.LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                             f'{value:g}</text>')

    def series(self, name, points):
        number = self.count
        self.count += 1
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="6 4"' if number >= len(COLOURS) else ""
        path = " ".join(f"{self.x(k):.1f},{self.y(d):.1f}" for k, d in points)
        self.add(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"'
                 f'{dash}/>')
        for k, d in points:
            self.add(f'<circle cx="{self.x(k):.1f}" cy="{self.y(d):.1f}" r="3" fill="{colour}"/>')
        y, x = self.TOP + 8 + 20 * number, self.LEFT + self.WIDTH + 16
        self.add(f'<line x1="{x}" y1="{y}" x2="{x + 24}" y2="{y}" stroke="{colour}" '
                 f'stroke-width="2.4"{dash}/>')
        self.add(f'<text x="{x + 30}" y="{y + 4}">{name}</text>')

    def level(self, value, name):
        y = self.y(value)
        self.add(f'<line x1="{self.LEFT}" y1="{y:.1f}" x2="{self.LEFT + self.WIDTH}" y2="{y:.1f}" '
                 'stroke="#222" stroke-dasharray="2 3"/>')
        self.add(f'<text x="{self.LEFT + 6}" y="{y - 6:.1f}" fill="#222">{name}</text>')

    def text(self):
        width, height = self.LEFT + self.WIDTH + 160, self.TOP + self.HEIGHT + 56
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" font-size="13" '
                'font-family="\'DejaVu Sans\', Helvetica, Arial, sans-serif" fill="#444">\n'
                f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
                + "\n".join(self.lines) + "\n</svg>\n")
