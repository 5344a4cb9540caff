// The backend service of the StreamLick guide: axios against the REST API, with the request shapes of
// the guide. `validateStatus` accepts every status, so that tests can check refusals too.

import axios from "axios";

export class AntMediaBackend {
  constructor(http, application = "StreamLick") {
    this.client = axios.create({
      baseURL: `${http}/${application}/rest/v2`,
      headers: { "Content-Type": "application/json" },
      timeout: 10_000,
      validateStatus: () => true,
    });
  }

  createBroadcast(streamId, name = streamId) {
    return this.client.post("/broadcasts/create", { streamId, name, type: "liveStream" });
  }

  getBroadcast(streamId) {
    return this.client.get(`/broadcasts/${streamId}`);
  }

  deleteBroadcast(streamId) {
    return this.client.delete(`/broadcasts/${streamId}`);
  }

  addRtmpEndpoint(streamId, rtmpUrl) {
    return this.client.post(`/broadcasts/${streamId}/rtmp-endpoint`, { rtmpUrl });
  }

  /** Adds a destination with fields that are not in the guide. */
  addEndpoint(streamId, endpoint) {
    return this.client.post(`/broadcasts/${streamId}/rtmp-endpoint`, endpoint);
  }

  /** The guide removes by body, not by the id that Ant Media Server wants. */
  removeRtmpEndpoint(streamId, rtmpUrl) {
    return this.client.delete(`/broadcasts/${streamId}/rtmp-endpoint`, { data: { rtmpUrl } });
  }

  getBroadcastStatistics(streamId) {
    return this.client.get(`/broadcasts/${streamId}/broadcast-statistics`);
  }

  /** The guide passes milliseconds, where Ant Media Server counts in seconds. */
  createPublishToken(streamId, expires_in_ms = 3_600_000) {
    return this.client.get(`/broadcasts/${streamId}/token`, { params: { expireDate: Date.now() + expires_in_ms, type: "publish" } });
  }
}
