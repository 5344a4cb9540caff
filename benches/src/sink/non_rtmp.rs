//! Sends what a server that does not speak RTMP sends.

use std::io;

use super::fault_script::NonRtmpAnswer;
use super::measure::Ended;
use super::pipe::Pipe;

/// Sends `answer` until the client or the sink closes the connection.
pub(super) async fn serve(mut pipe: Pipe, answer: NonRtmpAnswer) -> io::Result<Ended> {
    let mut buffer = vec![0; 64 * 1_024];
    match answer {
        // `None` speaks RTMP, and `Reset` is done before this function is reached.
        NonRtmpAnswer::None | NonRtmpAnswer::Reset => {}
        NonRtmpAnswer::Silent => while pipe.read(&mut buffer).await? > 0 {},
        NonRtmpAnswer::ClosesAtOnce => {
            if pipe.read(&mut buffer).await? > 0 {
                return Ok(Ended::by_sink("closed at once"));
            }
        }
        NonRtmpAnswer::Garbage => {
            while pipe.read(&mut buffer).await? > 0 {
                pipe.write_all(&garbage()).await?;
            }
        }
        NonRtmpAnswer::GarbageAfterHandshake => {
            shake_hands(&mut pipe).await?;
            // Chunk streams 3 to 63 each announce a command message of 16 MB and never complete it.
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

/// 8,192 bytes that begin neither a TLS record nor an RTMP handshake; the same on each call.
pub(super) fn garbage() -> Vec<u8> {
    (0..8_192_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// The server side of the handshake: C0 C1 in, S0 S1 S2 out, C2 in (RTMP 5.2).
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
