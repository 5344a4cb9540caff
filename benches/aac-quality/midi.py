"""Writes the small MIDI files that FluidSynth plays: midi.py FOLDER"""

import struct
import sys
from pathlib import Path

TICKS = 480  # a quarter note; 120 to the minute, so 960 ticks are one second


def varint(n):
    out = [n & 0x7F]
    while n := n >> 7:
        out.append(n & 0x7F | 0x80)
    return bytes(reversed(out))


def write(path, programs, notes):
    """programs: channel -> (program, pan); notes: (channel, key, start s, length s, velocity)."""
    events = []
    for channel, (program, pan) in programs.items():
        events.append((0, 0, bytes([0xC0 | channel, program])))
        events.append((0, 0, bytes([0xB0 | channel, 10, pan])))
    for channel, key, start, length, velocity in notes:
        on, off = int(start * 2 * TICKS), int((start + length) * 2 * TICKS)
        events.append((on, 2, bytes([0x90 | channel, key, velocity])))
        events.append((off, 1, bytes([0x80 | channel, key, 0])))
    events.sort()
    track, now = b"", 0
    for tick, _, data in events:
        track += varint(tick - now) + data
        now = tick
    track += varint(TICKS) + b"\xff\x2f\x00"
    head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS)
    path.write_bytes(head + b"MTrk" + struct.pack(">I", len(track)) + track)


def castanets():
    rhythm = [0, 0.25, 0.375, 0.5, 0.75, 0.875, 1.0, 1.0625, 1.125, 1.1875, 1.25, 1.5, 1.75]
    return [(9, 85, bar * 2 + t, 0.1, 127 - 12 * (i % 3)) for bar in range(4) for i, t in enumerate(rhythm)]


def glockenspiel():
    keys = [84, 88, 91, 96, 95, 91, 88, 86, 84, 79, 84, 88]
    return [(0, key, i * 0.6, 0.5, 110) for i, key in enumerate(keys)]


def harpsichord():
    tune = [60, 64, 67, 72, 76, 67, 72, 76, 60, 62, 69, 74, 77, 69, 74, 77]
    tune += [59, 62, 67, 74, 77, 67, 74, 77, 60, 64, 67, 72, 76, 67, 72, 76]
    notes = [(0, key, i * 0.22, 0.4, 105) for i, key in enumerate(tune)]
    return notes + [(0, key - 12, i * 1.76, 1.6, 100) for i, key in enumerate([60, 62, 59, 60])]


def ensemble():
    """Piano left, strings broad, flute right, double bass in the middle, ride cymbal."""
    notes = []
    for bar, chord in enumerate([(57, 60, 64), (53, 57, 60), (55, 59, 62), (52, 56, 59)]):
        start = bar * 2
        notes += [(0, key + 12 * (i % 2), start + i * 0.25, 0.5, 95) for i in range(8) for key in chord]
        notes += [(1, key + 12, start, 1.95, 85) for key in chord]
        notes += [(2, chord[i % 3] + 24, start + i * 0.5, 0.45, 100) for i in range(4)]
        notes += [(3, chord[0] - 24, start + i, 0.9, 110) for i in range(2)]
        notes += [(9, 51, start + i * 0.5, 0.2, 90) for i in range(4)]
    return notes


folder = Path(sys.argv[1])
write(folder / "castanets.mid", {9: (0, 64)}, castanets())
write(folder / "glockenspiel.mid", {0: (9, 54)}, glockenspiel())
write(folder / "harpsichord.mid", {0: (6, 74)}, harpsichord())
write(folder / "ensemble.mid", {0: (0, 30), 1: (48, 64), 2: (73, 100), 3: (32, 64), 9: (0, 80)}, ensemble())
applause = [(c, key, 0.0, 9.0, 100) for c, key in ((0, 60), (1, 64), (2, 57), (3, 62))]
write(folder / "applause.mid", {c: (126, p) for c, p in enumerate((20, 108, 50, 80))}, applause)
