"""coverage: what an export of llvm-cov says of some folders.

usage: coverage.py LCOV LIST FOLDER...

Prints a table of the folders, then every function with lines that no test
reached and that LIST does not name, and every entry of LIST whose function is
reached whole by now (lines and branches) or is there no more.  Exit status 1
when there is any of these, or when a folder is below 90 %.

A line of LIST: path, function, reason in words; "#" begins a comment.  A reason
that begins with "vectors:" is of a function that tests reach where there is
../shared/vectors, one that begins with "seldom:" of one that they reach by
luck; these may be reached or not.
Generated files (*.pb-c.*) are not counted, nothing else is left out.
"""
import os
import sys

FLOOR = 90.0


class File:
    def __init__(self):
        self.starts = {}  # function: first line
        self.lines = {}  # line: times
        self.branches = {}  # line: (taken, all)
        # What llvm-cov counts: an inline function once, not by its users.
        self.sums = dict.fromkeys(("LF", "LH", "BRF", "BRH"), 0)

    def functions(self):
        """Each function's name, lines missed, branches missed."""
        order = sorted((at, name) for name, at in self.starts.items())
        for i, (at, name) in enumerate(order):
            end = order[i + 1][0] if i + 1 < len(order) else 1 << 30
            missed = [n for n, c in self.lines.items() if at <= n < end and not c]
            half = [n for n, (t, a) in self.branches.items()
                    if at <= n < end and t < a]
            yield name, sorted(missed), sorted(half)


def read(path):
    files, f = {}, None
    with open(path, encoding="utf-8") as text:
        for line in text:
            key, _, rest = line.strip().partition(":")
            if key == "SF":
                f = files.setdefault(os.path.relpath(rest), File())
            elif key == "FN":
                at, name = rest.split(",", 1)
                f.starts[name.rsplit(":", 1)[-1]] = int(at)
            elif key == "DA":
                at, times = rest.split(",")[:2]
                f.lines[int(at)] = f.lines.get(int(at), 0) + int(times)
            elif key == "BRDA":
                at, _, _, taken = rest.split(",")
                t, a = f.branches.get(int(at), (0, 0))
                f.branches[int(at)] = (t + (taken not in ("-", "0")), a + 1)
            elif f and key in f.sums:
                f.sums[key] = int(rest)
    return {p: f for p, f in files.items() if ".pb-c." not in p}


def entries(path):
    """(path, function): reason."""
    found = {}
    with open(path, encoding="utf-8") as text:
        for n, line in enumerate(text, 1):
            words = line.split("#", 1)[0].split(None, 2)
            if not words:
                continue
            if len(words) < 3:
                sys.exit(f"{path}:{n}: path, function, reason")
            if (words[0], words[1]) in found:
                sys.exit(f"{path}:{n}: {words[0]} {words[1]} twice")
            found[words[0], words[1]] = words[2]
    return found


def ranges(numbers):
    """3-5 9"""
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def main():
    lcov, listed, folders = sys.argv[1], sys.argv[2], sys.argv[3:]
    files, known, bad = read(lcov), entries(listed), False
    missed = {}

    print(f"{'folder':<16}{'lines':>7}{'missed':>8}{'%':>8}"
          f"{'branches':>10}{'missed':>8}{'%':>8}{'listed':>8}")
    for folder in folders:
        sums, n_listed = dict.fromkeys(("LF", "LH", "BRF", "BRH"), 0), 0
        for path, f in files.items():
            if not path.startswith(folder + "/"):
                continue
            for key in sums:
                sums[key] += f.sums[key]
            for name, gone, half in f.functions():
                missed[path, name] = gone, half
                n_listed += (path, name) in known
        lines = percent(sums["LH"], sums["LF"])
        branches = percent(sums["BRH"], sums["BRF"])
        below = min(lines, branches) < FLOOR or sums["LF"] == 0
        bad |= below
        print(f"{folder:<16}{sums['LF']:>7}{sums['LF'] - sums['LH']:>8}"
              f"{lines:>8.2f}{sums['BRF']:>10}{sums['BRF'] - sums['BRH']:>8}"
              f"{branches:>8.2f}{n_listed:>8}{'  below 90' if below else ''}")

    for (path, name), (gone, half) in sorted(missed.items()):
        if gone and (path, name) not in known:
            print(f"not listed: {path} {name}: lines {ranges(gone)}")
            bad = True
    for (path, name), reason in known.items():
        if os.path.dirname(path) not in folders:
            continue
        if reason.startswith(("vectors:", "seldom:")):
            continue
        gone, half = missed.get((path, name), ([], []))
        if not gone and not half:
            print(f"stale: {path} {name} is "
                  f"{'reached' if (path, name) in missed else 'not there'}")
            bad = True
    return bad


if __name__ == "__main__":
    sys.exit(main())
