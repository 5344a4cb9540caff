//! What one layer of settings says of all applications.

use super::{application::ApplicationOverrides, overrides::Overrides};

impl Overrides {
    /// The part of this layer that holds for each application.
    pub fn application_defaults(&self) -> ApplicationOverrides {
        ApplicationOverrides {
            publish_token_control_enabled: self.publish_token_control_enabled,
            play_token_control_enabled: self.play_token_control_enabled,
            webrtc_viewer_limit: self.webrtc_viewer_limit,
            hls_muxing_enabled: self.hls_muxing_enabled,
            hls_time: self.hls_time,
            hls_list_size: self.hls_list_size,
            hls_always: self.hls_always,
            hls_segment_type: self.hls_segment_type,
            dash_muxing_enabled: self.dash_muxing_enabled,
            data_channel_enabled: self.data_channel_enabled,
            data_channel_player_distribution: self.data_channel_player_distribution,
            accept_only_streams_in_data_store: self.accept_only_streams_in_data_store,
            allowed_publisher_cidr: self.allowed_publisher_cidr.clone(),
            webhook_authenticate_url: self.webhook_authenticate_url.clone(),
            webrtc_client_start_timeout_ms: self.webrtc_client_start_timeout_ms,
            webrtc_keyframe_time: self.webrtc_keyframe_time,
            hold_ms: self.hold_ms,
            stop_grace_ms: self.stop_grace_ms,
            endpoint_retry_delay_ms_min: self.endpoint_retry_delay_ms_min,
            endpoint_retry_delay_ms_max: self.endpoint_retry_delay_ms_max,
            endpoint_retries_max: self.endpoint_retries_max,
            endpoint_give_up_ms_min: self.endpoint_give_up_ms_min,
            endpoints_max: self.endpoints_max,
            ingesting_stream_limit: self.ingesting_stream_limit,
            remote_allowed_cidr: self.remote_allowed_cidr.clone(),
            stun_server_uri: self.stun_server_uri.clone(),
            turn_server_username: self.turn_server_username.clone(),
            turn_server_credential: self.turn_server_credential.clone(),
            listener_hook_url: self.listener_hook_url.clone(),
            data_channel_webhook_url: self.data_channel_webhook_url.clone(),
            webhook_retry_count: self.webhook_retry_count,
            webhook_retry_delay: self.webhook_retry_delay,
            webhook_content_type: self.webhook_content_type,
            webhook_stream_status_update_period_ms: self.webhook_stream_status_update_period_ms,
            webhook_secret: self.webhook_secret.clone(),
            encoder_settings: self.encoder_settings.clone(),
            webrtc_frame_rate: self.webrtc_frame_rate,
            gop_size: self.gop_size,
            h264_enabled: self.h264_enabled,
            vp8_enabled: self.vp8_enabled,
            vp9_enabled: self.vp9_enabled,
            av1_enabled: self.av1_enabled,
            opus_channels: self.opus_channels,
            reencode: self.reencode,
            encoder_preset: self.encoder_preset,
            encoder_profile: self.encoder_profile,
            ..self.of_recordings()
        }
    }

    /// The same of recordings and previews.
    fn of_recordings(&self) -> ApplicationOverrides {
        ApplicationOverrides {
            mp4_muxing_enabled: self.mp4_muxing_enabled,
            add_date_time_to_mp4_file_name: self.add_date_time_to_mp4_file_name,
            recording_filler: self.recording_filler,
            recording_minutes_max: self.recording_minutes_max,
            muxer_finish_script: self.muxer_finish_script.clone(),
            s3_recording_enabled: self.s3_recording_enabled,
            s3_access_key: self.s3_access_key.clone(),
            s3_secret_key: self.s3_secret_key.clone(),
            s3_region_name: self.s3_region_name.clone(),
            s3_bucket_name: self.s3_bucket_name.clone(),
            s3_endpoint: self.s3_endpoint.clone(),
            s3_streams_folder_path: self.s3_streams_folder_path.clone(),
            s3_delete_local: self.s3_delete_local,
            generate_preview: self.generate_preview,
            create_preview_period: self.create_preview_period,
            preview_height: self.preview_height,
            preview_format: self.preview_format,
            ..ApplicationOverrides::default()
        }
    }
}
