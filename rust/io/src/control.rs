//! Publications and subscriptions: which lane each is in.

use std::sync::atomic::Ordering;

use pysfu_plane_core::parameters::{
    PublicationConfig, PublicationKey, SrtpKeys, SubscriptionConfig, SubscriptionKey, TransportKey,
};
use rustc_hash::FxHashMap;

use crate::engine::{Engine, Fault};
use crate::shared::{CLOSED, OPEN};

/// The transport of each, which tells the lane.
#[derive(Default)]
pub struct Objects {
    publications: FxHashMap<PublicationKey, TransportKey>,
    subscriptions: FxHashMap<SubscriptionKey, TransportKey>,
}

impl Engine {
    pub fn open_transport(&self, key: TransportKey, keys: SrtpKeys) -> Result<(), Fault> {
        let link = self.link(key);
        self.control(link.lane, |plane| plane.open_transport(key, keys))?;
        link.phase.store(OPEN, Ordering::Release);
        Ok(())
    }

    pub fn close_transport(&self, key: TransportKey) -> Result<(), Fault> {
        let Some(link) = self.shared.link(key) else { return Ok(()) };
        link.phase.store(CLOSED, Ordering::Release);
        let mut objects = self.objects.lock();
        objects.publications.retain(|_, transport| *transport != key);
        objects.subscriptions.retain(|_, transport| *transport != key);
        drop(objects);
        let done = self.control(link.lane, |plane| plane.close_transport(key));
        if !self.is_running() {
            // Else its goodbye has yet to be said, and the owner of the ports forgets it after that.
            self.forget(key);
        }
        done
    }

    pub fn open_publication(&self, key: PublicationKey, config: PublicationConfig) -> Result<(), Fault> {
        let link = self.link(config.transport);
        self.objects.lock().publications.insert(key, config.transport);
        self.control(link.lane, |plane| plane.open_publication(key, config))
    }

    pub fn close_publication(&self, key: PublicationKey) -> Result<(), Fault> {
        let lane = self.lane_of_publication(key);
        self.objects.lock().publications.remove(&key);
        self.control(lane, |plane| plane.close_publication(key))
    }

    pub fn set_muted(&self, key: PublicationKey, muted: bool) -> Result<(), Fault> {
        self.control(self.lane_of_publication(key), |plane| plane.set_muted(key, muted))
    }

    pub fn open_subscription(
        &self,
        key: SubscriptionKey,
        config: SubscriptionConfig,
        draw: impl FnMut() -> u16,
    ) -> Result<(), Fault> {
        let link = self.link(config.transport);
        self.objects.lock().subscriptions.insert(key, config.transport);
        self.control(link.lane, |plane| plane.open_subscription(key, config, draw))
    }

    pub fn close_subscription(&self, key: SubscriptionKey) -> Result<(), Fault> {
        let lane = self.lane_of_subscription(key);
        self.objects.lock().subscriptions.remove(&key);
        self.control(lane, |plane| plane.close_subscription(key))
    }

    /// The lane that a publication is received in; the first where it is unknown.
    pub fn lane_of_publication(&self, key: PublicationKey) -> usize {
        let transport = self.objects.lock().publications.get(&key).copied();
        transport.map_or(0, |transport| self.lane_of_transport(transport))
    }

    /// The lane that a subscription is sent from; the first where it is unknown.
    pub fn lane_of_subscription(&self, key: SubscriptionKey) -> usize {
        let transport = self.objects.lock().subscriptions.get(&key).copied();
        transport.map_or(0, |transport| self.lane_of_transport(transport))
    }
}
