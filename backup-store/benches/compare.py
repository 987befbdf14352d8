#!/usr/bin/env python3
"""Compares keep_a_directory with other backup programs on one directory: a table in Markdown.

    cargo build --release -p backup-store --example keep_a_directory
    backup-store/benches/compare.py CORPUS WORK [--runs 3] [--edit COMMAND] [--ours PROGRAM]

CORPUS is a directory to back up, WORK an empty one for stores and caches. The programs take turns, so
that a load on the machine meets all of them. Phases: first backup (--runs times, each into a new store;
the medians are shown), unchanged, then COMMAND changes the corpus (it is called with the directory as
its last argument), edited, full check, restore, and the restored tree is compared. Peers that are not
installed are skipped with a message. On a shared machine compare the CPU seconds (user + system).
"""
import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


class Ours:
    def __init__(self, program, place):
        self.program, self.store, self.out = program, place / "store", place / "out"
        self.env = {"BACKUP_STORE_PASSPHRASE": "p", "XDG_CACHE_HOME": str(place / "cache")}
        self.init = [program, "init", self.store]
        self.check = [program, "check", self.store]
        self.restore = [program, "get", self.store, "edited", self.out]

    def backup(self, name):
        return [self.program, "put", self.store, name, "."]


class Restic:
    def __init__(self, program, place):
        self.program, self.store, self.out = program, place / "store", place / "out"
        self.env = {
            "RESTIC_REPOSITORY": str(self.store),
            "RESTIC_PASSWORD": "p",
            "RESTIC_CACHE_DIR": str(place / "cache"),
        }
        self.init = [program, "init", "--quiet", "--repository-version", "2"]
        self.check = [program, "check", "--read-data", "--quiet"]
        self.restore = [program, "restore", "latest", "--quiet", "--target", self.out]

    def backup(self, name):
        return [self.program, "backup", "--quiet", "."]


class Borg:
    def __init__(self, program, place):
        self.program, self.store, self.out = program, place / "store", place / "out"
        self.env = {
            "BORG_REPO": str(self.store),
            "BORG_PASSPHRASE": "p",
            "BORG_BASE_DIR": str(place / "cache"),
        }
        self.init = [program, "init", "--encryption", "repokey-blake2"]
        self.check = [program, "check", "--verify-data"]
        self.restore = [program, "extract", "::edited"]

    def backup(self, name):
        return [self.program, "create", "--compression", "zstd,3", f"::{name}", "."]


def run(argv, env, directory, log):
    """Runs a program to its end; returns wall seconds, CPU seconds and peak memory in MiB."""
    began = time.monotonic()
    argv = [str(word) for word in argv]
    process = subprocess.Popen(
        argv, cwd=directory, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit code {process.returncode}, see the log")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def stored_bytes(place):
    return sum(file.lstat().st_size for file in place.rglob("*") if file.is_file())


def measure(name, kind, program, corpus, work, runs, edit, log):
    """A generator of phases, so that the programs take turns; returns through `rows`."""
    rows = {}
    firsts = []
    for number in range(runs):
        place = work / name / str(number)
        place.mkdir(parents=True)
        peer = kind(program, place)
        run(peer.init, peer.env, corpus, log)
        firsts.append(run(peer.backup("first"), peer.env, corpus, log))
        if number + 1 < runs:
            shutil.rmtree(place)
        yield name, rows
    rows["first"] = tuple(map(statistics.median, zip(*firsts)))
    rows["stored"] = stored_bytes(peer.store)
    rows["unchanged"] = run(peer.backup("unchanged"), peer.env, corpus, log)
    before = stored_bytes(peer.store)
    yield name, rows
    edit()
    rows["edited"] = run(peer.backup("edited"), peer.env, corpus, log)
    rows["added"] = stored_bytes(peer.store) - before
    yield name, rows
    rows["check"] = run(peer.check, peer.env, corpus, log)
    yield name, rows
    if kind is Borg:
        peer.out.mkdir()
    rows["restore"] = run(peer.restore, peer.env, peer.out if kind is Borg else corpus, log)
    same = subprocess.run(["diff", "-rq", corpus, peer.out], stdout=log, stderr=log)
    rows["equal"] = same.returncode == 0
    shutil.rmtree(peer.out)
    yield name, rows


def table(found):
    print("| program | first | unchanged | edited | full check | restore | stored MB | added MB | tree |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, rows in found.items():
        cells = [
            "{:.1f} / {:.1f} / {:.0f}".format(*rows[phase])
            for phase in ("first", "unchanged", "edited", "check", "restore")
        ]
        cells += [f"{rows['stored'] / 1e6:.1f}", f"{rows['added'] / 1e6:.1f}"]
        cells.append("equal" if rows["equal"] else "DIFFERS")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\nEach cell: wall seconds / CPU seconds / peak memory in MiB.")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("corpus", type=Path)
    arguments.add_argument("work", type=Path)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--edit", help="command that changes the corpus")
    arguments.add_argument("--ours", default="target/release/examples/keep_a_directory")
    chosen = arguments.parse_args()
    corpus, work = chosen.corpus.resolve(), chosen.work.resolve()
    programs = {"keep_a_directory": (Ours, Path(chosen.ours).resolve())}
    for name, kind, package in [("restic", Restic, "restic"), ("borg", Borg, "borgbackup")]:
        if shutil.which(name):
            programs[name] = (kind, shutil.which(name))
        else:
            print(f"{name} is not installed and is skipped (Debian package {package})", file=sys.stderr)
    edited = []

    def edit():
        if chosen.edit and not edited:
            subprocess.run([*shlex.split(chosen.edit), str(corpus)], check=True, stdout=subprocess.DEVNULL)
        edited.append(True)

    found = {}
    work.mkdir(parents=True, exist_ok=True)
    with open(work / "log", "ab") as log:
        turns = [
            measure(name, kind, program, corpus, work, chosen.runs, edit, log)
            for name, (kind, program) in programs.items()
        ]
        while turns:
            for turn in list(turns):
                try:
                    name, rows = next(turn)
                    found[name] = rows
                except StopIteration:
                    turns.remove(turn)
    table(found)


if __name__ == "__main__":
    main()
