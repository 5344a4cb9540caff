//! The port of a sink: who listens there, when, and whom it lets in.

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
use crate::limits::SINK_ORDERS_MAX;

/// What the port is told.
#[derive(Debug)]
enum Order {
    /// All connections break and nobody listens any more.
    GoAway(oneshot::Sender<()>),
    /// It listens again, at this address.
    ComeBack(SocketAddr, oneshot::Sender<Result<(), BenchError>>),
    /// Both, with so much time between.
    Restart(Duration),
}

/// Tells the port what to do.
#[derive(Clone, Debug)]
pub(super) struct PortHandle {
    orders: mpsc::Sender<Order>,
    address: Arc<Mutex<SocketAddr>>,
}

impl PortHandle {
    pub(super) fn address(&self) -> SocketAddr {
        *lock(&self.address)
    }

    pub(super) fn restart(&self, away: Duration) {
        // Where the queue is full there are restarts in it, and without a port there is nothing to
        // restart.
        let _ = self.orders.try_send(Order::Restart(away));
    }

    pub(super) async fn go_away(&self) {
        let (done, is_done) = oneshot::channel();
        let _ = self.orders.send(Order::GoAway(done)).await;
        let _ = is_done.await;
    }

    pub(super) async fn come_back(&self, address: SocketAddr) -> Result<(), BenchError> {
        let (done, is_done) = oneshot::channel();
        let _ = self.orders.send(Order::ComeBack(address, done)).await;
        is_done
            .await
            .map_err(|error| BenchError::network("sink", error))?
    }
}

/// Listens, and holds all connections.
pub(super) struct Port {
    listener: Option<TcpListener>,
    options: SinkOptions,
    register: Register,
    handle: PortHandle,
    orders: mpsc::Receiver<Order>,
    connections: JoinSet<()>,
}

impl Port {
    pub(super) fn open(
        options: SinkOptions,
        register: Register,
    ) -> Result<(Self, PortHandle), BenchError> {
        let wanted = options.listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let listener = listen(wanted, LISTEN_BACKLOG)?;
        let (sender, orders) = mpsc::channel(SINK_ORDERS_MAX);
        let handle = PortHandle {
            orders: sender,
            address: Arc::new(Mutex::new(listener.local_addr()?)),
        };
        let port = Self {
            listener: Some(listener),
            options,
            register,
            handle: handle.clone(),
            orders,
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
                        self.let_in(tcp, peer);
                    }
                }
                Some(order) = self.orders.recv() => self.obey(order).await,
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    fn let_in(&mut self, tcp: tokio::net::TcpStream, peer: SocketAddr) {
        let manner = self.options.manners.nth(self.register.len());
        let local = tcp.local_addr().unwrap_or_else(|_| self.handle.address());
        let ticket = self
            .register
            .enter(local, peer, self.handle.clone(), self.options.looks);
        if let Some(ticket) = ticket {
            let options = self.options.clone();
            self.connections
                .spawn(connection::serve(tcp, options, manner, ticket));
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::GoAway(done) => {
                self.go_away().await;
                let _ = done.send(());
            }
            Order::ComeBack(address, done) => {
                let _ = done.send(self.come_back(address));
            }
            Order::Restart(away) => {
                self.go_away().await;
                sleep(away).await;
                // Somebody else may have taken the port: then the server stays away.
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

const LISTEN_BACKLOG: i32 = 1_024;

/// Listens at an address, of which the port may be 0.
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
