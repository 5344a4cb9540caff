//! Puts the publisher's Opus into the rings, and opens the audio transcoders that a broadcast needs, feeds
//! them, and closes those that are idle. Audio that nobody takes is neither kept nor coded. The same for the AAC of
//! an encoder, the other way.

use bytes::Bytes;

use super::{AUDIO_BPS_DEFAULT, AudioInput};
use crate::{
    broadcast::{
        Broadcast, consumers::Consumers, packager::Packager, renditions::Renditions, ring::Unit,
    },
    codec::AudioCodec,
    context::Context,
    ids::AudioTranscoderId,
    io::{AudioJob, Output},
};

impl Broadcast {
    /// Takes what came of audio, or was filled in: into the rings as Opus, and to the transcoders, each if
    /// a consumer takes it so.
    pub(crate) fn feed_audio(&mut self, ctx: &mut Context) {
        if self.push_aac(ctx) {
            self.feed_soon(ctx);
        }
        if self.ingest.audio_inputs.is_empty() {
            return;
        }
        let opus = self.consumers.take_audio_in(AudioCodec::Opus) || self.viewers.take_opus();
        let aac = self.takes_aac();
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
        self.leave_out_beside_viewers();
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

    /// Puts an encoder's own AAC into the rings, and has Opus made of it for viewers; whether there was some.
    pub(crate) fn push_aac(&mut self, ctx: &mut Context) -> bool {
        let mut any = false;
        while let Some(unit) = self.ingest.push_aac() {
            any = true;
            let renditions = self.renditions.list_mut().iter_mut();
            renditions.for_each(|it| it.push_audio(&unit));
            if self.viewers.take_opus() {
                self.encode_opus(ctx, &unit);
            } else {
                self.close_opus_from_aac(ctx);
            }
        }
        any
    }

    fn encode_opus(&mut self, ctx: &mut Context, unit: &Unit) {
        let broadcast = self.key;
        let Context { ids, outputs, .. } = ctx;
        let id = || AudioTranscoderId {
            broadcast,
            number: ids.next(),
        };
        let put_out = |job| outputs.push_back(Output::Audio(job));
        self.opus_from_aac.unit(unit, id, put_out);
    }

    fn close_opus_from_aac(&mut self, ctx: &mut Context) {
        if let Some(transcoder) = self.opus_from_aac.close() {
            ctx.output(Output::Audio(AudioJob::Close { transcoder }));
        }
    }

    /// A packet of the transcoder that makes Opus of an encoder's AAC: for viewers, who take it from the
    /// publisher's ring. False if the transcoder is another one.
    pub(crate) fn push_made_opus(&mut self, transcoder: AudioTranscoderId, packet: &Bytes) -> bool {
        let unit = self.opus_from_aac.packet(transcoder, packet.clone());
        unit.map(|unit| self.ingest.push(unit)).is_some()
    }

    /// Closes all audio transcoders: another publisher's audio begins, which is coded otherwise.
    pub(crate) fn close_audio_transcoders(&mut self, ctx: &mut Context) {
        self.close_opus_from_aac(ctx);
        for transcoder in self.audio.end() {
            let transcoder = transcoder.id;
            ctx.output(Output::Audio(AudioJob::Close { transcoder }));
        }
    }

    /// Audio is in the rings: gives it to every consumer, unless it waits for the next picture.
    pub(crate) fn feed_soon(&mut self, ctx: &mut Context) {
        // Pictures of renditions come later than those of the publisher, by what their codecs take.
        let waits = self.renditions.list().is_empty() && self.audio_wait.waits(ctx.now);
        if !waits {
            self.feed(ctx);
        } else {
            let within = self.audio_wait.of_viewers(ctx.now);
            self.feed_viewers_soon(ctx, within);
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
        let missing = |it: &Self| {
            let mut wanted = audio_bps_wanted(&it.renditions, &it.consumers, &it.packager);
            wanted.find(|audio_bps| !it.audio.has(*audio_bps))
        };
        while let Some(audio_bps) = missing(self) {
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
        let aac = self.takes_aac();
        let Self {
            audio,
            renditions,
            consumers,
            packager,
            ..
        } = self;
        let is_wanted = |bps| audio_bps_wanted(renditions, consumers, packager).any(|it| it == bps);
        let closed = audio.close_unless(|audio_bps| aac && is_wanted(audio_bps));
        for transcoder in closed {
            ctx.output(Output::Audio(AudioJob::Close { transcoder }));
        }
    }

    /// Whether somebody takes audio in AAC.
    fn takes_aac(&self) -> bool {
        let consumes = self.consumers.take_audio_in(AudioCodec::Aac);
        let records = self.recorder.takes_audio();
        consumes || records || self.packager.is_wanted() || self.players.len() > 0
    }

    /// AAC of which nobody makes the bit rate is missing in the rings of renditions for viewers.
    fn leave_out_beside_viewers(&mut self) {
        let Self {
            audio, renditions, ..
        } = self;
        let lacking = renditions.list_mut().iter_mut();
        let lacking = lacking.filter(|it| !audio.has(it.spec.audio_bps));
        lacking.for_each(|it| it.ring.leave_out(AudioCodec::Aac));
    }
}

/// Bit rates of the AAC beside the publisher's video and beside renditions for destinations and for the packager.
/// Viewers take Opus, from the publisher's ring.
fn audio_bps_wanted(
    renditions: &Renditions,
    consumers: &Consumers,
    packager: &Packager,
) -> impl Iterator<Item = u32> {
    let with_aac = renditions.list().iter();
    let with_aac = with_aac.filter(|it| consumers.users(it) > 0 || packager.uses(it));
    std::iter::once(AUDIO_BPS_DEFAULT).chain(with_aac.map(|it| it.spec.audio_bps))
}
