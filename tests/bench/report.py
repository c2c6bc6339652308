"""The table, the page and the plot of one result."""
from html import escape

# Measures that have a number to reach: prefix of the measure, part of its name → greatest (or least) ratio to PgBouncer.
REACH_CPU = {"prepared": 1.0, "extended": 1.0, "simple": 1.15}


def reach(measure):
    """(ratio to PgBouncer, "most" or "least"), or a limit of its own (KB, "kb" / MB, "mb"); None: nothing was promised."""
    kind, _, cell = measure.partition(": ")
    if kind == "CPU µs/query":
        return REACH_CPU[cell.split(",")[0]], "most"
    if kind == "queries/s" and " 1 client" not in cell:
        return 1.0, "least"
    if kind.startswith("added latency"):
        return (1.10 if "p50" in kind else 1.25), "most"
    if kind == "CPU s/GB":
        return (1.5 if "masked" in cell else 0.6), "most"
    if kind == "CPU µs/new session":
        return 0.5, "most"
    if kind == "KB/idle session":
        return (48 if "TLS" in cell else 12), "limit"
    if measure == "RSS MB: 0 sessions":
        return 30, "limit"
    return None


def rows(rounds, median):
    """One row a measure: medians of each system, median of the rounds' ratios of Postern to PgBouncer, and the verdict."""
    found = []
    for measure, systems in rounds.items():
        row = {"measure": measure, **{name: median(values) for name, values in systems.items()}, "ratio": None, "reach": "", "reached": None}
        ours, theirs = systems.get("postern"), systems.get("pgbouncer")
        if ours and theirs:
            ratios = [a / b for a, b in zip(ours, theirs) if b > 0]
            row["ratio"] = median(ratios) if ratios else None
        wanted = reach(measure)
        if wanted and ours:
            limit, sort = wanted
            if sort == "limit":
                row["reach"], row["reached"] = f"≤ {limit}", row["postern"] <= limit
            elif row["ratio"] is not None:
                row["reach"] = f"{'≤' if sort == 'most' else '≥'} {limit:.2f} ×"
                row["reached"] = row["ratio"] <= limit if sort == "most" else row["ratio"] >= limit
        found.append(row)
    return found


def _number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _verdict(row):
    return "" if row["reached"] is None else "reached" if row["reached"] else "LOSES"


def _cells(row):
    ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f} ×"
    return [row["measure"], *(_number(row.get(name)) for name in ("direct", "haproxy", "pgbouncer", "postern")), ratio, row["reach"], _verdict(row)]


HEAD = ["measure", "direct", "HAProxy", "PgBouncer", "Postern", "ratio to PgBouncer", "reach", ""]


def text(table):
    lines = [HEAD, *(_cells(row) for row in table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))) for line in lines)


def markdown(conditions, table, plot, data):
    losing = [row for row in table if row["reached"] is False]
    judged = [row for row in table if row["reached"] is not None]
    lines = ["# Performance", "",
             "What the sidecar costs beside PgBouncer, which neither parses, nor judges, nor records. Written by `tests/bench/run --publish`;",
             "`tests/bench/README.md` says how it measures. Absolute numbers are of one machine; ratios are what to compare.", "",
             f"Measured {conditions['when']} at commit {conditions['commit']} on {conditions['cores']} cores of {conditions['cpu']}: all of PostgreSQL 15, the",
             f"proxies and the clients on this machine; {conditions['repeats']} interleaved rounds of {conditions['seconds']} s, {conditions['result_mb']} MB results"
             + ("; a quick run." if conditions["quick"] else "."),
             "Postern: a policy of 50 rules, audit on. PgBouncer: session mode. Ratios are medians of the rounds' ratios.",
             *([conditions["note"]] if conditions.get("note") else []), "",
             f"![ratios to PgBouncer]({plot})", "", f"The numbers of every round are in [{data}]({data}).", "", "## Losing cells", ""]
    if losing:
        lines += [f"{len(losing)} of {len(judged)} cells with a number to reach do not reach it:", ""]
        for row in losing:
            value = f"{_number(row['postern'])}" if row["reach"].startswith("≤ ") and "×" not in row["reach"] else f"{row['ratio']:.2f} ×"
            lines.append(f"- {row['measure']}: {value}, to reach {row['reach']}")
    else:
        lines.append("None: every cell with a number to reach reaches it.")
    lines += ["", "## All cells", "", "| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * 6 + "---|"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in table]
    return "\n".join(lines) + "\n"


def svg(table):
    """A bar for each ratio that has a number to reach, and a tick at that number."""
    shown = [row for row in table if row["ratio"] is not None and "×" in row["reach"]]
    widest = max([2.0, *(row["ratio"] for row in shown)])
    left, width, line = 330, 520, 22
    scale = width / widest
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{line * (len(shown) + 3)}" '
             'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="{left}" y="16" font-weight="bold">Postern as a multiple of PgBouncer (tick: to reach)</text>']
    for i, row in enumerate(shown):
        y = line * (i + 2)
        limit = float(row["reach"].split()[1])
        color = "#4a8" if row["reached"] else "#c64"
        parts += [f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(row["measure"])}</text>',
                  f'<rect x="{left}" y="{y}" width="{row["ratio"] * scale:.1f}" height="{line - 7}" fill="{color}"/>',
                  f'<line x1="{left + limit * scale:.1f}" x2="{left + limit * scale:.1f}" y1="{y - 2}" y2="{y + line - 5}" stroke="black" stroke-width="2"/>',
                  f'<text x="{left + row["ratio"] * scale + 5:.1f}" y="{y + 12}">{row["ratio"]:.2f}</text>']
    return "\n".join(parts) + "\n</svg>\n"
