//! Opens the audio transcoders that a broadcast needs, feeds them, and closes those that are idle.

use super::AUDIO_BPS_DEFAULT;
use crate::{
    broadcast::Broadcast,
    context::Context,
    ids::AudioTranscoderId,
    io::{AudioJob, Output},
};

impl Broadcast {
    /// Gives the audio transcoders what is waiting for them.
    pub(crate) fn feed_audio(&mut self, ctx: &mut Context) {
        while let Some(feed) = self.ingest.audio_inputs.pop_front() {
            self.open_audio_transcoders(ctx);
            let samples = feed.samples();
            // The last one takes the packet itself: sharing it costs an allocation.
            if let Some((last, others)) = self.audio.list.split_last() {
                for transcoder in others {
                    ctx.output(Output::Audio(feed.clone().job(transcoder.id)));
                }
                ctx.output(Output::Audio(feed.job(last.id)));
            }
            self.audio.fed(samples);
        }
    }

    /// Opens one for each bit rate that a consumer takes.
    fn open_audio_transcoders(&mut self, ctx: &mut Context) {
        let renditions = self.renditions.list().iter();
        let wanted =
            std::iter::once(AUDIO_BPS_DEFAULT).chain(renditions.map(|it| it.spec.audio_bps));
        for audio_bps in wanted {
            if self.audio.has(audio_bps) {
                continue;
            }
            let transcoder = AudioTranscoderId {
                broadcast: self.key,
                number: ctx.ids.next(),
            };
            let samples = self.audio.open(transcoder, audio_bps);
            ctx.output(Output::Audio(AudioJob::Open {
                transcoder,
                audio_bps,
            }));
            if samples > 0 {
                ctx.output(Output::Audio(AudioJob::Silence {
                    transcoder,
                    samples,
                }));
            }
        }
    }

    /// Closes those whose bit rate no consumer takes any more.
    fn close_idle_audio_transcoders(&mut self, ctx: &mut Context) {
        let renditions = self.renditions.list();
        let closed = self.audio.close_unless(|audio_bps| {
            audio_bps == AUDIO_BPS_DEFAULT
                || renditions.iter().any(|it| it.spec.audio_bps == audio_bps)
        });
        for transcoder in closed {
            ctx.output(Output::Audio(AudioJob::Close { transcoder }));
        }
    }
}
