//! Connections that come to the shard's RTMP port. Encoders will publish here; the application `sink` is
//! a test sink.

mod test_sink;

pub(crate) use self::test_sink::TestSink;
