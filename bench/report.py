"""What was measured, and how it is shown: tables in markdown, samples as lines of JSON, bars in SVG."""

import contextlib
import dataclasses
import io
import json
import statistics
import sys

from peers import ALL, BY_NAME

ALONE = ("rtt1", "unix1")  # with more connections a latency is their number divided by the rate
NAMES = [peer.name for peer in ALL]


@dataclasses.dataclass
class Row:
    """One quantity of one test: samples by name, one of each round."""

    test: str
    group: str  # which of the tables of all peers has it as a column
    label: str  # in the table of tcpnet beside raw C
    short: str  # as a column
    digits: int = 2
    ratios: bool = True
    base: str = "raw"
    samples: dict = dataclasses.field(default_factory=dict)

    def add(self, name, value):
        self.samples.setdefault(name, []).append(value)

    def value(self, name):
        samples = self.samples.get(name)
        return f"{statistics.median(samples):,.{self.digits}f}" if samples else "–"

    def base_of(self, name):
        """The other of a pair that is made for one test, else the row's."""
        own = BY_NAME[name].base if name in BY_NAME else "raw"
        return own if own != "raw" else self.base

    def ratios_of(self, name):
        """Of the samples of the same round."""
        pairs = zip(self.samples.get(name, []), self.samples.get(self.base_of(name), []))
        return [a / b for a, b in pairs if round(b, self.digits) > 0] if self.ratios else []

    def ratio(self, name):
        ratios = self.ratios_of(name)
        if not ratios:
            return "–"
        text = f"**{statistics.median(ratios):.2f}**"
        return text if len(ratios) < 2 else f"{text} ({min(ratios):.2f}–{max(ratios):.2f})"


@dataclasses.dataclass
class Report:
    rows: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    failures: list = dataclasses.field(default_factory=list)
    disturbed: dict = dataclasses.field(default_factory=dict)  # how many samples of what, and how much
    machine: dict = dataclasses.field(default_factory=dict)  # what it ran on, versions of the peers that are here
    method: dict = dataclasses.field(default_factory=dict)  # by test: rounds, seconds
    absent: dict = dataclasses.field(default_factory=dict)

    def add(self, other):
        """A later measurement of a test replaces an earlier one."""
        later = {row.test for row in other.rows}
        self.rows = [row for row in self.rows if row.test not in later] + other.rows
        self.notes += other.notes
        self.failures += other.failures
        self.disturbed.update(other.disturbed)
        self.machine.update(other.machine)
        self.method.update(other.method)
        self.absent.update(other.absent)

    def save(self, path):
        with open(path, "w") as file:
            json.dump(dataclasses.asdict(self), file, indent=1)
            file.write("\n")

    @classmethod
    def load(cls, path):
        with open(path) as file:
            fields = json.load(file)
        fields["rows"] = [Row(**row) for row in fields["rows"]]
        return cls(**fields)


# ---- markdown ----


def print_markdown(head, lines, numbers=1):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * numbers + "---:|" * (len(head) - numbers))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


TABLES = {
    "cpu": "CPU per request (or per byte, or line) of the server. raw: µs; the others: times raw C.",
    "rate": "Requests per second (GB/s, lines per second). raw: the number; the others: times raw C "
            "(tcpnet-spin: times raw-spin).",
    "client cpu": "CPU per request of the client, against the raw C server. raw: µs; the others: times raw C.",
    "client rate": "Requests per second of the client. raw: the number; the others: times raw C.",
    "calls": "System calls of the server per request.",
    "memory": "Resident memory, bytes.",
    "proxy": "A proxy between iperf3 and itself, one connection. CPU in ms for each GiB; the others: times tcpnet's.",
    "primitives": "Tasks, ns each.",
}


def columns_of(rows, group):
    return [row for row in rows if row.group == group and set(row.samples) - {"raw", "tcpnet"}]


def cell(row, name):
    ratios = row.ratios_of(name)
    if name == row.base_of(name) or not ratios:
        return row.value(name)
    return f"{statistics.median(ratios):.2f}"


def print_matrix(rows, group):
    """All peers side by side, where others than raw C and tcpnet were measured."""
    columns = columns_of(rows, group)
    if not columns:
        return
    names = [name for name in NAMES if any(name in row.samples for row in columns)]
    names += sorted({name for row in columns for name in row.samples} - set(names))
    print(TABLES[group] + "\n")
    lines = [[f"**{name}**" if name.startswith("tcpnet") else name, *(cell(row, name) for row in columns)]
             for name in names]
    print_markdown(["", *(row.short for row in columns)], lines)


def print_beside_raw(rows):
    """A line for each quantity, and another for each of tcpnet's other ways."""
    lines = []
    for row in rows:
        for name in [name for name in NAMES if name.startswith("tcpnet") and name in row.samples]:
            base = row.base_of(name)
            way = "" if name == "tcpnet" else f" ({name.partition('-')[2]})"
            lines.append([row.label + way, row.value(base), row.value(name), row.ratio(name)])
    if lines:
        print_markdown(["", "raw C", "tcpnet", "ratio"], lines)


def print_report(report):
    rows = [row for row in report.rows if row.group != "latency" or row.test in ALONE]
    print_beside_raw([row for row in rows if row.base == "raw"])
    for group in TABLES:
        print_matrix(report.rows, group)
    spans = {}
    for test, (rounds, secs) in report.method.items():
        spans.setdefault((rounds, secs), []).append(test)
    for (rounds, secs), tests in spans.items():
        which = "" if len(spans) == 1 else f" ({', '.join(tests)})"
        print(f"Medians of {rounds} interleaved rounds × {secs:g} s{which}; "
              "ratio: the median (and range) of the ratios within a round.")
    print()
    for line in dict.fromkeys(report.notes):
        print(f"- {line}")
    for name, version in report.machine.items():
        print(f"- {name}: {version}")
    for name, reason in report.absent.items():
        print(f"- left out: {name} ({reason})")
    if report.disturbed:
        each = "; ".join(f"{what} ({how})" for what, how in report.disturbed.items())
        print(f"- samples taken while others ran: {each}")
    for line in dict.fromkeys(report.failures):
        print(f"- **failed**: {line}")


def write_between(path, section, text):
    """Replaces what stands between the marks of a section."""
    with open(path) as file:
        page = file.read()
    begin, end = f"<!-- {section}: written by the bench -->\n", f"<!-- end of {section} -->\n"
    if begin not in page or end not in page:
        sys.exit(f"bench: {path} has no marks for {section}")
    before, rest = page.split(begin, 1)
    with open(path, "w") as file:
        file.write(before + begin + "\n" + text.strip() + "\n\n" + end + rest.split(end, 1)[1])


@contextlib.contextmanager
def into(path, section):
    """What is printed goes to that section of a page, or to the terminal where there is no page."""
    if not path:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()) as text:
        yield
    write_between(path, section, text.getvalue())


# ---- SVG ----

STYLE = """
  text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .name { text-anchor: end; }
  .faint { fill: #59636e; font-size: 11px; }
  .card { fill: #ffffff; stroke: #d1d9e0; }
  .bar { fill: #afb8c1; } .ours { fill: #0969da; } .floor { stroke: #cf222e; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .faint { fill: #9198a1; } .card { fill: #0d1117; stroke: #3d444d; }
    .bar { fill: #656c76; } .ours { fill: #4493f8; } .floor { stroke: #f85149; }
  }
"""
PANEL, GAP, LEFT, LINE = 300, 40, 110, 20


def svg_panel(row, names, x, y):
    """Bars of one row: CPU per request, the floor as a line through all."""
    values = {name: statistics.median(row.samples[name]) for name in names if name in row.samples}
    scale = (PANEL - 90) / max(values.values())
    floor = x + values[row.base] * scale
    yield f'<text x="{x}" y="{y}">{row.short} {"connection" if row.test == "rtt1" else "connections"}</text>'
    y += 12
    for name in names:
        if name in values:
            width = values[name] * scale
            beside = max(x + width, floor) + 6
            ours = " ours" if name.startswith("tcpnet") else ""
            ratios = row.ratios_of(name)
            times = f"× {statistics.median(ratios):.2f}" if ratios and name != row.base else ""
            yield f'<rect class="bar{ours}" x="{x}" y="{y + 4}" width="{width:.1f}" height="{LINE - 6}" rx="2"/>'
            times = f'<tspan class="faint" dx="5">{times}</tspan>'
            yield f'<text x="{beside:.1f}" y="{y + 15}">{values[name]:.1f}{times}</text>'
        else:
            yield f'<text class="faint" x="{x}" y="{y + 15}">–</text>'
        y += LINE
    yield f'<line class="floor" x1="{floor:.1f}" y1="{y - LINE * len(names)}" x2="{floor:.1f}" y2="{y}"/>'


def draw(report, path):
    """CPU per request by peer, a panel for each size of the echo."""
    wanted = ("rtt1", "rtt64", "rtt1k", "large64")
    rows = [row for row in report.rows if row.group == "cpu" and row.test in wanted and "raw" in row.samples][:3]
    if not rows:
        sys.exit("bench: nothing to draw: no echo was measured")
    by = next((row for row in rows if row.test == "rtt64"), rows[0])
    names = [name for name in NAMES if any(name in row.samples for row in rows) and not BY_NAME[name].spins]
    names.sort(key=lambda name: statistics.median(by.samples[name]) if name in by.samples else 1e9)
    width = LEFT + 20 + len(rows) * (PANEL + GAP)
    height = 96 + LINE * len(names)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
             'role="img" aria-label="CPU per echoed request, by library">', f"<style>{STYLE}</style>",
             f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
             '<text class="title" x="20" y="30">CPU per echoed request of the server, µs '
             '<tspan class="faint">(× raw C of the same round; less is better)</tspan></text>']
    for i, name in enumerate(names):
        lines.append(f'<text class="name" x="{LEFT}" y="{83 + LINE * i}">{"raw C" if name == "raw" else name}</text>')
    for i, row in enumerate(rows):
        lines += svg_panel(row, names, LEFT + 12 + i * (PANEL + GAP), 56)
    lines.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
