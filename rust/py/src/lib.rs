//! The native media plane as a Python module. It takes the values of `sfu/media/plane.py` by their attributes,
//! and gives back plain tuples: `sfu/media/native_plane.py` makes the seam's values of them.

mod values;

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pysfu_plane_core::parameters::{Layer, PublicationKey, SubscriptionKey, TransportKey};
use pysfu_plane_core::plane::Plane as CorePlane;
use pysfu_plane_io::Routes;

use values::{
    PyEvent, PyKeys, PyLayer, PyProbe, PyPublication, PySubscription, Sent, encoding_stats, event,
    subscription_stats,
};

/// What is to be sent: transport and datagram, in order.
type Packets = Vec<(TransportKey, Py<PyBytes>)>;

/// Everything that happens per packet. Methods that may send return what they would send.
#[pyclass(module = "sfu_plane")]
struct Plane {
    plane: CorePlane,
    routes: Routes,
    draw: Py<PyAny>,
}

#[pymethods]
impl Plane {
    /// `ssrc` is the server's own; `draw()` gives a random number below 2^15.
    #[new]
    fn new(ssrc: u32, draw: Py<PyAny>, cache_packets: usize) -> Self {
        Self { plane: CorePlane::new(ssrc, cache_packets), routes: Routes::default(), draw }
    }

    /// Send a transport's datagrams from here: from the socket `descriptor` (which is duplicated) to an IP
    /// address, its port, and for IPv6 its scope.
    fn set_route(
        &mut self,
        transport: TransportKey,
        descriptor: i32,
        host: &str,
        port: u16,
        scope: u32,
    ) -> PyResult<()> {
        let address = match host.parse()? {
            IpAddr::V4(host) => SocketAddr::V4(SocketAddrV4::new(host, port)),
            IpAddr::V6(host) => SocketAddr::V6(SocketAddrV6::new(host, port, 0, scope)),
        };
        self.routes.set(transport, descriptor, address, || duplicate(descriptor))?;
        Ok(())
    }

    /// Leave a transport's datagrams to the caller again.
    fn clear_route(&mut self, transport: TransportKey) {
        self.routes.clear(transport);
    }

    /// Bytes sent from here for a transport.
    fn route_bytes(&self, transport: TransportKey) -> u64 {
        self.routes.sent_bytes(transport)
    }

    fn open_transport(&mut self, transport: TransportKey, keys: PyKeys) -> PyResult<()> {
        self.plane.open_transport(transport, keys.try_into()?);
        Ok(())
    }

    fn close_transport(&mut self, transport: TransportKey) {
        self.plane.close_transport(transport);
    }

    fn open_publication(&mut self, publication: PublicationKey, config: PyPublication) -> PyResult<()> {
        self.plane.open_publication(publication, config.try_into()?);
        Ok(())
    }

    fn close_publication(&mut self, publication: PublicationKey) {
        self.plane.close_publication(publication);
    }

    fn set_muted(&mut self, publication: PublicationKey, muted: bool) {
        self.plane.set_muted(publication, muted);
    }

    fn open_subscription(
        &mut self,
        py: Python<'_>,
        subscription: SubscriptionKey,
        config: PySubscription,
    ) -> PyResult<()> {
        let mut failed = None;
        let draw = || {
            self.draw.call0(py).and_then(|number| number.extract(py)).unwrap_or_else(|error| {
                failed = Some(error);
                0
            })
        };
        self.plane.open_subscription(subscription, config.into(), draw);
        failed.map_or(Ok(()), Err)
    }

    fn close_subscription(&mut self, subscription: SubscriptionKey) {
        self.plane.close_subscription(subscription);
    }

    fn set_target(&mut self, subscription: SubscriptionKey, target: Option<PyLayer>, at_once: bool) {
        let target = target.map(|layer| Layer { spatial: layer.spatial, temporal: layer.temporal });
        self.plane.set_target(subscription, target, at_once);
    }

    fn set_estimate(&mut self, transport: TransportKey, estimate_bps: i64) {
        self.plane.set_estimate(transport, estimate_bps);
    }

    fn sent_bytes(&self, transport: TransportKey) -> i64 {
        self.plane.sent_bytes(transport)
    }

    fn send_probe(
        &mut self,
        py: Python<'_>,
        transport: TransportKey,
        probe: PyProbe,
        now_us: i64,
    ) -> PyResult<Option<Packets>> {
        let probe = probe.into();
        Ok(self.run(py, |plane| plane.send_probe(transport, probe, now_us))?.1)
    }

    /// When to call again, None while nothing waits, and what is to be sent.
    fn pump(&mut self, py: Python<'_>, now_us: i64) -> PyResult<(Option<i64>, Option<Packets>)> {
        self.run(py, |plane| plane.pump(now_us))
    }

    fn request_keyframe(
        &mut self,
        py: Python<'_>,
        publication: PublicationKey,
        rid: &str,
    ) -> PyResult<Option<Packets>> {
        Ok(self.run(py, |plane| plane.request_keyframe(publication, rid))?.1)
    }

    /// Spatial and temporal number, rid and bits per second of each layer that flows, lowest first.
    fn layers(&self, publication: PublicationKey) -> Vec<(i64, i64, String, i64)> {
        let layers = self.plane.layers(publication).into_iter();
        layers.map(|(layer, rid, rate)| (layer.spatial, layer.temporal, rid.to_string(), rate)).collect()
    }

    fn receive(
        &mut self,
        py: Python<'_>,
        transport: TransportKey,
        packet: &[u8],
        now_us: i64,
        arrival_us: i64,
    ) -> PyResult<Option<Packets>> {
        Ok(self.run(py, |plane| plane.receive(transport, packet, now_us, arrival_us))?.1)
    }

    fn tick(&mut self, py: Python<'_>, now_us: i64) -> PyResult<Option<Packets>> {
        Ok(self.run(py, |plane| plane.tick(now_us))?.1)
    }

    /// The name of each event's class and its fields.
    fn poll_events(&mut self) -> Vec<PyEvent> {
        self.plane.poll_events().into_iter().map(event).collect()
    }

    /// The fields of each known encoding's statistics.
    fn publication_stats<'py>(
        &self,
        py: Python<'py>,
        publication: PublicationKey,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.plane.publication_stats(publication).iter().map(|stats| encoding_stats(py, stats)).collect()
    }

    /// The fields of a subscription's statistics, None for an unknown one.
    fn subscription_stats<'py>(
        &self,
        py: Python<'py>,
        subscription: SubscriptionKey,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let stats = self.plane.subscription_stats(subscription);
        stats.map(|stats| subscription_stats(py, stats)).transpose()
    }

    /// Packets received and forwarded, and how many were dropped for what reason.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<(u64, u64, Bound<'py, PyDict>)> {
        let counters = self.plane.counters();
        let dropped = PyDict::new(py);
        for (reason, count) in &counters.dropped {
            dropped.set_item(reason, count)?;
        }
        Ok((counters.received, counters.forwarded, dropped))
    }
}

impl Plane {
    /// Do something that may send; with it comes what is left to send. It is over in microseconds, and giving
    /// the interpreter away meanwhile would cost more: another thread keeps it for up to 5 ms.
    ///
    /// A fault of ours (a panic) costs what is being done, not the process: it becomes a `RuntimeError`.
    fn run<T>(
        &mut self,
        py: Python<'_>,
        act: impl FnOnce(&mut CorePlane) -> T,
    ) -> PyResult<(T, Option<Packets>)> {
        let (plane, routes) = (&mut self.plane, &mut self.routes);
        let done = catch_unwind(AssertUnwindSafe(|| act(plane)));
        let (out, counters) = plane.out();
        if done.is_err() {
            // A packet may have been left half made.
            out.clear();
            counters.drop("plane-fault");
        }
        routes.send(out, counters);
        let done = done.map_err(|_| PyRuntimeError::new_err("the native media plane failed"))?;
        if out.envelopes.is_empty() {
            out.clear();
            return Ok((done, None));
        }
        let packet =
            |sent: &Sent| (sent.transport, PyBytes::new(py, &out.bytes[sent.start..sent.end]).unbind());
        let packets = out.envelopes.iter().map(packet).collect();
        out.clear();
        Ok((done, Some(packets)))
    }
}

/// A descriptor of our own for a socket that somebody else keeps open meanwhile.
fn duplicate(descriptor: i32) -> std::io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the caller's socket is open during this call, as `set_route` demands.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}

#[pymodule]
fn sfu_plane(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Plane>()
}
