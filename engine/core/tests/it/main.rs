//! The shard from outside, on simulated time. One binary for all, because each binary links
//! everything; each behaviour has its own file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

mod answers;
mod b_frames;
mod data_channel;
mod destinations_in_trouble;
mod encoders;
mod encoders_stalled;
mod encoders_watched;
mod going_live;
mod h264_adopt;
mod h264_parameter_sets;
mod h264_repeater;
mod h264_unit;
mod hls;
mod lossy_network;
mod offer_bounds;
mod one_hour;
mod opus_passthrough;
mod pictures;
mod previews;
mod problems;
mod publishers_come_and_go;
mod re_encoding;
mod re_encoding_in_trouble;
mod recordings;
mod renegotiation;
mod ring_memory;
mod rtmp_amf;
mod rtmp_body;
mod rtmp_chunk_reader;
mod rtmp_flv;
mod rtmp_login;
mod rtmp_play;
mod rtmp_publish;
mod rtmp_publish_refused;
mod rtmp_real_peers;
mod rtmp_server;
mod rtmp_url;
mod simulcast;
mod stalling_network;
mod standing_in;
mod undecodable;
mod viewer_bandwidth;
mod viewer_renditions;
mod viewers;
mod viewers_in_trouble;
mod viewers_in_turns;
mod viewers_on_tcp;
mod wakes;

use shardcast_sim::peers as sim;
