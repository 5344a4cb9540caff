//! Control from outside: its real router over real sockets, with a shard that the test plays. One
//! binary for all, because each binary links everything; each behaviour has its own file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

mod bad_input;
mod both_families;
mod data_channel;
mod data_channel_webhook;
mod destination_detail;
mod destination_video;
mod doctor;
mod drain;
mod engine_flags;
mod guide_rows;
mod hls;
mod hold;
mod https;
mod hung_shard;
mod link;
mod log_trouble;
mod many_connections;
mod monitoring_files;
mod offer_limits;
mod offered_codecs;
mod openapi;
mod placement_race;
mod placements;
mod previews;
mod publish_admission;
mod recordings;
mod rendition_status;
mod renegotiation;
mod resolution_height;
mod rest_broadcasts;
mod rest_endpoints;
mod rest_small_print;
mod retry_policy;
mod rtmp_port;
mod s3;
mod server;
mod shard_work;
mod signalling_order;
mod slate;
mod survival;
mod takeover;
mod tokens;
mod transcode_capacity;
mod variables;
mod viewer_reports;
mod viewers;
mod web_pages;
mod webhook_delivery;
mod webhook_receivers;
mod webhooks;
mod whep;
mod whip;
