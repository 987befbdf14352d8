#!/usr/bin/env python3
"""Compares keep_a_directory with other backup programs on directories: a report in Markdown.

    cargo build --release -p backup-store --example keep_a_directory
    backup-store/benches/compare.py CORPUS... --work WORK [--runs 3] [--edit COMMAND] [--output FILE]

CORPUS is a directory to back up; it is copied below WORK, and stays as it is. WORK takes about three
times a corpus and one store for each program; what is below it is deleted after each run. In each run
every program begins with an empty store, and goes through: first backup, backup of the unchanged tree,
COMMAND (called with the directory as its last argument), backup of the edited tree, full check,
restore, comparison of the restored tree. What a program is going to read is read once before, so that it
lies in the page cache for each of them. The programs take turns phase by phase, so that a load on the
machine meets all of them, and another one begins each run. Medians of all runs are shown.

Peers that are not installed are skipped with a message. On a shared machine compare the CPU seconds.
"""
import argparse
import datetime
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

PHASES = ["first", "unchanged", "edited", "check", "restore"]


class Program:
    """One program with a store below `place`; `corpus` is where it is started."""

    def __init__(self, program, place, corpus):
        self.program, self.place, self.corpus = program, place, corpus
        self.store, self.out = place / "store", place / "out"
        self.env = self.environment()

    def argv(self, phase):
        return self.check() if phase == "check" else self.restore() if phase == "restore" else self.backup(phase)

    def directory(self, phase):
        return self.corpus


class Ours(Program):
    def environment(self):
        return {"BACKUP_STORE_PASSPHRASE": "p", "XDG_CACHE_HOME": self.place / "cache"}

    def init(self):
        return [self.program, "init", self.store]

    def backup(self, name):
        return [self.program, "put", self.store, name, "."]

    def check(self):
        return [self.program, "check", self.store]

    def restore(self):
        return [self.program, "get", self.store, "edited", self.out]


class Restic(Program):
    package = "restic"

    def environment(self):
        names = {"REPOSITORY": self.store, "PASSWORD": "p", "CACHE_DIR": self.place / "cache"}
        return {f"RESTIC_{name}": value for name, value in names.items()}

    def init(self):
        return [self.program, "init", "--quiet", "--repository-version", "2"]

    def backup(self, name):
        return [self.program, "backup", "--quiet", "."]

    def check(self):
        return [self.program, "check", "--read-data", "--quiet"]

    def restore(self):
        return [self.program, "restore", "latest", "--quiet", "--target", self.out]


class Rustic(Program):
    package = "rustic, not in Debian"

    def environment(self):
        names = {"REPOSITORY": self.store, "PASSWORD": "p", "CACHE_DIR": self.place / "cache", "NO_PROGRESS": "true"}
        return {f"RUSTIC_{name}": value for name, value in names.items()}

    def init(self):
        return [self.program, "init"]

    def backup(self, name):
        return [self.program, "backup", "."]

    def check(self):
        return [self.program, "check", "--read-data"]

    def restore(self):
        return [self.program, "restore", "latest", self.out]


class Borg(Program):
    package = "borgbackup"

    def environment(self):
        return {"BORG_REPO": self.store, "BORG_PASSPHRASE": "p", "BORG_BASE_DIR": self.place / "cache"}

    def init(self):
        return [self.program, "init", "--encryption", "repokey-blake2"]

    def backup(self, name):
        return [self.program, "create", "--compression", "zstd,3", f"::{name}", "."]

    def check(self):
        return [self.program, "check", "--verify-data"]

    def restore(self):
        return [self.program, "extract", "::edited"]

    def directory(self, phase):
        if phase != "restore":
            return self.corpus
        self.out.mkdir()
        return self.out


class Bupstash(Program):
    package = "bupstash, not in Debian"

    def environment(self):
        return {
            "BUPSTASH_REPOSITORY": self.store,
            "BUPSTASH_KEY": self.place / "key",
            "BUPSTASH_SEND_LOG": self.place / "sendlog",
        }

    def init(self):
        subprocess.run([self.program, "new-key", "-o", self.place / "key"], check=True)
        return [self.program, "init"]

    def backup(self, name):
        return [self.program, "put", "--quiet", f"name={name}", "."]

    def check(self):
        return None  # It has none.

    def restore(self):
        self.out.mkdir()
        return [self.program, "restore", "--quiet", "--into", self.out, "name=edited"]


PEERS = {"restic": Restic, "borg": Borg, "rustic": Rustic, "bupstash": Bupstash}


def run(argv, env, directory, log):
    """Runs a program to its end; returns wall seconds, CPU seconds and peak memory in MiB."""
    argv = [str(word) for word in argv]
    env = {**os.environ, **{name: str(value) for name, value in env.items()}}
    if os.getloadavg()[0] < os.cpu_count():
        os.sync()  # What another program left to be written is not this one's.
    began = time.monotonic()
    process = subprocess.Popen(argv, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit code {process.returncode}, see the log in the work directory")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def read(place):
    """Reads everything below a directory: the disk, and who came first to it, shall not be measured."""
    for file in place.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("rb", buffering=0) as content:
                while content.read(1 << 20):
                    pass


def files(place):
    return [file.lstat().st_size for file in place.rglob("*") if file.is_file() and not file.is_symlink()]


def compare(corpus, programs, work, number, edit, log):
    """One run over one corpus; returns what was seen, by program and phase."""
    tree = work / "corpus"
    shutil.copytree(corpus, tree, symlinks=True)
    runners = {}
    for name, (kind, program) in programs.items():
        place = work / name
        place.mkdir()
        runners[name] = kind(program, place, tree)
        run(runners[name].init(), runners[name].env, tree, log)
    order = list(runners)
    order = order[number % len(order):] + order[: number % len(order)]
    seen = {name: {} for name in runners}
    for phase in PHASES:
        if phase == "edited":
            if not edit:
                (tree / "new file").write_text("a file that is new\n")
            else:
                subprocess.run([*shlex.split(edit), tree], check=True, stdout=log)
        for name in order:
            runner = runners[name]
            argv = runner.argv(phase)
            if argv is None:
                continue
            read(runner.store if phase in ("check", "restore") else tree)
            before = sum(files(runner.store))
            seen[name][phase] = run(argv, runner.env, runner.directory(phase), log)
            after = sum(files(runner.store))
            if phase == "first":
                seen[name]["stored"] = after
            if phase == "edited":
                seen[name]["added"] = after - before
            if phase == "restore":
                same = subprocess.run(["diff", "-rq", "--no-dereference", tree, runner.out], stdout=log, stderr=log)
                seen[name]["equal"] = same.returncode == 0
                shutil.rmtree(runner.out)
            shown = "{:.1f} s wall, {:.1f} s CPU, {:.0f} MiB".format(*seen[name][phase])
            print(f"{corpus.name}, run {number + 1}, {phase}, {name}: {shown}", file=sys.stderr, flush=True)
    for place in [tree, *(runner.place for runner in runners.values())]:
        shutil.rmtree(place)
    return seen


def medians(runs):
    """The medians of several runs of one program."""
    found = {}
    for phase in PHASES:
        if phase in runs[0]:
            found[phase] = tuple(statistics.median(each) for each in zip(*(one[phase] for one in runs)))
    for size in ["stored", "added"]:
        found[size] = statistics.median(one[size] for one in runs)
    found["equal"] = all(one["equal"] for one in runs)
    return found


def report(corpus, found):
    sizes = files(corpus)
    yield f"### {corpus.name}: {len(sizes):,} files, {sum(sizes) / 1e6:,.0f} MB\n"
    yield "| program | first | unchanged | edited | full check | restore | stored MB | added MB | tree |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, rows in found.items():
        cells = ["{:.1f} / {:.1f} / {:.0f}".format(*rows[phase]) if phase in rows else "none" for phase in PHASES]
        cells += [f"{rows['stored'] / 1e6:,.1f}", f"{rows['added'] / 1e6:,.1f}"]
        cells.append("equal" if rows["equal"] else "**differs**")
        yield f"| {name} | " + " | ".join(cells) + " |"
    ours = found["keep_a_directory"]
    yield "\nEach cell: wall seconds / CPU seconds / peak memory in MiB. keep_a_directory divided by its peers:\n"
    yield "| peer | first: CPU, wall | edited | full check | restore | stored | added |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, rows in found.items():
        if rows is ours:
            continue
        cells = [
            "{:.2f}, {:.2f}".format(ours[phase][1] / rows[phase][1], ours[phase][0] / rows[phase][0])
            if phase in rows
            else "none"
            for phase in PHASES
            if phase != "unchanged"
        ]
        cells += ["{:.3f}".format(ours[size] / rows[size]) for size in ["stored", "added"]]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def version(program):
    words = "version" if Path(program).name == "restic" else "--version"
    said = subprocess.run([program, words], capture_output=True, text=True)
    return " ".join(said.stdout.split("\n")[0].split()[:2]) or Path(program).name


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS")
    arguments.add_argument("--work", type=Path, required=True)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--edit", help="command that changes a corpus; else one file is added")
    arguments.add_argument("--peers", default="restic,borg", help=f"of {','.join(PEERS)}")
    arguments.add_argument("--ours", default="target/release/examples/keep_a_directory")
    arguments.add_argument("--output", type=Path, help="file that the report is written to as well")
    chosen = arguments.parse_args()
    programs = {"keep_a_directory": (Ours, str(Path(chosen.ours).resolve(strict=True)))}
    for name in filter(None, chosen.peers.split(",")):
        program = shutil.which(name)
        if program:
            programs[name] = (PEERS[name], program)
        else:
            print(f"{name} is not installed and is skipped (package {PEERS[name].package})", file=sys.stderr)
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    peers = ", ".join(version(program) for _, program in list(programs.values())[1:])
    load = os.getloadavg()[0]
    lines = [
        f"{datetime.date.today()}: {os.cpu_count()} cores ({platform.machine()}, {platform.system()}), load {load:.1f} "
        f"at the beginning; {peers}; medians of {chosen.runs}.\n"
    ]
    with open(work / "log", "ab") as log:
        for corpus in chosen.corpora:
            corpus = corpus.resolve(strict=True)
            runs = [compare(corpus, programs, work, number, chosen.edit, log) for number in range(chosen.runs)]
            found = {name: medians([seen[name] for seen in runs]) for name in programs}
            lines += report(corpus, found)
            text = "\n".join(lines)
            if chosen.output:
                chosen.output.write_text(text)  # Also when a later corpus fails.
    print(text)


if __name__ == "__main__":
    main()
