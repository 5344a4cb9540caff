"""Publishes by WHIP or watches by WHEP with aiortc, a client that shares no code with the server or a browser.

    aiortc_peer.py publish URL    until it is ended
    aiortc_peer.py watch URL N    until N pictures have come; prints what came as JSON
    aiortc_peer.py sync URL N     until N times a white picture and a tone have begun; prints as JSON when, in
                                  milliseconds of the sender's clock (RFC 3550, 6.4.1)
"""

import asyncio
import json
import sys
import urllib.request

import aioice.ice
import av
from aiortc import rtcrtpreceiver
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

# aioice leaves loopback out, which is all that the tests have.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Picture(VideoStreamTrack):
    """A grey that changes from picture to picture."""

    shown = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(320, 240, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([64 + self.shown % 128]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        self.shown += 1
        return frame


def post(url, offer):
    request = urllib.request.Request(url, offer.encode(), {"Content-Type": "application/sdp"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 201, response.status
        return response.read().decode()


async def agree(peer, url):
    await peer.setLocalDescription(await peer.createOffer())
    answer = await asyncio.to_thread(post, url, peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))


async def publish(peer, url):
    peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
    video = peer.addTransceiver(Picture(), direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
    await agree(peer, url)
    await asyncio.Event().wait()


async def watch(peer, url, wanted):
    seen = {"audio": 0, "video": 0, "width": 0, "height": 0}
    enough = asyncio.Event()

    async def count(track):
        try:
            while True:
                frame = await track.recv()
                seen[track.kind] += 1
                if track.kind == "video":
                    seen["width"], seen["height"] = frame.width, frame.height
                if seen["video"] >= wanted:
                    enough.set()
        except MediaStreamError:
            pass

    counting = []
    peer.on("track", lambda track: counting.append(asyncio.create_task(count(track))))
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    await agree(peer, url)
    await enough.wait()
    print(json.dumps(seen), flush=True)


class Clock:
    """What sender reports say: the sender's clock at an RTP time."""

    reports = {}

    @classmethod
    def listen(cls):
        # Times of frames are those of RTP then, and not counted from the first.
        rtcrtpreceiver.TimestampMapper.map = lambda self, timestamp: timestamp
        handle = rtcrtpreceiver.RTCRtpReceiver._handle_rtcp_packet

        async def listening(receiver, packet):
            if isinstance(packet, rtcrtpreceiver.RtcpSrPacket):
                cls.reports[receiver.track.kind] = packet.sender_info
            await handle(receiver, packet)

        rtcrtpreceiver.RTCRtpReceiver._handle_rtcp_packet = listening

    @classmethod
    def ms(cls, frame, kind, samples=0):
        """When that was, or None before the first report."""
        report = cls.reports.get(kind)
        if report is None:
            return None
        rate = 90_000 if kind == "video" else 48_000
        since = (frame.pts + samples - report.rtp_timestamp + 2**31) % 2**32 - 2**31
        return report.ntp_timestamp / 2**32 * 1_000 + since * 1_000 / rate


async def sync(peer, url, wanted):
    begun = {"audio": [], "video": []}
    enough = asyncio.Event()

    def loud_from(frame):
        """The first sample that is loud."""
        samples = memoryview(bytes(frame.planes[0])).cast("h")[::2]
        loud = (n for n, sample in enumerate(samples) if abs(sample) > 1_500)
        return next(loud, None)

    async def watch_track(track):
        was = True
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    luma = bytes(frame.planes[0])[:: frame.planes[0].line_size + 7]
                    first = 0 if sum(luma) / len(luma) > 128 else None
                else:
                    first = loud_from(frame)
                if first is not None and not was:
                    at_ms = Clock.ms(frame, track.kind, first)
                    if at_ms is not None:
                        begun[track.kind].append(at_ms)
                was = first is not None
                if all(len(times) >= wanted for times in begun.values()):
                    enough.set()
        except MediaStreamError:
            pass

    watching = []
    peer.on("track", lambda track: watching.append(asyncio.create_task(watch_track(track))))
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    await agree(peer, url)
    await enough.wait()
    print(json.dumps(begun), flush=True)


async def main(role, url, wanted="0"):
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        if role == "publish":
            await publish(peer, url)
        elif role == "sync":
            Clock.listen()
            await sync(peer, url, int(wanted))
        else:
            await watch(peer, url, int(wanted))
    finally:
        await peer.close()


asyncio.run(main(*sys.argv[1:]))
