//! The port of a sink: the listener, its restarts, and the acceptance of connections.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::sleep,
};

use super::{SinkOptions, connection, register::Register, register::lock};
use crate::BenchError;
use crate::limits::SINK_COMMANDS_MAX;

/// A command to the port.
#[derive(Debug)]
enum PortCommand {
    /// Breaks all connections and closes the listener.
    GoAway(oneshot::Sender<()>),
    /// Listens again, at this address.
    ComeBack(SocketAddr, oneshot::Sender<Result<(), BenchError>>),
    /// Both, with this time in between.
    Restart(Duration),
}

/// Sends commands to the port.
#[derive(Clone, Debug)]
pub(super) struct PortHandle {
    commands: mpsc::Sender<PortCommand>,
    address: Arc<Mutex<SocketAddr>>,
}

impl PortHandle {
    pub(super) fn address(&self) -> SocketAddr {
        *lock(&self.address)
    }

    pub(super) fn restart(&self, away: Duration) {
        // A full queue already holds a restart, and a port that is gone has nothing to restart.
        let _ = self.commands.try_send(PortCommand::Restart(away));
    }

    pub(super) async fn go_away(&self) {
        let (done, is_done) = oneshot::channel();
        let _ = self.commands.send(PortCommand::GoAway(done)).await;
        let _ = is_done.await;
    }

    pub(super) async fn come_back(&self, address: SocketAddr) -> Result<(), BenchError> {
        let (done, is_done) = oneshot::channel();
        let _ = self
            .commands
            .send(PortCommand::ComeBack(address, done))
            .await;
        is_done
            .await
            .map_err(|error| BenchError::network("sink", error))?
    }
}

/// The listener and the tasks of all its connections.
pub(super) struct Port {
    listener: Option<TcpListener>,
    options: SinkOptions,
    register: Register,
    handle: PortHandle,
    commands: mpsc::Receiver<PortCommand>,
    connections: JoinSet<()>,
}

impl Port {
    pub(super) fn open(
        options: SinkOptions,
        register: Register,
    ) -> Result<(Self, PortHandle), BenchError> {
        let wanted = options.listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let listener = listen(wanted, LISTEN_BACKLOG)?;
        let (sender, commands) = mpsc::channel(SINK_COMMANDS_MAX);
        let handle = PortHandle {
            commands: sender,
            address: Arc::new(Mutex::new(listener.local_addr()?)),
        };
        let port = Self {
            listener: Some(listener),
            options,
            register,
            handle: handle.clone(),
            commands,
            connections: JoinSet::new(),
        };
        Ok((port, handle))
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let accepted = async {
                match &self.listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = accepted => {
                    if let Ok((tcp, peer)) = accepted {
                        self.accept(tcp, peer);
                    }
                }
                Some(command) = self.commands.recv() => self.process(command).await,
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    fn accept(&mut self, tcp: tokio::net::TcpStream, peer: SocketAddr) {
        let faults = self.options.fault_script.nth(self.register.len());
        let local = tcp.local_addr().unwrap_or_else(|_| self.handle.address());
        let entry = self
            .register
            .add(local, peer, self.handle.clone(), self.options.decodes_video);
        if let Some(entry) = entry {
            let options = self.options.clone();
            self.connections
                .spawn(connection::serve(tcp, options, faults, entry));
        }
    }

    async fn process(&mut self, command: PortCommand) {
        match command {
            PortCommand::GoAway(done) => {
                self.go_away().await;
                let _ = done.send(());
            }
            PortCommand::ComeBack(address, done) => {
                let _ = done.send(self.come_back(address));
            }
            PortCommand::Restart(away) => {
                self.go_away().await;
                sleep(away).await;
                // Another process may have taken the port: then the sink stays closed.
                let _ = self.come_back(self.handle.address());
            }
        }
    }

    async fn go_away(&mut self) {
        self.listener = None;
        self.connections.shutdown().await;
    }

    fn come_back(&mut self, address: SocketAddr) -> Result<(), BenchError> {
        let listener = listen(address, LISTEN_BACKLOG)?;
        *lock(&self.handle.address) = listener.local_addr()?;
        self.listener = Some(listener);
        Ok(())
    }
}

/// More than a test opens at once, so that none is refused by the kernel.
const LISTEN_BACKLOG: i32 = 1_024;

/// Opens a listener; port 0 takes a free one.
pub(super) fn listen(address: SocketAddr, backlog: i32) -> Result<TcpListener, BenchError> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog)?;
    Ok(TcpListener::from_std(socket.into())?)
}
