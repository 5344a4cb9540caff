//! What a server that is none says in the place of RTMP.

use std::io;

use super::manners::Entry;
use super::measure::Ended;
use super::pipe::Pipe;

/// Treats the client badly until it goes.
pub(super) async fn misbehave(mut pipe: Pipe, entry: Entry) -> io::Result<Ended> {
    let mut buffer = vec![0; 64 * 1_024];
    match entry {
        // Both end before anything is said.
        Entry::Honest | Entry::Reset => {}
        Entry::Silent => while pipe.read(&mut buffer).await? > 0 {},
        Entry::ClosesAtOnce => {
            if pipe.read(&mut buffer).await? > 0 {
                return Ok(Ended::by_sink("closed at once"));
            }
        }
        Entry::Garbage => {
            while pipe.read(&mut buffer).await? > 0 {
                pipe.write_all(&garbage()).await?;
            }
        }
        Entry::GarbageAfterHandshake => {
            shake_hands(&mut pipe).await?;
            // Chunk streams 3 to 63 announce 16 MB messages of a command, and none is finished.
            for csid in 3..=63_u8 {
                let header = [csid, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0];
                pipe.write_all(&header).await?;
                pipe.write_all(garbage().get(..128).unwrap_or_default())
                    .await?;
            }
            while pipe.read(&mut buffer).await? > 0 {}
        }
    }
    Ok(Ended::Closed)
}

/// Bytes that begin neither a TLS record nor an RTMP handshake; always the same.
pub(super) fn garbage() -> Vec<u8> {
    (0..8_192_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// C0 C1 in, S0 S1 S2 out, C2 in (RTMP specification 5.2).
async fn shake_hands(pipe: &mut Pipe) -> io::Result<()> {
    let mut c0_c1 = vec![0; 1 + 1_536];
    pipe.read_exact(&mut c0_c1).await?;
    let mut answer = vec![3];
    answer.extend_from_slice(&[0; 1_536]);
    answer.extend_from_slice(c0_c1.get(1..).unwrap_or_default());
    pipe.write_all(&answer).await?;
    let mut c2 = vec![0; 1_536];
    pipe.read_exact(&mut c2).await
}
