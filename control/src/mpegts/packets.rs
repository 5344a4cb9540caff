//! Transport packets (ISO/IEC 13818-1, 2.4.3.2): tables and PES packets in pieces of 188 bytes.

use bytes::{BufMut, BytesMut};

const PACKET_BYTES: usize = 188;
/// Behind the head of a packet.
const BODY_BYTES: usize = PACKET_BYTES - 4;
/// Counters of packets are of four bits.
const COUNTS: usize = 16;
/// Length and flags of an adaptation field, and a PCR in it.
const ADAPTATION_BYTES: usize = 2;
const PCR_BYTES: usize = 6;
const RANDOM_ACCESS: u8 = 0x40;
const HAS_PCR: u8 = 0x10;

/// What the first packet of a PES packet says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adaptation {
    /// The clock, in ticks of 1/90,000 s.
    pub(super) pcr: Option<u64>,
    /// Decoding can begin here.
    pub(super) random_access: bool,
}

impl Adaptation {
    fn len(self) -> usize {
        match self.pcr {
            Some(_) => ADAPTATION_BYTES + PCR_BYTES,
            None if self.random_access => ADAPTATION_BYTES,
            None => 0,
        }
    }
}

/// The packets of one PID.
#[derive(Debug)]
pub(super) struct Pid {
    pid: u16,
    /// How many there were.
    count: usize,
}

impl Pid {
    pub(super) fn new(pid: u16) -> Self {
        Self { pid, count: 0 }
    }

    /// Packets that are missing until the counter is where it began. A segment that ends so can stand in front of any
    /// other, so segments are made one by one, and none has to know the one before.
    pub(super) fn missing(&self) -> usize {
        self.count.next_multiple_of(COUNTS) - self.count
    }

    /// A table (2.4.4) that fits into one packet.
    pub(super) fn put_section(&mut self, out: &mut BytesMut, section: &[u8]) {
        let at = self.put_head(out, true, 0x10);
        out.put_u8(0);
        out.put_slice(section);
        let crc = crc32(section);
        out.put_u32(crc);
        out.resize(at + PACKET_BYTES, 0xFF);
    }

    /// A PES packet. With `is_last` it is spread over as many packets as the counter needs to be where it began.
    pub(super) fn put_pes(
        &mut self,
        out: &mut BytesMut,
        mut pes: &[u8],
        mut adaptation: Adaptation,
        is_last: bool,
    ) {
        let first = BODY_BYTES - adaptation.len();
        let needed = 1 + pes.len().saturating_sub(first).div_ceil(BODY_BYTES);
        let mut packets = if is_last {
            (self.count + needed).next_multiple_of(COUNTS) - self.count
        } else {
            needed
        };
        let mut begins = true;
        while packets > 0 {
            packets -= 1;
            // Each that comes has a byte at least.
            let most = pes.len().saturating_sub(packets);
            let len = most.min(BODY_BYTES - adaptation.len());
            let (piece, rest) = pes.split_at(len);
            self.put_packet(out, piece, adaptation, begins);
            (pes, adaptation, begins) = (rest, Adaptation::default(), false);
        }
        debug_assert!(pes.is_empty(), "a PES packet that was cut off");
    }

    fn put_packet(
        &mut self,
        out: &mut BytesMut,
        piece: &[u8],
        adaptation: Adaptation,
        begins: bool,
    ) {
        let field = BODY_BYTES - piece.len();
        let control = match (field, piece.is_empty()) {
            (0, _) => 0x10,
            (_, true) => 0x20,
            (_, false) => 0x30,
        };
        let at = self.put_head(out, begins, control);
        if field > 0 {
            out.put_u8(u8::try_from(field - 1).unwrap_or(0));
        }
        if field > 1 {
            let mut flags = 0;
            if adaptation.random_access {
                flags |= RANDOM_ACCESS;
            }
            if adaptation.pcr.is_some() {
                flags |= HAS_PCR;
            }
            out.put_u8(flags);
            if let Some(pcr) = adaptation.pcr {
                // 33 bits, six reserved ones, and nothing of the extension.
                let [.., a, b, c, d, e, f] = ((pcr << 15) | 0x7E00).to_be_bytes();
                out.put_slice(&[a, b, c, d, e, f]);
            }
        }
        out.resize(at + PACKET_BYTES - piece.len(), 0xFF);
        out.put_slice(piece);
    }

    /// The head of a packet; where it begins.
    fn put_head(&mut self, out: &mut BytesMut, begins: bool, control: u8) -> usize {
        let at = out.len();
        out.put_u8(0x47);
        out.put_u16(self.pid | u16::from(begins) << 14);
        out.put_u8(control | u8::try_from(self.count % COUNTS).unwrap_or(0));
        self.count += 1;
        at
    }
}

/// Annex A of ISO/IEC 13818-1.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            let carry = crc & 0x8000_0000 != 0;
            (crc << 1) ^ if carry { 0x04C1_1DB7 } else { 0 }
        })
    })
}
