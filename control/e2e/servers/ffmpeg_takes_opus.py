"""FFmpeg 8 as a live RTMP server that takes Opus, for one publication: FRONT BACK SECONDS.

FFmpeg's RTMP server receives Opus and does not say so in its answer to `connect`, so a proxy before it adds what
enhanced RTMP has for that, and changes nothing else. Prints in JSON what FFmpeg's demuxer and decoders made of the
stream. The FFmpeg of Debian 12 knows no Opus in RTMP; PyAV's wheels bring their own.
"""

import array
import json
import socket
import struct
import sys
import threading

import av

RESULT = b"\x02\x00\x07_result"
OBJECT_END = b"\x00\x00\x09"
HANDSHAKE_BYTES = 1 + 1536 + 1536
SET_CHUNK_SIZE, COMMAND = 1, 20
# Bytes behind the basic header of a chunk, by its format (RTMP 1.0, 5.3.1.2).
HEADER_BYTES = [11, 7, 3, 0]


def name(text):
    return struct.pack(">H", len(text)) + text


# audioFourCcInfoMap: {Opus: 7}, decodes, encodes and forwards it.
TAKES_OPUS = name(b"audioFourCcInfoMap") + b"\x03" + name(b"Opus") + b"\x00" + struct.pack(">d", 7) + OBJECT_END


def read(source, count):
    whole = b""
    while len(whole) < count:
        piece = source.recv(count - len(whole))
        if not piece:
            raise EOFError
        whole += piece
    return whole


def pass_up(client, server):
    """What the publisher sends goes to FFmpeg as it is."""
    while piece := client.recv(1 << 16):
        server.sendall(piece)
    server.shutdown(socket.SHUT_WR)


def pass_down(server, client):
    """FFmpeg's messages, each in chunks of its own; the answer to `connect` with one property more."""
    client.sendall(read(server, HANDSHAKE_BYTES))
    chunk_bytes, streams = 128, {}
    while True:
        first = read(server, 1)
        kind, stream = first[0] >> 6, first[0] & 63
        length, type_id, stream_id, body = streams.get(stream, (0, 0, bytes(4), b""))
        header = read(server, HEADER_BYTES[kind])
        if kind < 2:
            length, type_id = int.from_bytes(header[3:6], "big"), header[6]
        if kind == 0:
            stream_id = header[7:11]
        body += read(server, min(chunk_bytes, length - len(body)))
        whole = len(body) == length
        streams[stream] = (length, type_id, stream_id, b"" if whole else body)
        if not whole:
            continue
        chunk_then = int.from_bytes(body, "big") if type_id == SET_CHUNK_SIZE else chunk_bytes
        if type_id == COMMAND and body.startswith(RESULT) and b"fmsVer" in body:
            end = body.index(OBJECT_END)
            body = body[:end] + TAKES_OPUS + body[end:]
        head = bytes([stream]) + bytes(3) + len(body).to_bytes(3, "big") + bytes([type_id]) + stream_id
        for at in range(0, len(body), chunk_bytes):
            client.sendall((head if at == 0 else bytes([0xC0 | stream])) + body[at : at + chunk_bytes])
        chunk_bytes = chunk_then


def relay(listener, back):
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", back))
    threading.Thread(target=pass_up, args=(client, server), daemon=True).start()
    try:
        pass_down(server, client)
    except (EOFError, OSError):
        pass


def main(front, back, seconds):
    listener = socket.create_server(("127.0.0.1", front))
    threading.Thread(target=relay, args=(listener, back), daemon=True).start()
    found = {"ffmpeg": av.ffmpeg_version_info, "packets": 0, "samples": 0, "steps_ms": {}, "peak": 0.0, "pictures": 0}
    before = None
    with av.open(f"rtmp://127.0.0.1:{back}/live/key", options={"listen": "1"}, timeout=60) as stream:
        for packet in stream.demux():
            if packet.dts is None:
                continue
            found[packet.stream.type] = packet.stream.codec_context.name
            frames = packet.decode()
            if packet.stream.type == "video":
                found["pictures"] += len(frames)
                continue
            now_ms = packet.dts * packet.stream.time_base * 1000
            if before is not None:
                step = str(round(now_ms - before))
                found["steps_ms"][step] = found["steps_ms"].get(step, 0) + 1
            before = now_ms
            found["packets"] += 1
            for frame in frames:
                found["samples"] += frame.samples
                samples = array.array("f", bytes(frame.planes[0])[: 4 * frame.samples])
                found["peak"] = max(found["peak"], *map(abs, samples))
            if found["packets"] >= seconds * 50:
                break
    print(json.dumps(found))


main(*map(int, sys.argv[1:]))
