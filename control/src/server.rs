//! Brings the control process up and down: store, certificate, ports, links and routes.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use shardcast_link::CidrList;
use shardcast_log::Limiter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::{
    access::{self, IsTls, Peer},
    api, backend,
    connection_limits::{ConnectionLimits, ConnectionPermit},
    deadlines, drain, effects,
    engine_command::EngineMissing,
    forwarded, fragments, health, limits, links, machine, metrics, pages, ports,
    publishing::Eviction,
    recordings,
    rest::Trees,
    rlimit, runtime_file,
    settings::Settings,
    signalling::{rtmp::RtmpPort, socket, whip},
    state::Control,
    store::{Catalog, RedbStore, StoreError},
    streams,
    supervisor::Supervisor,
    tasks::{self, Failures, Heartbeat, TaskFailed, stopped},
    tls::{Certificates, TlsError},
    webhooks,
};

/// The control process cannot start. The operator's fault, or the machine's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The data directory cannot be made or written.
    #[error("cannot use the directory {path}: {source}")]
    Folder {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the port, or this one may not.
    #[error("cannot listen on {address}: {source}; choose another with --{setting}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// The flag that sets the port.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The machine is out of threads.
    #[error("cannot start the watchdog: {0}")]
    Watchdog(io::Error),
    /// Says itself what to do.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store's file cannot be used.
    #[error("{0}")]
    Store(String),
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// A running control process.
#[derive(Debug)]
pub struct Handle {
    /// Where HTTP is served.
    pub http_addr: SocketAddr,
    /// Where HTTPS is served.
    pub https_addr: SocketAddr,
    /// Where encoders are taken.
    pub rtmp_addr: Option<SocketAddr>,
    control: Arc<Control>,
    shutdown: watch::Sender<bool>,
    failures: Failures,
    tasks: Vec<JoinHandle<()>>,
}

impl Handle {
    /// Starts an engine beside this process unless one is running, and keeps it running.
    ///
    /// # Errors
    /// When there is no engine executable.
    pub fn supervise(&self) -> Result<Supervisor, EngineMissing> {
        Supervisor::start(Arc::clone(&self.control), &self.failures)
    }

    /// Returns when a task has failed that this process cannot be without. The process is to end
    /// then; another one takes over.
    pub async fn failed(&self) -> TaskFailed {
        self.failures.first().await
    }

    /// Ends every broadcast; destinations get a proper end from their shards.
    pub fn end_broadcasts(&self) {
        self.control.stopping.store(true, Ordering::Relaxed);
        for record in self.control.catalog.live_broadcasts() {
            effects::end(&self.control, &record.id, Eviction::ByShutdown);
        }
    }

    /// Takes no new broadcasts from now on.
    pub fn drain(&self) {
        drain::start(&self.control);
    }

    /// Returns when it drains and no broadcast is live any more.
    pub async fn drained(&self) {
        drain::finished(&self.control).await;
    }

    /// Closes ports and sockets; what was changed is stored before this returns.
    pub async fn stop(self) {
        self.control.stopping.store(true, Ordering::Relaxed);
        self.control.sockets.close_all();
        // Lets close frames out.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.shutdown.send_replace(true);
        self.deliver_webhooks().await;
        if let Err(error) = self.control.catalog.flush().await {
            tracing::error!(%error, "the last changes were not stored");
        }
        for task in self.tasks {
            task.abort();
        }
    }
}

impl Handle {
    /// Waits a moment for the last webhooks; those that are not delivered in time stay in the store.
    async fn deliver_webhooks(&self) {
        let all = async {
            while self.control.catalog.hook_count() > 0 || self.control.data_messages.len() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(limits::HOOKS_STOP, all).await.is_err() {
            let waiting = self.control.catalog.hook_count();
            let lost = self.control.data_messages.len();
            tracing::warn!(
                waiting,
                lost,
                "webhooks wait for the next start, messages are lost"
            );
        }
    }
}

/// Starts a control process: binds its ports and returns when they take connections. Shards are
/// looked for from then on.
///
/// # Errors
/// When a directory, a port, the certificate or the store cannot be used.
pub async fn serve(settings: Settings) -> Result<Handle, ServeError> {
    make_folders(&settings)?;
    let store = settings.data_dir.join("store.redb");
    let catalog = tokio::task::spawn_blocking(move || Catalog::open(RedbStore::open(&store)?))
        .await
        .map_err(|error| ServeError::Store(error.to_string()))??;
    let certificates = Certificates::load(&settings)?;
    let tls = TlsAcceptor::from(certificates.server_config()?);
    let (http, http_addr) = listen(&settings, settings.http_port, "http-port")?;
    let (https, https_addr) = listen(&settings, settings.https_port, "https-port")?;
    let rtmp = RtmpPort::bind_as(&settings);
    let rtmps = RtmpPort::bind_tls_as(&settings, &certificates);
    let rtmp_addr = rtmp.as_ref().map(|rtmp| rtmp.address);
    let control = Arc::new(Control::new(settings, catalog));
    let (shutdown, stopped) = watch::channel(false);
    let listener = Listener {
        router: router(&control),
        places: ConnectionLimits::for_descriptors(rlimit::descriptors()),
        trusted: control.settings.remote_allowed_cidr.clone(),
        stopped,
    };
    let failures = Failures::new();
    let heartbeat = Arc::new(Heartbeat::default());
    tasks::watch_heartbeat(Arc::clone(&heartbeat), failures.clone())
        .map_err(ServeError::Watchdog)?;
    let of = || Arc::clone(&control);
    let runtime_file = runtime_file::keep(of(), http_addr, https_addr);
    let mut tasks = vec![
        failures.spawn("the links to the shards", links::keep(of())),
        failures.spawn("the reader of HLS", fragments::keep(of())),
        failures.spawn("the end of idle HLS", fragments::sweep(of())),
        failures.spawn("the deadlines", deadlines::run(of(), heartbeat)),
        failures.spawn("the turns of offers", deadlines::run_offer_turns(of())),
        failures.spawn("the writer of the store", writer_ended(of())),
        failures.spawn("the delivery of webhooks", webhooks::delivery::run(of())),
        failures.spawn("the post of messages", webhooks::data_messages::run(of())),
        failures.spawn("the end of recordings", recordings::keep(of())),
        failures.spawn("liveStreamStatus", webhooks::statuses::run(of())),
        failures.spawn("the watch of the certificate", certificates.watch()),
        failures.spawn("runtime.json", runtime_file),
        failures.spawn("the look at the machine", machine::keep(of())),
        failures.spawn("the HTTP port", listener.clone().accept(http, None)),
        failures.spawn("the HTTPS port", listener.accept(https, Some(tls))),
    ];
    let rtmp = rtmp.map(|port| failures.spawn("the RTMP port", port.serve(of())));
    let rtmps = rtmps.map(|port| failures.spawn("the RTMPS port", port.serve(of())));
    tasks.extend(rtmp.into_iter().chain(rtmps));
    tracing::info!(http = %http_addr, https = %https_addr, "listening");
    Ok(Handle {
        http_addr,
        https_addr,
        rtmp_addr,
        control,
        shutdown,
        failures,
        tasks,
    })
}

fn make_folders(settings: &Settings) -> Result<(), ServeError> {
    for path in [&settings.data_dir, &settings.link_dir] {
        // Stream keys are in there, and who reaches the link commands the engine.
        let mut folder = std::fs::DirBuilder::new();
        folder
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| ServeError::Folder {
                path: path.clone(),
                source,
            })?;
    }
    Ok(())
}

fn listen(
    settings: &Settings,
    port: u16,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let address = SocketAddr::new(settings.bind, port);
    let failed = |source| ServeError::Listen {
        address,
        setting,
        source,
    };
    let listener = ports::listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Returns when the thread that writes the store has ended.
async fn writer_ended(control: Arc<Control>) {
    while control.catalog.has_writer() {
        tokio::time::sleep(limits::TASK_POLL).await;
    }
}

fn router(control: &Arc<Control>) -> Router {
    let filter = middleware::from_fn_with_state(Arc::clone(control), access::server_filter);
    let operators = Router::new()
        .route("/metrics", get(metrics::metrics))
        .layer(filter);
    Router::new()
        .merge(operators)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .nest("/api/v1", api::router(control))
        .route("/{app}/websocket", any(signalling))
        .route("/{app}/websocket/signaling", any(signalling))
        .merge(whip::router())
        .merge(streams::router())
        .fallback(rest_or_page)
        .layer(Extension(Trees::new(control)))
        .layer(middleware::from_fn_with_state(
            Arc::clone(control),
            metrics::count,
        ))
        .layer(middleware::from_fn(backend::refuse_deliveries))
        .with_state(Arc::clone(control))
}

/// REST of any application, or else a page.
async fn rest_or_page(Extension(trees): Extension<Trees>, request: Request) -> Response {
    match trees.answer(request).await {
        Ok(response) => response,
        Err(request) => pages::serve(&request),
    }
}

async fn signalling(
    State(control): State<Arc<Control>>,
    Path(application): Path<String>,
    request: Request,
) -> Response {
    if control.application(&application).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    if control.stopping.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    socket::upgrade(&control, application, request)
}

/// Out of descriptors, this happens twenty times a second.
static NOT_ACCEPTED: Limiter = Limiter::refusals();
static NO_PLACE: Limiter = Limiter::refusals();

/// Accepts connections of one port.
#[derive(Clone)]
struct Listener {
    router: Router,
    places: Arc<ConnectionLimits>,
    /// Addresses that may have any number of connections.
    trusted: CidrList,
    stopped: watch::Receiver<bool>,
}

impl Listener {
    async fn accept(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        loop {
            let (stream, peer) = match ports::accept(&listener).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: waiting lets connections end.
                    if let Some(left_out) = NOT_ACCEPTED.admit(Instant::now()) {
                        tracing::warn!(%error, left_out, "cannot accept a connection");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let trusted = forwarded::is_trusted(peer.ip(), &self.trusted);
            let Some(place) = self.places.take(peer.ip(), trusted) else {
                if let Some(left_out) = NO_PLACE.admit(Instant::now()) {
                    tracing::warn!(%peer, left_out, "a connection was closed: there are too many");
                }
                continue;
            };
            let (this, tls) = (self.clone(), tls.clone());
            tokio::spawn(this.connection(stream, peer, Arc::new(place), tls));
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Arc<ConnectionPermit>,
        tls: Option<TlsAcceptor>,
    ) {
        // Signalling is small messages that must not wait for each other.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.http(stream, IsTls(false), peer, place).await,
            Some(tls) => match timeout(limits::HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.http(stream, IsTls(true), peer, place).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
            },
        }
    }

    async fn http(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        is_tls: IsTls,
        peer: SocketAddr,
        place: Arc<ConnectionPermit>,
    ) {
        let router = self.router;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(is_tls);
            // A socket holds it for longer than this connection of hyper.
            request.extensions_mut().insert(Arc::clone(&place));
            let response = router.clone().oneshot(request);
            async move {
                Ok::<_, Infallible>(
                    response
                        .await
                        .unwrap_or_else(|never: Infallible| match never {}),
                )
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HANDSHAKE)
            .max_buf_size(limits::HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "connection ended");
                }
            }
            () = stopped(&mut self.stopped) => {
                connection.as_mut().graceful_shutdown();
                // What is being answered is answered.
                let _ = timeout(Duration::from_secs(1), connection).await;
            }
        }
    }
}
