//! The native media plane as a Python module. It takes the values of `sfu/media/plane.py` by their attributes,
//! and gives back plain tuples: `sfu/media/native_plane.py` makes the seam's values of them.

mod values;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pysfu_plane_core::parameters::{Layer, PublicationKey, SubscriptionKey, TransportKey};
use pysfu_plane_core::plane::{DRAWS, Plane as CorePlane};
use pysfu_plane_core::stun::Consent;
use pysfu_plane_io::{At, Datagram, Engine, Fault};

use values::{
    PyEvent, PyKeys, PyLayer, PyProbe, PyPublication, PySubscription, Sent, encoding_stats, event,
    subscription_stats,
};

/// What is to be sent: transport and datagram, in order.
type Packets = Vec<(TransportKey, Py<PyBytes>)>;
/// A datagram that is not media: place of the address it came to, host, port and scope it came from, its bytes,
/// when it was read, and how long before that it came.
type Upward = (usize, String, u16, u32, Py<PyBytes>, i64, i64);

/// Everything that happens per packet. Methods that may send return what they would send, until `start`.
#[pyclass(module = "sfu_plane")]
struct Plane {
    engine: Engine,
    draw: Py<PyAny>,
    /// Drawn before and not needed. Nobody may wait for the interpreter while a lane waits for a number, so they are
    /// drawn before; none is left out, so that a seed gives the same ones whatever is opened.
    drawn: Mutex<VecDeque<u16>>,
}

#[pymethods]
impl Plane {
    /// `ssrc` is the server's own; `draw()` gives a random number below 2^15.
    #[new]
    fn new(ssrc: u32, draw: Py<PyAny>, cache_packets: usize) -> PyResult<Self> {
        Ok(Self { engine: Engine::new(ssrc, cache_packets)?, draw, drawn: Mutex::default() })
    }

    // --- sockets and threads -------------------------------------------------------------------

    /// Receive and send from now on, with one thread for each group of sockets (of descriptors, which are
    /// duplicated); each group has one socket for each bound address. Returns a descriptor that is readable
    /// while `take_upward` has something.
    fn start(&mut self, groups: Vec<Vec<i32>>) -> PyResult<i32> {
        let first = groups.first().cloned().unwrap_or_default();
        let groups = groups
            .into_iter()
            .map(|group| group.into_iter().map(duplicate).collect())
            .collect::<std::io::Result<Vec<Vec<OwnedFd>>>>()?;
        Ok(self.engine.start(groups, &first)?)
    }

    /// End the threads.
    fn stop(&mut self, py: Python<'_>) {
        py.detach(|| self.engine.stop());
    }

    /// Tell the room of a transport before anything else about it; 0 is none.
    fn place_transport(&self, transport: TransportKey, room: u64) {
        self.engine.place(transport, room);
    }

    /// Send a transport's datagrams from here: from the socket `descriptor` (which is duplicated where it is not
    /// known) to an IP address, its port, and for IPv6 its scope.
    fn set_route(
        &self,
        py: Python<'_>,
        transport: TransportKey,
        descriptor: i32,
        host: &str,
        port: u16,
        scope: u32,
    ) -> PyResult<()> {
        let to = address(host, port, scope)?;
        py.detach(|| self.engine.set_route(transport, descriptor, to, || duplicate(descriptor)))?;
        Ok(())
    }

    /// Leave a transport's datagrams to the caller again.
    fn clear_route(&self, py: Python<'_>, transport: TransportKey) {
        py.detach(|| self.engine.clear_route(transport));
    }

    /// Bytes sent from here for a transport.
    fn route_bytes(&self, transport: TransportKey) -> u64 {
        self.engine.bytes(transport).0
    }

    /// Bytes of media received here from a transport's addresses.
    fn received_bytes(&self, transport: TransportKey) -> u64 {
        self.engine.bytes(transport).1
    }

    /// What comes from this address is of this transport's peer.
    fn learn(&self, transport: TransportKey, host: &str, port: u16, scope: u32) -> PyResult<()> {
        self.engine.learn(transport, address(host, port, scope)?);
        Ok(())
    }

    /// What comes from this address is nobody's.
    fn unlearn(&self, host: &str, port: u16, scope: u32) -> PyResult<()> {
        self.engine.unlearn(address(host, port, scope)?);
        Ok(())
    }

    /// Checks that name this ufrag of ours go up, as far as they are not answered here; others are dropped.
    fn expect_checks(&self, ufrag: &str) {
        self.engine.expect_checks(ufrag);
    }

    /// Checks that name this ufrag are nobody's.
    fn refuse_checks(&self, ufrag: &str) {
        self.engine.refuse_checks(ufrag);
    }

    /// The peer was checked at this address. Further checks from there that carry `username`, signed with
    /// `password`, are answered here.
    #[allow(clippy::too_many_arguments)]
    fn set_consent(
        &self,
        transport: TransportKey,
        host: &str,
        port: u16,
        scope: u32,
        username: &str,
        password: &str,
        checked_us: i64,
    ) -> PyResult<()> {
        let consent = Consent::new(username, password);
        self.engine.set_consent(transport, address(host, port, scope)?, consent, checked_us);
        Ok(())
    }

    /// All checks go up.
    fn withdraw_consent(&self, transport: TransportKey) {
        self.engine.withdraw_consent(transport);
    }

    /// When the last check was that `set_consent` told of or that was answered here, 0 where none was.
    fn checked_us(&self, transport: TransportKey) -> i64 {
        self.engine.checked_us(transport)
    }

    /// Nothing more is told of a transport.
    fn forget(&self, py: Python<'_>, transport: TransportKey) {
        py.detach(|| self.engine.forget(transport));
    }

    /// `most` datagrams at most that are not media of a known peer, and all packets that have no route.
    fn take_upward(&self, py: Python<'_>, most: usize) -> (Vec<Upward>, Packets) {
        let (datagrams, packets) = self.engine.take_upward(most);
        let of = |Datagram { place, from, data, read_us, age_us }: Datagram| {
            let scope = if let SocketAddr::V6(v6) = from { v6.scope_id() } else { 0 };
            let data = PyBytes::new(py, &data).unbind();
            (place, from.ip().to_string(), from.port(), scope, data, read_us, age_us)
        };
        let packets = packets.into_iter();
        let packets = packets.map(|(transport, packet)| (transport, PyBytes::new(py, &packet).unbind()));
        (datagrams.into_iter().map(of).collect(), packets.collect())
    }

    // --- transports, publications, subscriptions -----------------------------------------------

    fn open_transport(&self, py: Python<'_>, transport: TransportKey, keys: PyKeys) -> PyResult<()> {
        let keys = keys.try_into()?;
        py.detach(|| self.engine.open_transport(transport, keys)).map_err(fault)
    }

    fn close_transport(&self, py: Python<'_>, transport: TransportKey) -> PyResult<()> {
        py.detach(|| self.engine.close_transport(transport)).map_err(fault)
    }

    fn open_publication(
        &self,
        py: Python<'_>,
        publication: PublicationKey,
        config: PyPublication,
    ) -> PyResult<()> {
        let config = config.try_into()?;
        py.detach(|| self.engine.open_publication(publication, config)).map_err(fault)
    }

    fn close_publication(&self, py: Python<'_>, publication: PublicationKey) -> PyResult<()> {
        py.detach(|| self.engine.close_publication(publication)).map_err(fault)
    }

    fn set_muted(&self, py: Python<'_>, publication: PublicationKey, muted: bool) -> PyResult<()> {
        py.detach(|| self.engine.set_muted(publication, muted)).map_err(fault)
    }

    fn open_subscription(
        &self,
        py: Python<'_>,
        subscription: SubscriptionKey,
        config: PySubscription,
    ) -> PyResult<()> {
        let mut drawn = std::mem::take(&mut *self.drawn.lock());
        while drawn.len() < DRAWS {
            drawn.push_back(self.draw.call0(py)?.extract(py)?);
        }
        let config = config.into();
        let draw = || drawn.pop_front().unwrap_or_default();
        let done = py.detach(|| self.engine.open_subscription(subscription, config, draw));
        self.drawn.lock().append(&mut drawn);
        done.map_err(fault)
    }

    fn close_subscription(&self, py: Python<'_>, subscription: SubscriptionKey) -> PyResult<()> {
        py.detach(|| self.engine.close_subscription(subscription)).map_err(fault)
    }

    fn set_target(
        &self,
        py: Python<'_>,
        subscription: SubscriptionKey,
        target: Option<PyLayer>,
        at_once: bool,
    ) -> PyResult<()> {
        let target = target.map(|layer| Layer { spatial: layer.spatial, temporal: layer.temporal });
        let at = self.engine.at_subscription(subscription);
        self.on_lane(py, at, |plane| plane.set_target(subscription, target, at_once))
    }

    fn set_estimate(&self, py: Python<'_>, transport: TransportKey, estimate_bps: i64) -> PyResult<()> {
        let at = self.engine.at_transport(transport);
        self.on_lane(py, at, |plane| plane.set_estimate(transport, estimate_bps))
    }

    fn sent_bytes(&self, py: Python<'_>, transport: TransportKey) -> PyResult<i64> {
        let at = self.engine.at_transport(transport);
        self.on_lane(py, at, |plane| plane.sent_bytes(transport))
    }

    fn send_probe(
        &self,
        py: Python<'_>,
        transport: TransportKey,
        probe: PyProbe,
        now_us: i64,
    ) -> PyResult<Option<Packets>> {
        let probe = probe.into();
        let at = self.engine.at_transport(transport);
        Ok(self.run(py, at, |plane| plane.send_probe(transport, probe, now_us))?.1)
    }

    /// When to call again, None while nothing waits, and what is to be sent. Threads do it by themselves.
    fn pump(&self, py: Python<'_>, now_us: i64) -> PyResult<(Option<i64>, Option<Packets>)> {
        if self.engine.is_running() {
            return Ok((None, None));
        }
        self.run(py, At::default(), |plane| plane.pump(now_us))
    }

    fn send_remb(
        &self,
        py: Python<'_>,
        transport: TransportKey,
        bitrate_bps: u64,
    ) -> PyResult<Option<Packets>> {
        let at = self.engine.at_transport(transport);
        Ok(self.run(py, at, |plane| plane.send_remb(transport, bitrate_bps))?.1)
    }

    fn request_keyframe(
        &self,
        py: Python<'_>,
        publication: PublicationKey,
        rid: &str,
    ) -> PyResult<Option<Packets>> {
        let at = self.engine.at_publication(publication);
        Ok(self.run(py, at, |plane| plane.request_keyframe(publication, rid))?.1)
    }

    /// Spatial and temporal number, rid and bits per second of each layer that flows, lowest first.
    fn layers(&self, py: Python<'_>, publication: PublicationKey) -> PyResult<Vec<(i64, i64, String, i64)>> {
        let at = self.engine.at_publication(publication);
        let layers = self.on_lane(py, at, |plane| plane.layers(publication))?.into_iter();
        let of = |(layer, rid, rate): (Layer, Arc<str>, i64)| {
            (layer.spatial, layer.temporal, rid.to_string(), rate)
        };
        Ok(layers.map(of).collect())
    }

    fn receive(
        &self,
        py: Python<'_>,
        transport: TransportKey,
        packet: &[u8],
        now_us: i64,
        arrival_us: i64,
    ) -> PyResult<Option<Packets>> {
        let at = self.engine.at_transport(transport);
        Ok(self.run(py, at, |plane| plane.receive(transport, packet, now_us, arrival_us))?.1)
    }

    /// Threads do it by themselves.
    fn tick(&self, py: Python<'_>, now_us: i64) -> PyResult<Option<Packets>> {
        if self.engine.is_running() {
            return Ok(None);
        }
        Ok(self.run(py, At::default(), |plane| plane.tick(now_us))?.1)
    }

    /// The name of each event's class and its fields.
    fn poll_events(&self, py: Python<'_>) -> Vec<PyEvent> {
        let (events, faults) = py.detach(|| (self.engine.poll_events(), self.engine.take_faults()));
        let faults = faults.into_iter().map(|room| PyEvent::Fault("PlaneFault", (room,)));
        events.into_iter().map(event).chain(faults).collect()
    }

    /// The fields of each known encoding's statistics.
    fn publication_stats<'py>(
        &self,
        py: Python<'py>,
        publication: PublicationKey,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let at = self.engine.at_publication(publication);
        let stats = self.on_lane(py, at, |plane| plane.publication_stats(publication))?;
        stats.iter().map(|stats| encoding_stats(py, stats)).collect()
    }

    /// The fields of a subscription's statistics, None for an unknown one.
    fn subscription_stats<'py>(
        &self,
        py: Python<'py>,
        subscription: SubscriptionKey,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let at = self.engine.at_subscription(subscription);
        let stats = self.on_lane(py, at, |plane| plane.subscription_stats(subscription).cloned())?;
        stats.map(|stats| subscription_stats(py, &stats)).transpose()
    }

    /// Packets received and forwarded, and how many were dropped for what reason.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<(u64, u64, Bound<'py, PyDict>)> {
        let counters = py.detach(|| self.engine.counters());
        let dropped = PyDict::new(py);
        for (reason, count) in &counters.dropped {
            dropped.set_item(reason, count)?;
        }
        Ok((counters.received, counters.forwarded, dropped))
    }
}

impl Plane {
    /// Do something with one lane's plane. Where the lane is free it is over in microseconds, and giving the
    /// interpreter away meanwhile would cost more: another thread keeps it for up to 5 ms.
    ///
    /// A fault of ours (a panic) costs what is being done, not the process: it becomes a `RuntimeError`.
    fn on_lane<T: Send>(
        &self,
        py: Python<'_>,
        at: At,
        act: impl FnOnce(&mut CorePlane) -> T + Send,
    ) -> PyResult<T> {
        let done = match self.engine.try_control(at, act) {
            Ok(done) => done,
            Err(act) => py.detach(|| self.engine.control(at, act)),
        };
        done.map_err(fault)
    }

    /// Do something that may send; with it comes what is left to send.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        at: At,
        act: impl FnOnce(&mut CorePlane) -> T + Send,
    ) -> PyResult<(T, Option<Packets>)> {
        let done = self.on_lane(py, at, act);
        if self.engine.is_running() {
            return Ok((done?, None));
        }
        let packets = self.engine.left(|out| {
            let packet =
                |sent: &Sent| (sent.transport, PyBytes::new(py, &out.bytes[sent.start..sent.end]).unbind());
            (!out.envelopes.is_empty()).then(|| out.envelopes.iter().map(packet).collect())
        });
        Ok((done?, packets))
    }
}

fn fault(_: Fault) -> PyErr {
    PyRuntimeError::new_err("the native media plane failed")
}

fn address(host: &str, port: u16, scope: u32) -> PyResult<SocketAddr> {
    Ok(match host.parse()? {
        IpAddr::V4(host) => SocketAddr::V4(SocketAddrV4::new(host, port)),
        IpAddr::V6(host) => SocketAddr::V6(SocketAddrV6::new(host, port, 0, scope)),
    })
}

/// A descriptor of our own for a socket that somebody else keeps open meanwhile.
fn duplicate(descriptor: i32) -> std::io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the caller's socket is open during this call, as `start` and `set_route` demand.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

#[pymodule]
fn sfu_plane(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Plane>()
}
