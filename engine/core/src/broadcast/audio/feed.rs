//! Puts the publisher's Opus into the rings, and opens the audio transcoders that a broadcast needs, feeds
//! them, and closes those that are idle. Audio that nobody takes is neither kept nor coded.

use super::{AUDIO_BPS_DEFAULT, AudioInput};
use crate::{
    broadcast::Broadcast,
    codec::AudioCodec,
    context::Context,
    ids::AudioTranscoderId,
    io::{AudioJob, Output},
};

impl Broadcast {
    /// Takes what came of audio, or was filled in: into the rings as Opus, and to the transcoders, each if
    /// a consumer takes it so.
    pub(crate) fn feed_audio(&mut self, ctx: &mut Context) {
        if self.ingest.audio_inputs.is_empty() {
            return;
        }
        let opus = self.consumers.take_audio_in(AudioCodec::Opus) || self.viewers.take_opus();
        let aac = self.consumers.take_audio_in(AudioCodec::Aac);
        if !aac {
            self.close_idle_audio_transcoders(ctx);
        }
        for (codec, is_taken) in [(AudioCodec::Aac, aac), (AudioCodec::Opus, opus)] {
            if !is_taken {
                self.ingest.ring.leave_out(codec);
                let renditions = self.renditions.list_mut().iter_mut();
                renditions.for_each(|it| it.ring.leave_out(codec));
            }
        }
        while let Some(placed) = self.ingest.audio_inputs.pop_front() {
            if opus {
                let renditions = self.renditions.list_mut();
                self.ingest.push_opus(&placed, |unit| {
                    renditions.iter_mut().for_each(|it| it.push_audio(unit));
                });
            }
            let samples = placed.input.samples();
            if aac {
                self.open_audio_transcoders(ctx);
                self.transcode(ctx, placed.input);
            }
            self.audio.fed(samples);
        }
        if opus {
            self.feed_soon(ctx);
        }
    }

    /// Audio is in the rings: gives it to every consumer, unless it waits for the next picture.
    pub(crate) fn feed_soon(&mut self, ctx: &mut Context) {
        // Pictures of renditions come later than those of the publisher, by what their codecs take.
        let waits = self.renditions.list().is_empty() && self.audio_wait.waits(ctx.now);
        if !waits {
            self.feed(ctx);
        }
    }

    fn transcode(&self, ctx: &mut Context, input: AudioInput) {
        // The last one takes the packet itself: sharing it costs an allocation.
        if let Some((last, others)) = self.audio.list.split_last() {
            for transcoder in others {
                ctx.output(Output::Audio(input.clone().job(transcoder.id)));
            }
            ctx.output(Output::Audio(input.job(last.id)));
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
    pub(crate) fn close_idle_audio_transcoders(&mut self, ctx: &mut Context) {
        let renditions = self.renditions.list();
        let aac = self.consumers.take_audio_in(AudioCodec::Aac);
        let closed = self.audio.close_unless(|audio_bps| {
            let is_taken = audio_bps == AUDIO_BPS_DEFAULT
                || renditions.iter().any(|it| it.spec.audio_bps == audio_bps);
            aac && is_taken
        });
        for transcoder in closed {
            ctx.output(Output::Audio(AudioJob::Close { transcoder }));
        }
    }
}
