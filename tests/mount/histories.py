# SPDX-License-Identifier: Apache-2.0
"""histories.py add|tx DIR PROCESSES TURNS SEED: many processes at once, and
whether what they saw can have been one after another."""
import errno
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

WHAT, C, PROCS, TURNS, SEED = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
KEYS = 6


def read(path):
    with open(path, 'rb') as f:
        return int(struct.unpack('<2f', f.read())[0])


def write(path, value):
    """What only close() says is said."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(fd, struct.pack('<2f', value, 1))
    finally:
        os.close(fd)


def children(work):
    """Runs work(i) in processes; their results."""
    outs, pids = [], []
    for i in range(PROCS):
        outs.append(tempfile.TemporaryFile('w+'))
        pids.append(os.fork())
        if pids[-1] == 0:
            try:
                json.dump(work(i), outs[-1])
                outs[-1].flush()
                os._exit(0)
            except BaseException as e:
                print('#', i, repr(e), flush=True)
                os._exit(1)
    good = all(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) == 0
               for p in pids)
    for o in outs:
        o.seek(0)
    return good, [json.load(o) for o in outs] if good else []


def say(holds, what):
    print('yes:' if holds else 'no:', what, flush=True)


# ---- compare and set

def add(i):
    """TURNS additions of 1 to one counter; how often another came first."""
    late = 0
    for _ in range(TURNS):
        while True:
            fd = os.open(f'{C}/counter', os.O_RDONLY)
            value = int(struct.unpack('<2f', os.read(fd, 8))[0])
            v = os.getxattr(fd, 'user.vecgridfs.version').decode()
            os.close(fd)
            try:
                write(f'{C}/.if={v}/counter', value + 1)
                break
            except OSError as e:
                if e.errno != errno.ESTALE:
                    raise
                late += 1
    return late


# ---- transactions

def transaction(me, n, dice, log):
    """One of some reads and some writes of values that nobody else writes."""
    value = me * 100000 + n + 1
    tx = f'{C}/.tx/p{me}-{n}'
    keys = dice.sample(range(KEYS), dice.randint(2, 4))
    writes = keys[:dice.randint(0, 2)]
    entry = {'id': value, 'reads': {}, 'writes': writes, 'done': False,
             'from': time.monotonic()}
    log.append(entry)
    os.mkdir(tx)
    for k in keys:
        entry['reads'][k] = read(f'{tx}/r{k}')
    for k in writes:
        write(f'{tx}/r{k}', value)
        if read(f'{tx}/r{k}') != value:
            raise ValueError('a transaction does not see what it wrote')
    if dice.random() < .1:
        os.rmdir(tx)
        return
    try:
        os.rename(tx, tx + '.commit')
        entry['done'] = True
    except OSError as e:
        if e.errno != errno.ESTALE:
            raise
        os.rmdir(tx)
    entry['to'] = time.monotonic()


def transactions(i):
    dice, log = random.Random(SEED * 1000 + i), []
    for n in range(TURNS):
        transaction(i + 1, n, dice, log)
    return log


def edges_of(done):
    """Who must come before whom: by what was read, and by the clock."""
    writer = {(k, t['id']): t['id'] for t in done for k in t['writes']}
    after = {}   # (key, value read): who wrote the next value
    for t in done:
        for k in t['writes']:
            if (k, t['reads'][str(k)]) in after:
                return None, 'two wrote over one value'
            after[k, t['reads'][str(k)]] = t['id']
    edges = {t['id']: set() for t in done}
    for t in done:
        for k, v in t['reads'].items():
            if v and (int(k), v) not in writer:
                return None, f'{v} was read and is of nobody'
            if v:
                edges[v].add(t['id'])
            nxt = after.get((int(k), v))
            if nxt and nxt != t['id']:
                edges[t['id']].add(nxt)
    for a in done:
        for b in done:
            if a['to'] < b['from']:
                edges[a['id']].add(b['id'])
    return edges, ''


def is_acyclic(edges):
    left = {a: 0 for a in edges}
    for a in edges:
        for b in edges[a]:
            left[b] += 1
    ready = [a for a in left if not left[a]]
    n = 0
    while ready:
        a = ready.pop()
        n += 1
        for b in edges[a]:
            left[b] -= 1
            if not left[b]:
                ready.append(b)
    return n == len(edges)


def last_values(done):
    last = {}
    for k in range(KEYS):
        nxt = {t['reads'][str(k)]: t['id'] for t in done if k in t['writes']}
        v = 0
        while v in nxt:
            v = nxt[v]
        last[k] = v
    return last


def main():
    if WHAT == 'add':
        write(f'{C}/counter', 0)
        good, late = children(add)
        say(good and read(f'{C}/counter') == PROCS * TURNS,
            f'{PROCS} processes add {TURNS} each by compare and set, none is '
            f'lost ({sum(late)} came late)')
        return
    for k in range(KEYS):
        write(f'{C}/r{k}', 0)
    good, logs = children(transactions)
    log = [t for one in logs for t in one]
    done = [t for t in log if t['done']]
    say(good and len(log) == PROCS * TURNS,
        f'{PROCS} processes run {TURNS} transactions each')
    late = sum('to' in t and not t['done'] for t in log)
    print(f'# {len(done)} committed, {late} were late')
    say(done and late, 'some are committed, some come too late')
    edges, why = edges_of(done)
    say(edges is not None, 'each read what somebody had committed ' + why)
    say(edges is not None and is_acyclic(edges),
        'one order explains what all of them saw, and the clock')
    say({k: read(f'{C}/r{k}') for k in range(KEYS)} == last_values(done),
        'and what is there in the end')


main()
