#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""format_reader.py: the ops of a data directory as JSON lines, read by
docs/format.md alone: nothing here comes from the C code. A torn tail is told
on standard error; what is damaged ends it with status 1."""
import json
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from xxh3 import u64, xxh3  # noqa: E402: python -I knows no other way


def header(b, uuid, number):
    """The first lsn, or None: this is no header."""
    if len(b) < 64 or b[:8] != b'vgwal\r\n\x1a' or xxh3(b[:56]) != u64(b, 56):
        return None
    if struct.unpack_from('<I', b, 8)[0] != 1:
        sys.exit(f'segment {number} has a later version')
    if b[16:32] != uuid or u64(b, 32) != number:
        sys.exit(f'segment {number} is not of this store, or misnamed')
    return u64(b, 40)


def frame(b, o, salt):
    """(lsn, durable, type, payload, end), or None."""
    if o + 32 > len(b):
        return None
    n, kind, zero, lsn, durable, check = struct.unpack_from('<IHHQQQ', b, o)
    end = o + 32 + (n + 7) // 8 * 8
    if kind == 0 or zero or n > 16 << 20 or durable >= lsn or end > len(b) or \
            xxh3(salt + b[o:o + 24] + b[o + 32:end]) != check:
        return None
    return lsn, durable, kind, b[o + 32:o + 32 + n], end


def frames(path, uuid):
    """All that is part of the log, in order: (lsn, type, payload)."""
    names = sorted(int(f[:-4]) for f in os.listdir(path) if f.endswith('.wal'))
    if names != list(range(1, len(names) + 1)):
        sys.exit('a segment is missing')
    data = [open(f'{path}/{i:04}.wal', 'rb').read() for i in names]
    first = [header(b, uuid, i + 1) for i, b in enumerate(data)]
    lsn = 1
    for i, b in enumerate(data):
        salt = uuid + struct.pack('<Q', i + 1)
        later = [f for o in range(64, len(b), 8)
                 if first[i] is None and (f := frame(b, o, salt))]
        if first[i] is None and (later or i + 1 < len(data)):
            sys.exit(f'segment {i + 1} has a damaged header')
        if first[i] is None:
            return
        limit, o = (first + [None])[i + 1], 64
        while lsn != limit and (f := frame(b, o, salt)) and f[0] == lsn:
            yield lsn, f[2], f[3]
            lsn, o = lsn + 1, f[4]
        if limit is None and o < len(b):
            if any(f[1] >= lsn for p in range(o, len(b), 8)
                   if (f := frame(b, p, salt))):
                limit = 0
            else:
                print(f'torn tail: segment {i + 1} from {o}', file=sys.stderr)
        if limit is not None and lsn != limit:
            sys.exit(f'segment {i + 1} is damaged at {o}')


U, ID, ID2, NAME, TARGET, VEC, META, CONFIG, ATTR, SEEN = range(10)
TYPES = {1: ('put', U, ID, VEC, META), 2: ('set', U, ID, META), 3: ('del', U, ID),
         4: ('rename', U, ID, ID2, META), 5: ('clear', U, META),
         16: ('create', U, NAME, CONFIG, ATTR), 17: ('drop', U),
         18: ('move', U, NAME), 19: ('alias', NAME, TARGET),
         20: ('unalias', NAME), 21: ('config', U, CONFIG), 22: ('attr', U, ATTR),
         23: ('snap', U, NAME, SEEN), 24: ('unsnap', U, NAME)}


def op(b):
    at = 0

    def get(fmt):
        nonlocal at
        got = struct.unpack_from('<' + fmt, b, at)
        at += struct.calcsize('<' + fmt)
        return got if len(got) > 1 else got[0]

    def text():
        return get(f'{get("I")}s').decode('utf-8', 'surrogateescape')
    kind, version, zero = get('BBH')
    if kind not in TYPES or version not in (1, 2) or zero:
        sys.exit('an op of a later version')
    keys = 'epoch', 'time_ns', 'commit_ns', 'session', 'request', 'result'
    out = {'op': TYPES[kind][0], **dict(zip(keys, get('QqqQQi')))}
    out['places'] = [get('HQ') for _ in range(get('I'))]
    for f in TYPES[kind][1:]:
        if f == U:
            out['uuid'] = get('16s').hex()
        elif f == VEC:
            out['source'], out['body_len'] = get('BI')
            out['vec'] = get(f'{get("I")}s').hex()
        elif f == CONFIG:
            c = list(get('IIIIBBBBIB'))
            more = c[9] >> 7
            if more + 1 != version:
                sys.exit('a config that is not of its version')
            c[3] = c[3] if more or c[3] != 100 else 0
            c[9] &= 127
            out['config'] = c + list(get('4I') if more else [0] * 4)
        elif f == ATTR:
            out['attr'] = get('III')
        elif f == SEEN:
            out['snap'] = get('16s').hex()
            out['seen'] = [get('HQ') for _ in range(get('I'))]
        else:
            out[{ID: 'id', ID2: 'id2', NAME: 'name', TARGET: 'target',
                 META: 'meta'}[f]] = text()
    if at != len(b):
        sys.exit('an op with bytes left over')
    return out


def bodies(b, kind):
    """The ops of a frame of several."""
    if kind != 4:
        return
    at = 4
    for _ in range(struct.unpack_from('<I', b)[0]):
        n = struct.unpack_from('<I', b, at)[0]
        yield b[at + 4:at + 4 + n]
        at += 4 + n
    if at != len(b):
        sys.exit('a frame with bytes left over')


if __name__ == '__main__':
    with open(sys.argv[1] + '/FORMAT', encoding='ascii') as fmt:
        lines = fmt.read().split('\n')
    if lines[0] != 'vecgridfs 1' or not lines[1].startswith('uuid '):
        sys.exit('not a data directory of version 1')
    for lsn, kind, payload in frames(sys.argv[1] + '/wal',
                                     bytes.fromhex(lines[1][5:])):
        for body in [payload] if kind == 1 else bodies(payload, kind):
            print(json.dumps({'lsn': lsn, **op(body)}, ensure_ascii=False))
