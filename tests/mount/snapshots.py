# SPDX-License-Identifier: Apache-2.0
"""snapshots.py DIR ROUNDS|again: takes snapshots of a collection that a writer
goes through without end, record by record in order: in one moment the first
few hold turn n + 1 and the others n."""
import os
import struct
import subprocess
import sys
import tarfile
import threading
import time

N, DIM = 400, 8
C = sys.argv[1]


def vec(i, turn):
    return struct.pack(f'<{DIM}f', i, turn, *range(DIM - 2))


def put(i, turn):
    with open(f'{C}/r{i:03}', 'wb') as f:
        f.write(vec(i, turn))


def turn_of(i, raw):
    v = struct.unpack(f'<{DIM}f', raw)
    assert v[0] == i, (i, v)
    return int(v[1])


def is_moment(turns):
    """turns: of each record in order."""
    return len(turns) == N and turns[0] - turns[-1] <= 1 and \
        turns == sorted(turns, reverse=True)


def by_files(snap):
    assert sorted(os.listdir(snap)) == [f'r{i:03}' for i in range(N)]
    return [turn_of(i, open(f'{snap}/r{i:03}', 'rb').read())
            for i in range(N)]


def by_export(snap):
    raw = open(f'{snap}/.export/all.fvecs', 'rb').read()
    ids = open(f'{snap}/.export/ids').read().split()
    size = 4 + 4 * DIM
    rows = {}
    for k, name in enumerate(ids):
        rows[name] = raw[k * size + 4:(k + 1) * size]
    return [turn_of(i, rows[f'r{i:03}']) for i in range(N)]


def by_tar(snap):
    p = subprocess.Popen(['tar', '-cf', '-', '-C', snap, '.'],
                         stdout=subprocess.PIPE)
    rows = {}
    with tarfile.open(fileobj=p.stdout, mode='r|') as t:
        for m in t:
            if m.isfile():
                rows[os.path.basename(m.name)] = t.extractfile(m).read()
    assert p.wait() == 0
    return [turn_of(i, rows[f'r{i:03}']) for i in range(N)]


def by_search(snap, turns):
    """Each is the nearest of itself, at distance 0."""
    for i in range(0, N, 7):
        q = ','.join(map(str, struct.unpack(f'<{DIM}f', vec(i, turns[i]))))
        got = open(f'{snap}/query/k=1/{q}.tsv').read().split()
        if got != [f'r{i:03}', '0']:
            print('#', q, got)
            return False
    return True


def say(holds, what):
    print('yes:' if holds else 'no:', what)


def name_of(turns):
    """A snapshot remembers itself what it has to show."""
    return f'{turns[0]}-{sum(t == turns[0] for t in turns)}'


def again():
    names = os.listdir(f'{C}/.snap')
    good = len(names) > 0
    for name in names:
        snap = f'{C}/.snap/{name}'
        turns = by_files(snap)
        kept = open(f'{os.path.dirname(os.path.dirname(C))}/kept').read()
        good &= is_moment(turns) and by_search(snap, turns) and \
            f'{name} {name_of(turns)}\n' in kept
    say(good, f'{len(names)} snapshots are what they were')


def main():
    stop, turn, slow = threading.Event(), [0], 0.0

    def write():
        while not stop.is_set():
            turn[0] += 1
            for i in range(N):
                put(i, turn[0])

    for i in range(N):
        put(i, 0)
    writer = threading.Thread(target=write)
    writer.start()
    good = dict.fromkeys(('files', 'exports', 'tar', 'searches', 'moves'), 0)
    rounds = int(sys.argv[2])
    seen = set()
    kept = open(f'{os.path.dirname(os.path.dirname(C))}/kept', 'w')
    for n in range(rounds):
        time.sleep(0.05)
        snap = f'{C}/.snap/s{n}'
        at = time.monotonic()
        os.mkdir(snap)
        slow = max(slow, time.monotonic() - at)
        turns = by_files(snap)
        good['files'] += is_moment(turns)
        good['exports'] += by_export(snap) == turns
        good['tar'] += by_tar(snap) == turns
        good['searches'] += by_search(snap, turns)
        good['moves'] += turn[0] > turns[-1]
        seen.add(name_of(turns))
        kept.write(f's{n} {name_of(turns)}\n')
        kept.flush()
    stop.set()
    writer.join()
    print(f'# {turn[0]} turns, the slowest mkdir took {slow * 1e3:.1f} ms')
    for what in good:
        say(good[what] == rounds, {
            'files': 'its files are of one moment',
            'exports': 'its exports are of the same',
            'tar': 'so is a tar of it',
            'searches': 'searches find what it shows',
            'moves': 'while the collection goes on'}[what])
    say(len(seen) > 1, 'snapshots differ')
    say(slow < 1, 'none waited for the writer')


again() if sys.argv[2] == 'again' else main()
