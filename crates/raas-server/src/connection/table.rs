//! The open connections: how many an address has, and which one goes if there are too many.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::in_flight::Progress;
use crate::state::ServerState;

/// The open connections of a server.
pub(crate) struct ConnectionTable {
    state: Arc<ServerState>,
    room: Arc<Semaphore>,
    /// The most connections of an address. None is no limit.
    each: Option<usize>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// In the order in which they were accepted.
    connections: BTreeMap<u64, Entry>,
    /// The number of connections of each address that has a limit.
    addresses: HashMap<IpAddr, usize>,
}

struct Entry {
    progress: Arc<Progress>,
    /// None until the connection's task was started.
    task: Option<AbortHandle>,
}

/// A connection in the table, until this is dropped.
pub(crate) struct TableEntry {
    table: Arc<ConnectionTable>,
    number: u64,
    /// The address, if it has a limit.
    address: Option<IpAddr>,
    pub(crate) progress: Arc<Progress>,
    permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionTable {
    /// A table of at most `most` connections, of which an address has at most `each`.
    pub(crate) fn new(state: Arc<ServerState>, most: usize, each: Option<usize>) -> Arc<Self> {
        Arc::new(Self { state, room: Arc::new(Semaphore::new(most)), each, open: Mutex::default() })
    }

    /// Takes a new connection, once there is room for it. If all places are taken, the oldest connection without a
    /// complete request gives up its place. `None` if the address has too many connections.
    pub(crate) async fn admit(self: &Arc<Self>, remote: SocketAddr) -> Option<TableEntry> {
        let mut entry = self.enter(remote)?;
        entry.permit = Some(self.room().await);
        Some(entry)
    }

    /// Takes a new connection if there is room for it at once.
    pub(crate) fn admit_now(self: &Arc<Self>, remote: SocketAddr) -> Option<TableEntry> {
        let mut entry = self.enter(remote)?;
        entry.permit = Some(Arc::clone(&self.room).try_acquire_owned().ok()?);
        Some(entry)
    }

    fn enter(self: &Arc<Self>, remote: SocketAddr) -> Option<TableEntry> {
        let is_proxy = || {
            let address = remote.ip().to_canonical();
            self.state.trusted_proxies.iter().any(|net| net.contains(&address))
        };
        let limit = self.each.filter(|_| !is_proxy());
        let address = limit.map(|_| network(remote.ip()));
        let mut open = self.lock();
        if let (Some(address), Some(limit)) = (address, limit) {
            let count = open.addresses.entry(address).or_default();
            if *count >= limit {
                drop(open);
                self.state.metrics.closed_connections.over_address();
                return None;
            }
            *count += 1;
        }
        let number = open.next;
        open.next += 1;
        let progress = Arc::<Progress>::default();
        open.connections.insert(number, Entry { progress: Arc::clone(&progress), task: None });
        drop(open);
        Some(TableEntry { table: Arc::clone(self), number, address, progress, permit: None })
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        /// How long a connection that was told to go may take.
        const STEP: Duration = Duration::from_millis(50);
        loop {
            if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                return permit;
            }
            self.close_oldest_unfinished();
            if let Ok(permit) = timeout(STEP, Arc::clone(&self.room).acquire_owned()).await {
                return permit.expect("the semaphore is never closed");
            }
        }
    }

    /// Closes the oldest connection whose client has begun a head, or nothing, and not completed it.
    fn close_oldest_unfinished(&self) {
        let mut open = self.lock();
        let oldest =
            open.connections.values_mut().find(|entry| entry.task.is_some() && entry.progress.awaits_head());
        if let Some(task) = oldest.and_then(|entry| entry.task.take()) {
            task.abort();
            self.state.metrics.closed_connections.unfinished();
        }
    }

    /// Notes the task of a connection, by which it can be closed.
    pub(crate) fn started(&self, number: u64, task: AbortHandle) {
        if let Some(entry) = self.lock().connections.get_mut(&number) {
            entry.task = Some(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TableEntry {
    /// The number of the connection in the table.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for TableEntry {
    fn drop(&mut self) {
        let mut open = self.table.lock();
        open.connections.remove(&self.number);
        if let Some(address) = self.address
            && let Some(count) = open.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&address);
            }
        }
    }
}

/// What counts as one address: a client with IPv6 has all addresses of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let table = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ];
        for (address, expected) in table {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected);
        }
    }
}
