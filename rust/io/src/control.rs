//! Publications and subscriptions: which lane each is in, and mirrors where those are two.

use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use pysfu_plane_core::parameters::{
    PublicationConfig, PublicationKey, SrtpKeys, SubscriptionConfig, SubscriptionKey, TransportKey,
};
use rustc_hash::FxHashMap;

use crate::engine::{At, Engine, Fault};
use crate::shared::{CLOSED, OPEN};

struct Published {
    config: PublicationConfig,
    lane: usize,
    muted: bool,
    /// Subscriptions in each other lane that has a mirror.
    mirrors: FxHashMap<usize, usize>,
}

impl Published {
    /// It, or its mirror, in a lane.
    fn at(&self, lane: usize) -> At {
        At { lane, of: Some(self.config.transport) }
    }
}

struct Subscribed {
    transport: TransportKey,
    publication: PublicationKey,
    lane: usize,
}

#[derive(Default)]
pub struct Objects {
    publications: FxHashMap<PublicationKey, Published>,
    subscriptions: FxHashMap<SubscriptionKey, Subscribed>,
}

type Known<'a> = MutexGuard<'a, Objects>;

impl Engine {
    pub fn open_transport(&self, key: TransportKey, keys: SrtpKeys) -> Result<(), Fault> {
        let link = self.link(key);
        self.control(link.at(), |plane| plane.open_transport(key, keys))?;
        link.phase.store(OPEN, Ordering::Release);
        Ok(())
    }

    /// Forget a transport with all its publications and subscriptions.
    pub fn close_transport(&self, key: TransportKey) -> Result<(), Fault> {
        let Some(link) = self.shared.link(key) else { return Ok(()) };
        link.phase.store(CLOSED, Ordering::Release);
        let objects = self.objects.lock();
        let of_it = objects.publications.iter().filter(|(_, known)| known.config.transport == key);
        let publications: Vec<_> = of_it.map(|(key, _)| *key).collect();
        let of_it = objects.subscriptions.iter().filter(|(_, known)| known.transport == key);
        let subscriptions: Vec<_> = of_it.map(|(key, _)| *key).collect();
        drop(objects);
        publications.into_iter().try_for_each(|key| self.close_publication(key))?;
        subscriptions.into_iter().try_for_each(|key| self.close_subscription(key))?;
        let done = self.control(link.at(), |plane| plane.close_transport(key));
        if !self.is_running() {
            // Else its goodbye has yet to be said, and the owner of the ports forgets it after that.
            self.forget(key);
        }
        done
    }

    pub fn open_publication(&self, key: PublicationKey, config: PublicationConfig) -> Result<(), Fault> {
        let At { lane, of } = self.link(config.transport).at();
        let mut objects = self.objects.lock();
        if objects.publications.get(&key).is_some_and(|known| known.lane != lane) {
            drop(objects);
            self.close_publication(key)?;
            objects = self.objects.lock();
        }
        let known = objects.publications.entry(key).or_insert_with(|| Published {
            config: config.clone(),
            lane,
            muted: false,
            mirrors: FxHashMap::default(),
        });
        known.config = config.clone();
        for mirror in known.mirrors.keys() {
            let at = At { lane: *mirror, of };
            self.control(at, |plane| plane.open_mirror(key, config.clone(), &[], known.muted))?;
        }
        drop(objects);
        self.control(At { lane, of }, |plane| plane.open_publication(key, config))
    }

    pub fn close_publication(&self, key: PublicationKey) -> Result<(), Fault> {
        let Some(known) = self.objects.lock().publications.remove(&key) else { return Ok(()) };
        self.on_lane(known.lane, |turn| turn.state.mirrors.remove(&key));
        for lane in known.mirrors.keys().chain([&known.lane]) {
            self.control(known.at(*lane), |plane| plane.close_publication(key))?;
        }
        Ok(())
    }

    pub fn set_muted(&self, key: PublicationKey, muted: bool) -> Result<(), Fault> {
        let mut objects = self.objects.lock();
        let Some(known) = objects.publications.get_mut(&key) else { return Ok(()) };
        known.muted = muted;
        for lane in known.mirrors.keys().chain([&known.lane]) {
            self.control(known.at(*lane), |plane| plane.set_muted(key, muted))?;
        }
        Ok(())
    }

    /// `draw()` gives a random number below 2^15.
    pub fn open_subscription(
        &self,
        key: SubscriptionKey,
        config: SubscriptionConfig,
        draw: impl FnMut() -> u16,
    ) -> Result<(), Fault> {
        let at = self.link(config.transport).at();
        let objects = self.objects.lock();
        let other = objects.subscriptions.get(&key);
        if other.is_some_and(|other| other.lane != at.lane || other.publication != config.publication) {
            drop(objects);
            self.close_subscription(key)?;
        } else {
            drop(objects);
        }
        self.subscribe(self.objects.lock(), key, &config, at.lane)?;
        self.control(at, |plane| plane.open_subscription(key, config, draw))
    }

    /// Note a subscription, and see to it that there is a mirror where it needs one.
    fn subscribe(
        &self,
        mut objects: Known,
        key: SubscriptionKey,
        config: &SubscriptionConfig,
        lane: usize,
    ) -> Result<(), Fault> {
        let SubscriptionConfig { transport, publication, .. } = *config;
        let Objects { publications, subscriptions } = &mut *objects;
        let Some(known) = publications.get_mut(&publication) else { return Ok(()) };
        if subscriptions.insert(key, Subscribed { transport, publication, lane }).is_some()
            || known.lane == lane
        {
            return Ok(());
        }
        let count = known.mirrors.entry(lane).or_default();
        *count += 1;
        if *count > 1 {
            return Ok(());
        }
        let At { of, .. } = known.at(lane);
        let encodings = self.on_lane(known.lane, |home| {
            home.state.mirrors.entry(publication).or_default().push(lane);
            home.guarded(of, |plane| plane.set_mirrored(publication, true)).ok_or(Fault)
        })?;
        let (config, muted) = (known.config.clone(), known.muted);
        self.control(At { lane, of }, |plane| plane.open_mirror(publication, config, &encodings, muted))
    }

    pub fn close_subscription(&self, key: SubscriptionKey) -> Result<(), Fault> {
        let mut objects = self.objects.lock();
        let Objects { publications, subscriptions } = &mut *objects;
        let Some(Subscribed { transport, publication, lane }) = subscriptions.remove(&key) else {
            return Ok(());
        };
        self.control(At { lane, of: Some(transport) }, |plane| plane.close_subscription(key))?;
        let Some(known) = publications.get_mut(&publication) else { return Ok(()) };
        let Some(count) = known.mirrors.get_mut(&lane) else { return Ok(()) };
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        known.mirrors.remove(&lane);
        let (last, at) = (known.mirrors.is_empty(), known.at(lane));
        self.on_lane(known.lane, |home| {
            if let Some(lanes) = home.state.mirrors.get_mut(&publication) {
                lanes.retain(|other| *other != lane);
            }
            if last {
                home.state.mirrors.remove(&publication);
                home.guarded(at.of, |plane| plane.set_mirrored(publication, false));
            }
        });
        self.control(at, |plane| plane.close_publication(publication))
    }

    /// Where a publication is received; the first lane where it is unknown.
    pub fn at_publication(&self, key: PublicationKey) -> At {
        self.objects.lock().publications.get(&key).map_or_else(At::default, |known| known.at(known.lane))
    }

    /// Where a subscription is sent from; the first lane where it is unknown.
    pub fn at_subscription(&self, key: SubscriptionKey) -> At {
        let at = |known: &Subscribed| At { lane: known.lane, of: Some(known.transport) };
        self.objects.lock().subscriptions.get(&key).map_or_else(At::default, at)
    }
}
