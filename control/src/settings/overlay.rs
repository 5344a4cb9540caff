//! Lays one layer of an application's settings over what weaker ones have set.

use super::{
    application::{ApplicationOverrides, ApplicationSettings},
    encoding::EncodingSettings,
    preview::PreviewSettings,
    recording::RecordingSettings,
    s3::S3Settings,
    webhooks::WebhookSettings,
};

impl ApplicationOverrides {
    /// Lays this layer over `settings`.
    pub fn apply(&self, settings: &mut ApplicationSettings) {
        set(
            &mut settings.publish_token_control_enabled,
            &self.publish_token_control_enabled,
        );
        self.apply_viewers(settings);
        set(
            &mut settings.accept_only_streams_in_data_store,
            &self.accept_only_streams_in_data_store,
        );
        if let Some(ranges) = &self.allowed_publisher_cidr {
            settings.allowed_publisher_cidr = Some(ranges.clone());
        }
        set(
            &mut settings.start_timeout_ms,
            &self.webrtc_client_start_timeout_ms,
        );
        set(
            &mut settings.keyframe_interval_ms,
            &self.webrtc_keyframe_time,
        );
        set(&mut settings.hold_ms, &self.hold_ms);
        set(&mut settings.stop_grace_ms, &self.stop_grace_ms);
        set(
            &mut settings.endpoint_retry_delay_ms_min,
            &self.endpoint_retry_delay_ms_min,
        );
        set(
            &mut settings.endpoint_retry_delay_ms_max,
            &self.endpoint_retry_delay_ms_max,
        );
        if let Some(count) = self.endpoint_retries_max {
            // What is negative is without end there too.
            settings.endpoint_retries_max = u32::try_from(count).ok();
            // The time goes with the limit: that of a weaker layer says nothing about this one.
            settings.endpoint_give_up_ms_min = 0;
        }
        set(
            &mut settings.endpoint_give_up_ms_min,
            &self.endpoint_give_up_ms_min,
        );
        set(&mut settings.endpoints_max, &self.endpoints_max);
        if let Some(limit) = self.ingesting_stream_limit {
            settings.ingesting_stream_limit = usize::try_from(limit).ok();
        }
        set(&mut settings.remote_allowed_cidr, &self.remote_allowed_cidr);
        set(&mut settings.ice_server.uri, &self.stun_server_uri);
        set(
            &mut settings.ice_server.username,
            &self.turn_server_username,
        );
        set(
            &mut settings.ice_server.credential,
            &self.turn_server_credential,
        );
        self.apply_webhooks(&mut settings.webhooks);
        self.apply_encoding(&mut settings.encoding);
        self.apply_recording(&mut settings.recording);
        self.apply_s3(&mut settings.s3);
        self.apply_preview(&mut settings.preview);
    }
}

impl ApplicationOverrides {
    fn apply_viewers(&self, settings: &mut ApplicationSettings) {
        set(
            &mut settings.play_token_control_enabled,
            &self.play_token_control_enabled,
        );
        if let Some(limit) = self.webrtc_viewer_limit {
            settings.webrtc_viewer_limit = usize::try_from(limit).ok();
        }
        set(
            &mut settings.data_channel_enabled,
            &self.data_channel_enabled,
        );
        set(
            &mut settings.data_channel_player_distribution,
            &self.data_channel_player_distribution,
        );
        let hls = &mut settings.hls;
        set(&mut hls.enabled, &self.hls_muxing_enabled);
        set(&mut hls.segment_s, &self.hls_time);
        set(&mut hls.list_size, &self.hls_list_size);
        set(&mut hls.always, &self.hls_always);
        set(&mut hls.segment_type, &self.hls_segment_type);
        set(&mut hls.dash, &self.dash_muxing_enabled);
    }

    fn apply_webhooks(&self, webhooks: &mut WebhookSettings) {
        set(&mut webhooks.url, &self.listener_hook_url);
        set(
            &mut webhooks.authenticate_url,
            &self.webhook_authenticate_url,
        );
        set(&mut webhooks.data_url, &self.data_channel_webhook_url);
        set(&mut webhooks.retry_count, &self.webhook_retry_count);
        set(&mut webhooks.retry_delay_ms, &self.webhook_retry_delay);
        set(&mut webhooks.content_type, &self.webhook_content_type);
        if let Some(period) = self.webhook_stream_status_update_period_ms {
            webhooks.status_period_ms = u64::try_from(period).ok().filter(|period| *period > 0);
        }
        set(&mut webhooks.secret, &self.webhook_secret);
    }

    fn apply_recording(&self, recording: &mut RecordingSettings) {
        set(&mut recording.enabled, &self.mp4_muxing_enabled);
        set(
            &mut recording.has_dated_names,
            &self.add_date_time_to_mp4_file_name,
        );
        set(&mut recording.filler, &self.recording_filler);
        set(&mut recording.minutes_max, &self.recording_minutes_max);
        set(&mut recording.finish_script, &self.muxer_finish_script);
    }

    fn apply_s3(&self, s3: &mut S3Settings) {
        set(&mut s3.enabled, &self.s3_recording_enabled);
        set(&mut s3.access_key, &self.s3_access_key);
        set(&mut s3.secret_key, &self.s3_secret_key);
        set(&mut s3.region, &self.s3_region_name);
        set(&mut s3.bucket, &self.s3_bucket_name);
        set(&mut s3.endpoint, &self.s3_endpoint);
        set(&mut s3.folder, &self.s3_streams_folder_path);
        set(&mut s3.delete_local, &self.s3_delete_local);
    }

    fn apply_preview(&self, preview: &mut PreviewSettings) {
        set(&mut preview.enabled, &self.generate_preview);
        set(&mut preview.period_ms, &self.create_preview_period);
        set(&mut preview.height, &self.preview_height);
        set(&mut preview.format, &self.preview_format);
    }

    fn apply_encoding(&self, encoding: &mut EncodingSettings) {
        set(&mut encoding.ladder, &self.encoder_settings);
        set(&mut encoding.frames_per_second, &self.webrtc_frame_rate);
        set(&mut encoding.gop_frames, &self.gop_size);
        let offered = &mut encoding.offered;
        set(&mut offered.h264_enabled, &self.h264_enabled);
        set(&mut offered.vp8_enabled, &self.vp8_enabled);
        set(&mut offered.vp9_enabled, &self.vp9_enabled);
        set(&mut offered.av1_enabled, &self.av1_enabled);
        set(&mut encoding.opus_channels, &self.opus_channels);
        set(&mut encoding.reencode, &self.reencode);
        set(&mut encoding.preset, &self.encoder_preset);
        set(&mut encoding.profile, &self.encoder_profile);
    }
}

fn set<T: Clone>(target: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        target.clone_from(value);
    }
}
